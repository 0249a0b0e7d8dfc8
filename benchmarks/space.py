"""What the default search space is drawn from: ALS at random, and LightFM's curves.

    python benchmarks/space.py [--data ../shared/data] [--draws 24]

Draws ALS' hyper-parameters at random from a space wider than the default one, and ranks them on the
validation window of each data set at hand; the best is then scored on the test window. LightFM is
scored after 3, 6, 12 and 24 epochs, with the items' attributes and without. Writes a section of
docs/benchmarks.md.
"""

from __future__ import annotations

import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}  # before numpy

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.datasets import training_set  # noqa: E402
from benchmarks.page import put  # noqa: E402
from lethe.gate.scoring.evaluation import evaluate  # noqa: E402
from lethe.interactions.training.splits import HeldOutWindow  # noqa: E402
from lethe.interactions.training.windows import TrainingSet  # noqa: E402
from lethe.solutions import lightfm  # noqa: E402
from lethe.solutions.als import AlsHyperparameters, fit  # noqa: E402
from lethe.solutions.learned import Learned  # noqa: E402
from lethe.solutions.recipes import recipe  # noqa: E402

METRIC = "normalized_discounted_cumulative_gain_at_10"
SEED, EPOCHS, ITERATIONS = 20240301, (3, 6, 12, 24), 16
RATES = (0.015, 0.03, 0.057, 0.1)


class Window:
    """A matrix to learn from, and what its users did next."""

    def __init__(self, data: TrainingSet, window: HeldOutWindow) -> None:
        self.matrix = data.matrix("train" if window == "validation" else "train+validation")
        self.held_out = data.held_out(window, self.matrix).csr

    def score(self, learned: Learned) -> float:
        return float(evaluate(learned, self.matrix.csr, self.held_out).means[METRIC])

    def baseline(self, name: str) -> float:
        chosen = recipe(name)
        return self.score(chosen.fit(self.matrix, chosen.hyperparameters(), SEED, None))


def drawn(draw: np.random.Generator) -> AlsHyperparameters:
    """Each on a log scale: factors 16 to 128, regularization 1 to 1000, alpha 0.5 to 100."""
    low, high = np.log([16, 1, 0.5]), np.log([128, 1000, 100])
    factors, regularization, alpha = np.exp(draw.uniform(low, high))
    return AlsHyperparameters(factors=round(factors), regularization=round(regularization, 1),
                              alpha=round(alpha, 2), iterations=ITERATIONS)  # fmt: skip


def als_row(name: str, data: TrainingSet, draws: int) -> str:
    """The best of the draws on validation, and its test."""
    window, draw = Window(data, "validation"), np.random.default_rng(SEED)
    found = [(window.score(fit(window.matrix, one, SEED)), index, one)
             for index, one in enumerate(drawn(draw) for _ in range(draws))]  # fmt: skip
    best, _, rule = max(found)
    test = Window(data, "test")
    users = int((np.diff(window.held_out.indptr) > 0).sum())
    return (
        f"| {name} | {users} | {window.baseline('popular'):.4f} | "
        f"{window.baseline('item_knn'):.4f} | {best:.4f} | "
        f"{test.score(fit(test.matrix, rule, SEED)):.4f} | factors {rule.factors}, "
        f"regularization {rule.regularization:g}, alpha {rule.alpha:g} |"
    )


def curves(name: str, data: TrainingSet) -> Iterator[str]:
    """LightFM by learning rate, and whether the items' attributes are learned."""
    window = Window(data, "validation")
    for rate in RATES:
        for attributes in (True, False):
            scores: list[float] = []

            def hear(epoch: int, learned: Learned, to: list[float] = scores) -> None:
                if epoch in EPOCHS:
                    to.append(window.score(learned))

            rule = lightfm.LightfmHyperparameters(
                components=32, learning_rate=rate, epochs=EPOCHS[-1],
                use_item_features=attributes,
            )  # fmt: skip
            lightfm.fit(window.matrix, rule, SEED, hear)
            told = " | ".join(f"{score:.4f}" for score in scores)
            yield f"| {name} | {rate:g} | {'yes' if attributes else 'no'} | {told} |"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options.add_argument("--draws", type=int, default=24)
    given = options.parse_args()
    lines = [
        f"ALS, {given.draws} draws, {ITERATIONS} iterations and the seal; best on validation:",
        "",
        "| Data set | users scored | popular | item_knn | best ALS | its test | with |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    sets = {}
    for name in ("shop", "online-retail", "ml-100k"):
        if name == "shop" or (given.data / name).is_dir():
            sets[name] = training_set(name, given.data)
            lines.append(als_row(name, sets[name], given.draws))
            print(lines[-1], flush=True)
    lines += ["", "LightFM, WARP, 32 components, by epochs, on the validation window:", ""]
    lines += ["| Data set | learning rate | attributes | 3 | 6 | 12 | 24 |",
              "|---|---:|---|---:|---:|---:|---:|"]  # fmt: skip
    for name in sets.keys() & {"shop", "ml-100k"}:
        lines += curves(name, sets[name])
    print("\n".join(lines))
    put("space", "\n".join(lines))


if __name__ == "__main__":
    main()
