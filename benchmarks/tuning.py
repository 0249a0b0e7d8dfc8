"""Tuning beside its peers: same split, same metric, same wall seconds, two cores, one judge.

    python -m benchmarks.tuning --short    # ml-100k, 20 s, one seed; prints, writes nothing
    python -m benchmarks.tuning [--budget 60] [--seeds 1 2 3] [--sets NAME ...]

Contenders, each in turn and in a process of its own (`benchmarks/contenders.py`): the search of a
night, 10,000 trials at most, its space and first guess chosen on these sets, test too; the same
without half-lives; Optuna over implicit's ALS as its tutorial has it, in Lethe's space, with
implicit's 15 iterations and own evaluation; the same over RecTools and LensKit; irspack's
`IALSRecommender.tune`, all its own. Peers are optional: `pip install --no-deps --target FOLDER
irspack 'fastprogress<1.1' colorlog` and FOLDER in PYTHONPATH; RecTools needs another numpy and
LensKit brings torch, so for each `python -m venv FOLDER`, `FOLDER/bin/pip install rectools optuna`
(or `lenskit optuna`), and `--python rectools=FOLDER/bin/python`. None goes into the lock.

Each searches by its own measure. What counts is then measured by Lethe's evaluation, on all users
of the validation window: the best that it had when its time was up, and when it first had 99 % of
the best that anybody found. The winner is fitted again on train and validation and scored on the
test window. A trial that was not done in time does not count. Writes a section of
docs/benchmarks.md.
"""

from __future__ import annotations

import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}  # before numpy

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml
from scipy import sparse

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.datasets import at_hand, training_folder  # noqa: E402
from benchmarks.page import machine, put  # noqa: E402
from lethe.gate.scoring.evaluation import Evaluation, evaluate  # noqa: E402
from lethe.gate.scoring.quality import bootstrap_interval  # noqa: E402
from lethe.interactions.training.windows import TrainingSet  # noqa: E402
from lethe.solutions.recipes import recipe  # noqa: E402

METRIC = "normalized_discounted_cumulative_gain_at_10"
THREADS, NEAR = 2, 0.99
SETS = ("ml-100k", "shop", "online-retail, 90 days", "online-retail", "personalize-sample")
HEAD = (
    "| Data | Who | validation: least / median / most | times Lethe's "
    "| seconds to 99 % of the best | times Lethe's | test (95 %) | trials |"
)
NAMES = {
    "lethe": "**Lethe**",
    "unfaded": "Lethe without half-lives",
    "optuna": "Optuna over implicit",
    "irspack": "irspack",
    "rectools": "Optuna over RecTools",
    "lenskit": "Optuna over LensKit",
}
NIGHTLY = {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}  # as in a night
BLAS = {
    "lethe": NIGHTLY,
    "unfaded": NIGHTLY,
    "optuna": {"OPENBLAS_NUM_THREADS": "1"},  # implicit asks for it
    "rectools": {"OPENBLAS_NUM_THREADS": "1"},
    "lenskit": {"OPENBLAS_NUM_THREADS": "1", "LK_NUM_THREADS": str(THREADS)},
    "irspack": {"OPENBLAS_NUM_THREADS": str(THREADS)},  # its scores are numpy's product
}


@dataclass(frozen=True)
class Dots:
    """Factors that a contender left: float32 (n_users, f) and (n_items, f)."""

    users: Any
    items: Any

    @classmethod
    def read(cls, path: Path) -> Dots:
        with np.load(path) as arrays:
            return cls(arrays["users"].astype(np.float32), arrays["items"].astype(np.float32))

    def scores(self, rows: Any) -> Any:
        """float32 (len(rows), n_items)."""
        return self.users[rows] @ self.items.T


@dataclass(frozen=True)
class Run:
    """What one contender had found with one seed: (seconds, validation), oldest first."""

    curve: list[tuple[float, float]]
    test: Evaluation | None
    trials: int

    @property
    def best(self) -> float:
        """Validation nDCG at 10 of what it would have handed over."""
        return self.curve[-1][1] if self.curve else float("nan")

    def reached(self, value: float) -> float:
        """Seconds until it first had `value`; infinite if it never had."""
        return next((second for second, had in self.curve if had >= value), float("inf"))


class Split:
    """One data set: what is learned from, and the judge."""

    def __init__(self, name: str, data: Path, folder: Path) -> None:
        base, _, days = name.partition(", ")
        self.training = training_folder(
            base, data, folder, days=int(days.split()[0]) if days else None
        )
        known = TrainingSet.read(self.training)
        self.train, self.whole = known.matrix("train"), known.matrix("train+validation")
        self.validation = known.held_out("validation", self.train).csr
        self.test = known.held_out("test", self.whole).csr

    def judged(self, learned: Any, window: str) -> Evaluation:
        if window == "validation":
            return evaluate(learned, self.train.csr, self.validation)
        return evaluate(learned, self.whole.csr, self.test)

    def baseline(self, name: str) -> tuple[Evaluation, Evaluation]:
        """Validation and test of a baseline with its defaults."""
        chosen = recipe(name)
        windows = {"validation": self.train, "test": self.whole}
        validation, test = (
            self.judged(chosen.fit(matrix, chosen.hyperparameters(), 0, None), window)
            for window, matrix in windows.items()
        )
        return validation, test

    def run(self, name: str, python: str, seed: int, given: argparse.Namespace) -> Run:
        """One contender with one seed.

        Raises:
            CalledProcessError: it failed.
        """
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            for file, matrix in (("train", self.train.csr), ("validation", self.validation),
                                 ("whole", self.whole.csr)):  # fmt: skip
                sparse.save_npz(folder / f"{file}.npz", matrix, compressed=False)
            order = {"seed": seed, "budget": given.budget, "threads": THREADS,
                     "training": str(self.training), "params": given.params}  # fmt: skip
            (folder / "order.json").write_text(json.dumps(order))
            own = {key: text for key, text in os.environ.items() if "OPENBLAS" not in key}
            subprocess.run(
                [python, str(ROOT / "benchmarks" / "contenders.py"), name, str(folder)],
                check=True, env=own | BLAS[name], stdout=subprocess.DEVNULL,
            )  # fmt: skip
            return self._judged_run(folder)

    def _judged_run(self, folder: Path) -> Run:
        found = json.loads((folder / "found.json").read_text())
        curve = [
            (kept["seconds"], self._value(folder / f"kept-{number}.npz"))
            for number, kept in enumerate(found["kept"])
        ]
        test = self.judged(Dots.read(folder / "winner.npz"), "test") if curve else None
        return Run(curve, test, found["trials"])

    def _value(self, path: Path) -> float:
        return float(self.judged(Dots.read(path), "validation").means[METRIC])


def three(values: Sequence[float], form: str) -> str:
    """Least / median / most, or the one there is; never is what is infinite."""
    shown = sorted(values) if len(values) < 3 else [min(values), median(values), max(values)]
    return " / ".join("never" if np.isinf(value) else format(value, form) for value in shown)


def tested(found: Sequence[Evaluation | None]) -> str:
    """The test of the seed in the middle, with its 95 % interval over users."""
    known = sorted((one for one in found if one is not None), key=lambda one: one.means[METRIC])
    if not known:
        return "-"
    middle = known[len(known) // 2]
    low, high = bootstrap_interval(middle.per_user[METRIC], np.random.default_rng(0))
    return f"{middle.means[METRIC]:.4f} ({low:.4f} to {high:.4f})"


def times(ratio: float) -> str:
    """A ratio to Lethe's; nothing where one of the two never came there."""
    return f"{ratio:.3f}" if np.isfinite(ratio) and ratio > 0 else "-"


def rows(name: str, split: Split, runs: Mapping[str, list[Run]]) -> Iterator[str]:
    """The lines of one data set, Lethe's first."""
    seeds = range(len(next(iter(runs.values()))))
    near = [NEAR * np.nanmax([found[seed].best for found in runs.values()]) for seed in seeds]
    spent = {who: [found[s].reached(near[s]) for s in seeds] for who, found in runs.items()}
    ours = {seed: run.best for seed, run in enumerate(runs["lethe"])}
    for who, found in runs.items():
        quality = median(run.best / ours[seed] for seed, run in enumerate(found))
        cells = (
            name, NAMES[who], three([run.best for run in found], ".4f"), times(quality),
            three(spent[who], ".1f"), times(median(spent[who]) / median(spent["lethe"])),
            tested([run.test for run in found]), three([run.trials for run in found], ".0f"),
        )  # fmt: skip
        yield f"| {' | '.join(cells)} |"
    for baseline in ("popular", "item_knn"):
        validation, test = split.baseline(baseline)
        value = validation.means[METRIC]
        yield (
            f"| {name} | {baseline} | {value:.4f} | {times(value / median(ours.values()))} | | | "
            f"{tested([test])} | |"
        )


def pythons(given: Sequence[str]) -> dict[str, str]:
    """Who can run here, and by which interpreter."""
    found = dict.fromkeys(("lethe", "unfaded", "optuna"), sys.executable)
    if importlib.util.find_spec("irspack"):
        found["irspack"] = sys.executable
    named = dict(one.split("=", 1) for one in given)
    for name in NAMES.keys() - found.keys() - named.keys():
        print(f"{name} is not at hand: left out", file=sys.stderr)
    return found | named


def measured(name: str, given: argparse.Namespace) -> list[str]:
    """All contenders with all seeds on one data set, seed by seed, in turn."""
    who = pythons(given.python)
    with tempfile.TemporaryDirectory() as folder:
        split = Split(name, given.data, Path(folder))
        runs: dict[str, list[Run]] = {one: [] for one in who}
        for seed in given.seeds:
            for one, python in who.items():
                runs[one].append(split.run(one, python, seed, given))
                print(name, one, seed, runs[one][-1].curve, runs[one][-1].trials, file=sys.stderr)
        return list(rows(name, split, runs))


def asked() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options.add_argument("--short", action="store_true")
    options.add_argument("--budget", type=float, default=None, help="wall seconds of each search")
    options.add_argument("--seeds", type=int, nargs="+", default=None)
    options.add_argument("--sets", nargs="+", choices=SETS, default=None)
    options.add_argument("--python", action="append", default=[], metavar="PEER=PYTHON")
    options.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    given = options.parse_args()
    given.budget = given.budget or (20.0 if given.short else 60.0)
    given.seeds = given.seeds or ([1] if given.short else [1, 2, 3])
    given.sets = given.sets or (SETS[:1] if given.short else SETS)
    given.params = yaml.safe_load(given.params.read_text(encoding="utf-8"))
    return given


def main() -> None:
    """Measure and write the table."""
    load, given = os.getloadavg()[0], asked()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    lines = [HEAD, "|---|---|---:|---:|---:|---:|---:|---:|"]
    for name in at_hand(given.sets, given.data):
        for line in measured(name, given):
            print(line, flush=True)
            lines.append(line)
    told = f"{machine(load)} {given.budget:g} s a search, {len(given.seeds)} seeds.\n\n"
    if not given.short:
        put("tuning", told + "\n".join(lines))


if __name__ == "__main__":
    main()
