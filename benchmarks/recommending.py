"""The top 100 of every user, without what they have: Lethe's batch outputs beside implicit.

    python -m benchmarks.recommending [--users 100000 20000] [--items 20000] [--runs 3]

Both score the same factors against the same histories, on one BLAS thread a block. implicit answers
with all lists at once; Lethe gives them block by block, and is measured as well with its table
written, as `lethe recommend` writes it. Each run is a process of its own, in turn, so that its peak
of memory is its own: what it needs above the factors and histories that all of them load. The lists
must be the same. The table goes into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.evaluation import interactions
from benchmarks.page import machine, put
from lethe.estate.outward.tables import writer
from lethe.gate.scoring.ranking import recommend_all
from lethe.nights.batches.making import as_table
from lethe.solutions.learned import Factors

ROOT = Path(__file__).resolve().parent.parent
WIDTHS, DEPTH, SHOWN, CHUNK = (64, 128), 100, 200, 4096

Shown = dict[int, list[int]]


def with_lethe(factors: Factors, seen: Any, threads: int) -> Shown:
    """The lists alone."""
    shown: Shown = {}
    for part in recommend_all(factors, np.arange(seen.shape[0]), seen, DEPTH, threads):
        rows = zip(part.rows.tolist(), part.items, strict=True)
        shown |= {row: items.tolist() for row, items in rows if row < SHOWN}
    return shown


def with_lethe_written(factors: Factors, seen: Any, threads: int) -> Shown:
    """The lists as a CSV file, a chunk of users at a time."""
    items = pa.array([f"item-{column:06}" for column in range(seen.shape[1])])
    shown: Shown = {}
    with tempfile.TemporaryDirectory() as folder, writer(Path(folder) / "table", "csv") as out:
        for start in range(0, seen.shape[0], CHUNK):
            rows = np.arange(start, min(start + CHUNK, seen.shape[0]))
            ids = pa.array([f"customer-{row:07}" for row in rows])
            lists = list(recommend_all(factors, rows, seen[start : start + CHUNK], DEPTH, threads))
            out.write_table(as_table(lists, ids, items))
            if not shown:
                best = np.concatenate([part.items for part in lists])[:SHOWN]
                shown = dict(enumerate(best.tolist()))
    return shown


def with_implicit(factors: Factors, seen: Any, threads: int) -> Shown:
    """implicit's `recommend`, everybody in one call."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=factors.user_factors.shape[1], num_threads=threads)
    model.user_factors, model.item_factors = factors.user_factors, factors.item_factors
    items, _ = model.recommend(
        np.arange(seen.shape[0]), seen, N=DEPTH, filter_already_liked_items=True
    )
    return dict(enumerate(items[:SHOWN].tolist()))


WAYS: dict[str, tuple[Callable[[Factors, Any, int], Shown], int]] = {
    "**Lethe**, 1 thread": (with_lethe, 1),
    "implicit, 1 thread": (with_implicit, 1),
    "**Lethe**, 2 threads": (with_lethe, 2),
    "implicit, 2 threads": (with_implicit, 2),
    "**Lethe**, 2 threads, CSV written": (with_lethe_written, 2),
}


def once(name: str, users: int, items: int, width: int) -> dict[str, Any]:
    """Seconds, peak of memory above the inputs in MiB, and some of the lists; in this process."""
    way, threads = WAYS[name]
    draw = np.random.default_rng(width)
    factors = Factors(
        draw.normal(size=(users, width)).astype(np.float32),
        draw.normal(size=(items, width)).astype(np.float32),
    )
    seen = interactions(draw, (users, items), 30)
    few = min(users, 256)
    way(Factors(factors.user_factors[:few], factors.item_factors), seen[:few], threads)  # imports
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began = _memory("VmRSS"), time.perf_counter()
    shown = way(factors, seen, threads)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "mib": _memory("VmHWM") - before, "shown": list(shown.values())}


def _memory(what: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{what}:"))


def apart(name: str, users: int, items: int, width: int) -> dict[str, Any]:
    """`once` in a process of its own."""
    words = ["--once", name, "--users", str(users), "--items", str(items), "--width", str(width)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.recommending", *words],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measured(users: int, items: int, width: int, runs: int) -> list[list[str]]:
    """A row for each way: users a second, least, median and most of the runs, and memory."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    for _ in range(runs):
        for name in WAYS:
            found[name].append(apart(name, users, items, width))
    best = found[next(iter(WAYS))][0]["shown"]
    for name, told in found.items():
        pairs = zip(best, told[0]["shown"], strict=True)
        same = sum(len(set(one) & set(other)) for one, other in pairs)
        assert same >= 0.999 * sum(map(len, best)), f"{name} gives other lists"
    rows = []
    for name, told in found.items():
        speeds = sorted(users / one["seconds"] for one in told)
        shown = " / ".join(f"{speed:,.0f}" for speed in (speeds[0], median(speeds), speeds[-1]))
        memory = max(one["mib"] for one in told)
        rows.append([f"{users:,}", str(width), name, shown, f"{memory:,.0f}"])
    return rows


def main() -> None:
    """Measure and write the table, or with `--once` one way alone."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    asked.add_argument("--users", type=int, nargs="+", default=[100_000, 20_000])
    asked.add_argument("--items", type=int, default=20_000)
    asked.add_argument("--runs", type=int, default=3)
    asked.add_argument("--dry", action="store_true", help="print, and leave the page as it is")
    asked.add_argument("--once", choices=list(WAYS), help=argparse.SUPPRESS)
    asked.add_argument("--width", type=int, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.once:
        print(json.dumps(once(given.once, given.users[0], given.items, given.width)))
        return
    load = os.getloadavg()[0]
    lines = ["| Users | Factors | Who | users a second: least / median / most | MiB above inputs |",
             "|---:|---:|---|---:|---:|"]  # fmt: skip
    for users in given.users:
        for width in WIDTHS:
            for row in measured(users, given.items, width, given.runs):
                print(" | ".join(row), flush=True)
                lines.append(f"| {' | '.join(row)} |")
    if not given.dry:
        told = f"{machine(load)} {given.items:,} items, top {DEPTH}, {given.runs} runs each."
        put("recommending", f"{told}\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
