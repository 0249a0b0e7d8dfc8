"""The invented shop: reproducible day by day, believable, and with something to learn in it."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lethe.gate.scoring.evaluation import evaluate
from lethe.interactions.training.snapshot import SnapshotRules, build
from lethe.interactions.training.windows import TrainingSet
from lethe.sample import LATE_DAYS, requests, write_day, write_history
from lethe.solutions.recipes import recipe
from tests.fakes.interaction_store import Attributes, Event, InteractionStore

NDCG = "normalized_discounted_cumulative_gain_at_10"
SHOP = {"users": 150, "items": 60}


def read(path: Path) -> list[dict[str, str]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return list(csv.DictReader(text.splitlines()))


def exported(landing: Path) -> list[dict[str, str]]:
    return [row for path in sorted(landing.glob("*.csv.gz")) for row in read(path)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    landing = tmp_path_factory.mktemp("landing")
    write_history(landing)
    return landing


def test_a_day_has_the_same_bytes_whatever_was_written_before(tmp_path: Path) -> None:
    write_history(tmp_path / "long", days=12, seed=3, **SHOP)
    write_day(tmp_path / "alone", day=11, seed=3, **SHOP)
    write_history(tmp_path / "short", days=5, seed=3, **SHOP)
    for day in range(5, 12):
        write_day(tmp_path / "short", day=day, seed=3, **SHOP)
    for folder in ("alone", "short"):
        for path in (tmp_path / folder).iterdir():
            assert path.read_bytes() == (tmp_path / "long" / path.name).read_bytes()
    names = {path.name for path in (tmp_path / "short").iterdir()}
    assert names == {path.name for path in (tmp_path / "long").iterdir()}
    assert len(names) == 14


def test_another_seed_is_another_shop(tmp_path: Path) -> None:
    write_history(tmp_path / "one", days=2, seed=1, **SHOP)
    write_history(tmp_path / "two", days=2, seed=2, **SHOP)
    one, two = exported(tmp_path / "one"), exported(tmp_path / "two")
    assert {row["USER_ID"] for row in one if row["USER_ID"]}.isdisjoint(
        row["USER_ID"] for row in two
    )


def test_the_default_shop_has_the_size_and_the_flaws_of_a_small_one(shop: Path) -> None:
    rows = exported(shop)
    assert 80_000 <= len(rows) <= 120_000
    kinds = Counter(row["EVENT_TYPE"] for row in rows)
    assert kinds["view"] > 4 * kinds["cart"] > 4 * kinds["purchase"] > 0
    assert all((row["EVENT_VALUE"] != "") == (row["EVENT_TYPE"] == "purchase") for row in rows)
    guests = sum(row["USER_ID"] == "" for row in rows)
    twice = len(rows) - len({row["EVENT_ID"] for row in rows})
    assert 0 < guests < 0.01 * len(rows)
    assert 0 < twice < 0.01 * len(rows)
    sold = Counter(row["ITEM_ID"] for row in rows)
    top = sum(count for _, count in sold.most_common(len(sold) // 10))
    assert 0.3 < top / len(rows) < 0.8  # a tenth of the items, a power law's share
    visits = Counter((row["USER_ID"], row["ITEM_ID"]) for row in rows)
    assert sum(count > 1 for count in visits.values()) > 0.2 * len(visits)


def test_rows_lie_in_their_own_day_and_new_users_and_items_keep_arriving(shop: Path) -> None:
    seen_users: set[str] = set()
    seen_items: set[str] = set()
    late_users, late_items = 0, 0
    for day, path in enumerate(sorted(shop.glob("*.csv.gz"))):
        rows = read(path)
        days = {np.datetime64(int(row["TIMESTAMP"]), "s").astype("M8[D]") for row in rows}
        assert days == {np.datetime64(path.name[len("interactions-") : -len(".csv.gz")])}
        users, items = ({row[key] for row in rows} for key in ("USER_ID", "ITEM_ID"))
        if day >= 60:
            late_users += len(users - seen_users)
            late_items += len(items - seen_items)
        seen_users |= users
        seen_items |= items
    assert late_users > 50
    assert late_items > 20
    assert seen_items <= {row["ITEM_ID"] for row in read(shop / "items.csv")}


def test_nobody_asks_twice_and_who_asks_has_been_a_shopper(shop: Path) -> None:
    asked = [requests(7, day) for day in range(1, 120)]
    erase = [user for day in asked for user in day.erase]
    objecting = [user for day in asked for user in day.objecting]
    assert len(set(erase) | set(objecting)) == len(erase) + len(objecting)
    assert all(1 <= len(day.erase) <= 2 and len(day.objecting) <= 1 for day in asked)
    active = {row["USER_ID"] for row in exported(shop)}
    assert np.mean([user in active for user in erase]) > 0.8


def test_the_forgotten_still_appear_for_two_days_and_then_no_more(shop: Path) -> None:
    paths = sorted(shop.glob("*.csv.gz"))
    late = 0
    listed = {row["USER_ID"] for row in read(shop / "users.csv")}
    for day in range(1, 100):
        gone = set(requests(7, day).erase)
        late += sum(
            row["USER_ID"] in gone
            for path in paths[day + 1 : day + LATE_DAYS + 1]
            for row in read(path)
        )
        assert not any(row["USER_ID"] in gone for row in read(paths[day + LATE_DAYS + 1]))
        assert gone.isdisjoint(listed)
    assert late > 0


def test_als_beats_popularity_by_half_on_the_days_to_come(shop: Path, tmp_path: Path) -> None:
    events: list[Event] = [
        (
            row["USER_ID"],
            row["ITEM_ID"],
            int(row["TIMESTAMP"]),
            row["EVENT_TYPE"],
            float(row["EVENT_VALUE"]) if row["EVENT_VALUE"] else None,
        )
        for row in exported(shop)
        if row["USER_ID"]
    ]
    goods = read(shop / "items.csv")
    items: Attributes = {
        "item": [row["ITEM_ID"] for row in goods],
        "CATEGORY": [row["CATEGORY"] for row in goods],
    }
    rules = SnapshotRules(event_weights={"view": 0.3, "cart": 0.6})
    build(InteractionStore([events], items=items), frozenset(), rules, tmp_path, 0, "00" * 32)
    training = TrainingSet.read(tmp_path)
    matrix = training.matrix("train+validation")
    held_out = training.held_out("test", matrix)
    found = {}
    for name, values in (("popular", {}), ("als", {"factors": 32, "iterations": 15})):
        chosen = recipe(name)
        learned = chosen.fit(matrix, chosen.hyperparameters(**values), 1, None)
        found[name] = evaluate(learned, matrix.csr, held_out.csr).means[NDCG]
    assert found["als"] >= 1.5 * found["popular"] > 0
    assert matrix.item_features is not None
    assert len(matrix.item_features.names) == 9
