"""What a recipe that serves the proof costs: convergence and the seal, in time and in nDCG.

    python benchmarks/sealing.py [--data ../shared/data] [--into FILE]

Fits ALS before the test window of the generated shop and, where they are at hand, of ml-100k and
online-retail, with 8 to 80 iterations without momentum and 8 to 64 with it, each with and without
the exact last iteration. Five seeds; every fit is timed on one thread. Prints a table and writes
it to docs/verification-recipe.md.
"""

from __future__ import annotations

import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}  # before numpy

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.datasets import training_set  # noqa: E402
from lethe.gate.proof.als.objective import Objective  # noqa: E402
from lethe.gate.scoring.evaluation import evaluate  # noqa: E402
from lethe.interactions.training.matrix import InteractionMatrix  # noqa: E402
from lethe.interactions.training.windows import TrainingSet  # noqa: E402
from lethe.solutions.als import AlsHyperparameters, fit  # noqa: E402
from lethe.solutions.learned import Factors  # noqa: E402

METRIC = "normalized_discounted_cumulative_gain_at_10"
SEEDS = (1, 2, 3, 4, 5)
STOPS = (*((False, n) for n in (8, 16, 30, 50, 80)), *((True, n) for n in (8, 16, 24, 32, 48, 64)))
HEAD = (
    "| Data | Iterations | Seal | Seconds a fit (min, median, max) | nDCG at 10 (min to max) "
    "| Largest residual |"
)


def residual(matrix: InteractionMatrix, learned: Factors, rule: AlsHyperparameters) -> float:
    """How far the item factors are from their normal equations: layer 4 of verification."""
    at = Objective.on(matrix.csr, learned, rule.model_dump())
    return float(at.sides().relative().max())


def rows(name: str, data: TrainingSet) -> Iterator[str]:
    """One line for each number of iterations, without the seal and with it."""
    before = data.matrix("train+validation")
    held_out = data.held_out("test", before).csr
    for momentum, iterations in STOPS:
        for seal in (False, True):
            rule = AlsHyperparameters(
                factors=64, regularization=30.0, alpha=5.0, iterations=iterations, seal=seal,
                momentum=momentum,
            )  # fmt: skip
            seconds, scores, residuals = [], [], []
            for seed in SEEDS:
                began = time.process_time()
                learned = fit(before, rule, seed, threads=1)
                seconds.append(time.process_time() - began)
                scores.append(evaluate(learned, before.csr, held_out).means[METRIC])
                residuals.append(residual(before, learned, rule))
            spent = ", ".join(f"{x:.2f}" for x in np.quantile(seconds, (0, 0.5, 1)))
            yield (
                f"| {name} | {iterations}{', momentum' * momentum} | {'yes' if seal else 'no'} | "
                f"{spent} | "
                f"{np.mean(scores):.4f} ({min(scores):.4f} to {max(scores):.4f}) | "
                f"{max(residuals):.1e} |"
            )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options.add_argument("--into", type=Path, default=ROOT / "docs" / "verification-recipe.md")
    given = options.parse_args()
    lines = [
        "# What convergence and the seal cost\n",
        (
            "Written by `benchmarks/sealing.py`; do not edit. ALS with 64 factors, "
            "regularization 30, alpha 5; processor seconds on one thread; five seeds; users of "
            "the test window.\n"
        ),
        HEAD,
        "|---|---:|---|---:|---:|---:|",
    ]
    print("\n".join(lines))
    for name in ("shop", "ml-100k", "online-retail"):
        if name == "shop" or (given.data / name).is_dir():
            for line in rows(name, training_set(name, given.data)):
                print(line, flush=True)
                lines.append(line)
    given.into.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
