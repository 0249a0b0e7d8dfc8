"""From a shop's files to the matrix that is trained on, and one day more: beside plain data frames.

    python -m benchmarks.data_path [ROWS ...]        (1,000,000 by default)

Two years of daily CSV files with text ids. Lethe makes of them pseudonymised, purged and sealed
shards, a data version in DVC's cache and remote, and the training set. Each peer reads the same
files with one data-frame library, keeps distinct rows, codes the ids, builds the matrix and writes
one parquet file: no pseudonyms, no quarantine, no versions. Then one more day comes: Lethe merges
it, the best peer writes its file anew. The verifier's own matrix is built from the shards, as in
every verification. Last, people are erased from the present data, without the history, which
benchmarks/history.py measures.

Each in a process of its own, one after the other; seconds are of the wall, from start to end,
imports included; memory is the peak of the largest process. Polars and DuckDB are optional: `pip
install --target FOLDER polars duckdb`, and FOLDER in PYTHONPATH. All matrices must have the same
shape and sum. Beyond `MOST` rows a bare data frame needs more memory than such a machine has, and
Lethe runs alone. The tables go into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.data_ways import WAYS
from benchmarks.page import machine, put

DAYS, DAY, BEGAN, EACH, ITEMS = 730, 86_400, 1_700_000_000, 50, 20_000
PEERS, MOST = ("pandas", "polars", "duckdb"), 10_000_000
HEADER = ["USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE"]


@dataclass(frozen=True)
class Measured:
    """One process: seconds of the wall, peak memory in MiB, and what it printed last."""

    seconds: float
    memory: float
    told: dict[str, Any]


def write_days(folder: Path, size: int) -> None:
    """`size` rows in 730 files and one more day in `next`: popular items, no row twice."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    draw, folder = np.random.default_rng(1), folder / "days"
    (folder / "next").mkdir(parents=True)
    users = pa.array([f"customer-{n * 7919 % 999_983:06d}-{n}" for n in range(size // EACH)])
    items = pa.array([f"item-{n:05d}" for n in range(ITEMS)])
    each = size // DAYS
    for day in range(DAYS + 1):
        times = np.sort(draw.choice(DAY * 4, each, replace=each > DAY * 4)) // 4
        table = pa.table(
            [
                users.take(pa.array(draw.integers(0, len(users), each))),
                items.take(pa.array((ITEMS * draw.power(0.4, each)).astype(np.int64))),
                pa.array(BEGAN + day * DAY + times),
                pa.array(["view"] * each),
            ],
            names=HEADER,
        )
        place = folder / "next" if day == DAYS else folder
        options = csv.WriteOptions(quoting_style="none")
        csv.write_csv(table, place / f"day-{day:03d}.csv", options)


def measured(way: str, days: Path, into: Path) -> Measured:
    """One way in a process of its own, from its start to its end."""
    into.mkdir(exist_ok=True)
    command = [sys.executable, __file__, "--way", way, str(days), str(into)]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{way} ended with {os.waitstatus_to_exitcode(status)}")
    seconds = time.perf_counter() - began
    return Measured(seconds, usage.ru_maxrss / 1024, json.loads(printed.splitlines()[-1]))


def lines(size: int, place: Path) -> Iterator[str]:
    """The rows of the table for one size."""
    write_days(place, size)
    days, peers = (
        place / "days",
        [name for name in PEERS if size <= MOST and importlib.util.find_spec(name)],
    )
    measured("init", days, place / "lethe")
    found = {name: measured(name, days, place / name) for name in ("lethe", *peers)}
    best = min((found[name].seconds for name in peers), default=float("nan"))
    for name, one in found.items():
        assert one.told["shape"] == found["lethe"].told["shape"], "the matrices must be the same"
        assert one.told["cells"] == found["lethe"].told["cells"], "the matrices must be the same"
        what = "**Lethe**, all of it" if name == "lethe" else f"{name}, bare"
        yield row(f"{size:,}, first intake", what, one, best)
    parts = found["lethe"].told["parts"].items()
    print(", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts), flush=True)
    second = measured("rebuilt", days, place / "lethe")
    assert second.told["cells"] == found["lethe"].told["cells"], "the matrices must be the same"
    yield row(f"{size:,}, the verifier's own matrix", "**Lethe**", second, None)
    more = measured("lethe", days / "next", place / "lethe")
    again = measured("rewritten", days / "next", place / "polars") if "polars" in peers else None
    best_again = again.seconds if again else None
    yield row(f"{size:,}, one day more", "**Lethe**, all of it", more, best_again)
    parts = more.told["parts"].items()
    print(", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts), flush=True)
    if again:
        yield row(f"{size:,}, one day more", "polars, file written anew", again, again.seconds)
    ours = measured("lethe erased", days, place / "lethe").told["spent"]
    theirs = measured("polars erased", days, place / "polars").told["spent"] if again else {}
    for count, seconds in ours.items():
        other = theirs.get(count)
        told = f"{seconds / other:.2f}" if other else ""
        case = f"{size:,}, {count} erased"
        yield f"| {case} | **Lethe**, shards and seal | {seconds:.1f} | | {told} |"
        if other:
            yield f"| {case} | polars, file written anew | {other:.1f} | | 1.00 |"


def row(case: str, who: str, one: Measured, best: float | None) -> str:
    """One line; the last cell is times the best peer's seconds."""
    ratio = f"{one.seconds / best:.2f}" if best and best == best else ""  # noqa: PLR0124
    return f"| {case} | {who} | {one.seconds:.1f} | {one.memory:,.0f} | {ratio} |"


def main() -> None:
    """Measure, print the table and write it into the page; or be one of the processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", type=int, default=[1_000_000])
    parser.add_argument("--way", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        way, days, into = asked.way
        print(json.dumps(WAYS[way](Path(days), Path(into))))
        return
    beside, alone = ([n for n in asked.rows if (n <= MOST) is small] for small in (True, False))
    for name, sizes in (("data-path", beside), ("data-path-alone", alone)):
        load, table = os.getloadavg()[0], list[str]()
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                table += lines(size, Path(folder))
        if table:
            text = table_of(table, load)
            print(text)
            put(name, text)


def table_of(table: Sequence[str], load: float) -> str:
    """The section of the page."""
    head = "| Rows, and what is done | Who | s | Peak MiB | Times the best peer |"
    return "\n".join([machine(load), "", head, "|---|---|---:|---:|---:|", *table])


if __name__ == "__main__":
    main()
