"""From a request of erasure to a verified promotion: the whole night, step by step.

    python -m benchmarks.forgetting [ROWS ...] [--trials N] [--erased N] [--only RECIPE]
                                    (1,000,000 rows, 8 trials, 10 people, every recipe)
    python -m benchmarks.forgetting 10000000 --trials 1 --only als --first FOLDER
                                    the first night alone; again with the same to measure the rest

On a generated shop a first night promotes a version. Then people ask to be erased, and the clock
runs from the start of `lethe erase` to the end of the night that trains the champion's setting
anew without them, replays, verifies, promotes, rewrites what held them and closes the requests.
Beside it: 16 iterations of implicit's ALS with its exact solver and nothing else, on the matrix
that this night learned from, with the best hyper-parameters of ALS that the first night found. The
first night, which searches, is told as a whole. The table goes into docs/benchmarks.md, with
--first into one of its own.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.night import STEPS
from benchmarks.orchestration import LETHE, shop
from benchmarks.page import machine, put

EXACT_ITERATIONS = 16


@dataclass(frozen=True)
class Forgotten:
    """Seconds and peak MiB of nights and request, the second night's report, the exact fit's.

    `first` and `first_memory` are of the night that took everything in and searched.
    """

    first: float
    first_memory: float
    first_load: float
    erase: float
    night: float
    memory: float
    facts: Mapping[str, Any]
    closed: int
    exact: float


def some_people(root: Path, count: int) -> list[str]:
    """Users of the shop's first files, as the shop writes them."""
    found = dict[str, None]()
    for path in sorted((root / "data" / "landing").glob("interactions-*.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
            found.update(dict.fromkeys(row["USER_ID"] for row in csv.DictReader(stream)))
        if len(found) >= count:
            break
    return list(found)[:count]


def lethe(root: Path, *words: str, given: str | None = None) -> tuple[float, float, dict[str, Any]]:
    """One command: seconds of the wall, peak MiB of its largest process, and what it answers."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [LETHE, "--workspace", str(root), "--json", *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(given or "")
    process.stdin.close()
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"lethe {words[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024, json.loads(printed)


def exact(root: Path) -> float:
    """Seconds of the exact fit; in this process, one thread a core, one of BLAS."""
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    from lethe.estate.workspace import Workspace
    from lethe.interactions.training.windows import TrainingSet
    from lethe.solutions.als import AlsHyperparameters, as_solved
    from lethe.solutions.setting import Setting

    matrix = TrainingSet.read(root / "data" / "training").matrix("all").csr
    best = json.loads(Workspace(root).last_night.read_text(encoding="utf-8"))["best"]
    setting = Setting.of("als", best.get("als", {}), 1)
    made = AlsHyperparameters.model_validate(setting.hyperparameters)
    weights, alpha = as_solved(matrix, made)
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=made.factors, regularization=made.regularization, alpha=alpha,
            iterations=EXACT_ITERATIONS, use_cg=False, random_state=1,
        )  # fmt: skip
        began = time.perf_counter()
        model.fit(weights, show_progress=False)
    return time.perf_counter() - began


def begun(root: Path, rows: int, trials: int, erased: int, only: str | None) -> bool:
    """A first night in a new workspace, and what it told beside it; False if that is there."""
    told = root.with_suffix(".json")
    if told.is_file():
        return False
    shop(root, rows, trials, only)
    people, load = some_people(root, erased), os.getloadavg()[0]
    first, memory, _ = lethe(root, "night")
    told.write_text(json.dumps({"people": people, "first": [first, memory, load]}))
    return True


def measured(root: Path) -> Forgotten:
    """After a first night the requests and the night that closes them."""
    told = json.loads(root.with_suffix(".json").read_text())
    people, (first, first_memory, first_load) = told["people"], told["first"]
    asked, _, _ = lethe(root, "erase", given="\n".join(people) + "\n")
    seconds, memory, answer = lethe(root, "night")
    if answer["outcome"] != "promoted":
        raise SystemExit(f"the night ended {answer['outcome']}")
    newest = max((root / ".lethe" / "reports").glob("*.json"), key=lambda one: one.stat().st_mtime)
    facts = json.loads(newest.read_text(encoding="utf-8"))
    _, _, requests = lethe(root, "requests")
    closed = sum(one["state"] == "closed" for one in requests["requests"])
    if facts["quality"]["searched"]:
        raise SystemExit("the night searched, though nothing came but requests")
    return Forgotten(
        first, first_memory, first_load, asked, seconds, memory, facts, closed, exact(root)
    )


def table(found: Sequence[Forgotten], load: float) -> str:
    """The section of the page, a column for each size."""
    sizes = " | ".join(f"{one.facts['data']['rows']:,} rows" for one in found)
    rows: dict[str, list[str]] = {"`lethe erase`": [f"{one.erase:.1f}" for one in found]}
    for step in STEPS:
        rows[step] = [f"{one.facts['timings'].get(step, 0.0):.1f}" for one in found]
    rows["report, starting Prefect, ending"] = [
        f"{one.night - sum(one.facts['timings'].get(step, 0.0) for step in STEPS):.1f}"
        for one in found
    ]
    rows["**request to verified promotion**"] = [
        f"**{one.erase + one.night:.1f}**" for one in found
    ]
    rows[f"{EXACT_ITERATIONS} exact iterations of implicit alone"] = [
        f"{one.exact:.1f}" for one in found
    ]
    rows["times those"] = [f"{(one.erase + one.night) / one.exact:.1f}" for one in found]
    rows["peak memory (largest process), MiB"] = [f"{one.memory:,.0f}" for one in found]
    rows["requests closed"] = [str(one.closed) for one in found]
    rows["the first night, which took all in and searched"] = [f"{one.first:.0f}" for one in found]
    rows["its peak memory (largest process), MiB"] = [f"{one.first_memory:,.0f}" for one in found]
    rows["load as it began"] = [f"{one.first_load:.1f}" for one in found]
    lines = (f"| {name} | {' | '.join(values)} |" for name, values in rows.items())
    head = f"| Seconds of | {sizes} |"
    return "\n".join([machine(load), "", head, f"|---|{'---:|' * len(found)}", *lines])


def main() -> None:
    """Measure each size, print the table and write it into the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", type=int, default=[1_000_000])
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--erased", type=int, default=10)
    parser.add_argument("--only")
    parser.add_argument("--first", type=Path)
    asked = parser.parse_args()
    load, found = os.getloadavg()[0], list[Forgotten]()
    for rows in asked.rows:
        with tempfile.TemporaryDirectory() as place:
            root = asked.first or Path(place) / "shop"
            if begun(root, rows, asked.trials, asked.erased, asked.only) and asked.first:
                return
            found.append(measured(root))
    text = table(found, load)
    print(text)
    put("forgetting-large" if asked.first else "forgetting", text)


if __name__ == "__main__":
    main()
