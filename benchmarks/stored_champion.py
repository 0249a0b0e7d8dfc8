"""Why a champion is refitted and not scored with its stored factors (decision 1).

    python benchmarks/stored_champion.py [--data ../shared/data]

Reads the generated shop and, where it is at hand, ml-100k, as a night would. Fits ALS once on
train and validation, as tonight's candidates are, and once on everything, as a stored champion
was; scores both on the same test window. Prints a table of nDCG at 10.
"""

from __future__ import annotations

import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}  # before numpy

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.datasets import training_set  # noqa: E402
from lethe.gate.scoring.evaluation import evaluate  # noqa: E402
from lethe.interactions.training.matrix import InteractionMatrix as Matrix  # noqa: E402
from lethe.interactions.training.windows import TrainingSet  # noqa: E402
from lethe.solutions.learned import Factors  # noqa: E402
from lethe.solutions.recipes import recipe  # noqa: E402

METRIC = "normalized_discounted_cumulative_gain_at_10"
SETTINGS = ((64, 30.0, 5.0), (64, 10.0, 5.0), (128, 1.0, 5.0))


def as_stored(learned: Factors, of: Matrix, before: Matrix) -> Factors:
    """The factors of everything, in the rows and columns that were there before the window."""
    user = np.searchsorted(of.users, before.users)
    item = np.searchsorted(of.items, before.items)
    return Factors(learned.user_factors[user], learned.item_factors[item])


def rows(name: str, data: TrainingSet, seed: int) -> list[list[str]]:
    """One row a setting: data set, setting, users scored, nDCG fitted before and as stored."""
    before, everything = data.matrix("train+validation"), data.matrix("all")
    held_out = data.held_out("test", before)
    als, found = recipe("als"), []
    for factors, regularization, alpha in SETTINGS:
        rule = als.hyperparameters.model_validate(
            {"factors": factors, "regularization": regularization, "alpha": alpha,
             "iterations": 16}
        )  # fmt: skip
        fresh = als.fit(before, rule, seed, None)
        whole = als.fit(everything, rule, seed, None)
        assert isinstance(whole, Factors)
        stored = as_stored(whole, everything, before)
        fair, told = (evaluate(one, before.csr, held_out.csr) for one in (fresh, stored))
        found.append([name, f"{factors}, {regularization:g}, {alpha:g}", str(fair.counts.users),
                      f"{fair.means[METRIC]:.3f}", f"{told.means[METRIC]:.3f}"])  # fmt: skip
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options.add_argument("--seed", type=int, default=20240301)
    given = options.parse_args()
    print("| Data | factors, regularization, alpha | users | fitted before | as stored |")
    print("|---|---|---:|---:|---:|")
    for name in ("shop", "ml-100k"):
        if name == "shop" or (given.data / name).is_dir():
            for row in rows(name, training_set(name, given.data), given.seed):
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
