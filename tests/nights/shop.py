"""A shop small enough to retrain in a second, and its people by the part they play.

A hundred customers buy from twenty of sixty items, those of one taste, over thirty days of March
2025: enough for Personalize's minimums, and plain enough that ALS beats popularity by far.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

DAY = 86_400
MARCH = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp())
TASTES, ITEMS, CUSTOMERS, EACH = 3, 60, 100, 18

Row = tuple[str, str, int]  # user, item, Unix seconds


def customer(number: int) -> str:
    """A raw id; long and odd enough never to appear anywhere by chance."""
    return f"customer-{number:04d}-Zq{number * 7919 % 99991:05d}"


ERASED, LATE, OBJECTING, WAVERING, HELD, HASTY = (customer(number) for number in range(6))
BYSTANDER = customer(50)

ALS_SPACE = """\
    als:
      factors: {kind: categorical, choices: [8]}
      regularization: {kind: float, low: 2.0, high: 20.0, log: true}
      alpha: {kind: float, low: 1.0, high: 5.0, log: true}
      iterations: {kind: categorical, choices: [50]}
"""
# Of a hundred people none can say which of two nights is better: the rule on the champion stands
# aside, and `tests/gate/scoring/test_quality.py` shows it.
SPACES = f"""\
tuning:
  trials: 2
  sample_users: 100
  report_every: 10
  half_life_days: []
  recipes:
{ALS_SPACE}    lightfm:
      components: {{kind: categorical, choices: [8]}}
      loss: {{kind: categorical, choices: [warp]}}
      learning_rate: {{kind: float, low: 0.01, high: 0.1, log: true}}
      epochs: {{kind: categorical, choices: [3]}}
promotion: {{tolerance: 0.5}}
"""


def bought(first_day: int, days: int, each: float, seed: int) -> list[Row]:
    """What every customer did in some days, about `each` rows a customer."""
    draw = np.random.default_rng([seed, first_day])
    rows: list[Row] = []
    for number in range(CUSTOMERS):
        for _ in range(max(1, draw.poisson(each))):
            item = int(draw.integers(ITEMS // TASTES)) * TASTES + number % TASTES
            if draw.random() < 0.1:  # a present for somebody
                item = int(draw.integers(ITEMS))
            second = (first_day + draw.random() * days) * DAY
            rows.append((customer(number), f"item-{item:03d}", MARCH + int(second)))
    return sorted(set(rows), key=lambda row: (row[2], row))


def rows_of(user: str, day: float, count: int = 4) -> list[Row]:
    """A few rows of one customer on one day (counted from 1 March)."""
    return [(user, f"item-{n * 7 % ITEMS:03d}", MARCH + int(day * DAY) + n) for n in range(count)]


def export(path: Path, rows: Iterable[tuple[object, ...]]) -> Path:
    """Write rows as the shop's export does: Personalize's columns, gzipped."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("USER_ID", "ITEM_ID", "TIMESTAMP"), *rows])
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    return path


def history() -> list[Row]:
    """The thirty days before the first night."""
    return bought(0, 30, EACH, seed=1)


def catalogue(landing: Path) -> None:
    """The attributes of items and of customers."""
    items = "".join(f"item-{n:03d},taste-{n % TASTES}\n" for n in range(ITEMS))
    users = "".join(f"{customer(n)},{'DE' if n % 2 else 'FR'}\n" for n in range(CUSTOMERS))
    (landing / "items.csv").write_text("ITEM_ID,CATEGORY\n" + items)
    (landing / "users.csv").write_text("USER_ID,COUNTRY\n" + users)
