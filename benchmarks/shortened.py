"""How short a trial of ALS may be: do few iterations rank the draws as the whole fit does?

    python -m benchmarks.shortened [--data ../shared/data] [--draws 24] [--sets NAME ...]

Draws ALS' hyper-parameters from the default space and scores each on the validation window on the
way to 48 iterations with momentum and the seal: Spearman's correlation of the scores after a few
iterations with those of the whole fit, and what is lost by fitting whole the one, the two or the
three that then looked best and taking the better, as a share of the best there was. On all users,
and on the fixed sample of a night where it is smaller. Writes a section of docs/benchmarks.md.
"""

from __future__ import annotations

import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}  # before numpy

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.datasets import at_hand  # noqa: E402
from benchmarks.page import put  # noqa: E402
from benchmarks.tuning import METRIC, SETS, Split  # noqa: E402
from lethe.gate.scoring.evaluation import evaluate  # noqa: E402
from lethe.nights.learning.window import Window  # noqa: E402
from lethe.solutions.als import AlsHyperparameters, fit  # noqa: E402
from lethe.solutions.learned import Learned  # noqa: E402

SEED, STEPS, SAMPLE = 20240301, (2, 4, 6, 8, 10, 12, 16, 24), 1000
HEAD = "| Data | users scored | scored on | measure | " + " | ".join(map(str, STEPS)) + " |"


def drawn(draw: np.random.Generator) -> AlsHyperparameters:
    """From the default space: factors 16 to 128, regularization 10 to 200, alpha 1 to 10."""
    low, high = np.log([16, 10, 1]), np.log([128, 200, 10])
    factors, regularization, alpha = np.exp(draw.uniform(low, high))
    return AlsHyperparameters(
        factors=round(factors), regularization=regularization, alpha=alpha, iterations=48,
        momentum=True,
    )  # fmt: skip


def curves(split: Split, draws: int) -> np.ndarray:
    """float64 (draws, 2, len(STEPS) + 1): on all users and on the sample; the whole fit last."""
    window = Window.read(split.training, "validation")
    users = window.sample(SAMPLE, SEED)
    draw, found = np.random.default_rng(SEED), []
    for _ in range(draws):
        scores: list[tuple[float, float]] = []

        def hear(iteration: int, learned: Learned, to: list[tuple[float, float]] = scores) -> None:
            if iteration in STEPS:
                to.append(both(window, learned, users))

        whole = fit(window.matrix, drawn(draw), SEED, hear)
        found.append([*scores, both(window, whole, users)])
    return np.swapaxes(np.array(found), 1, 2)


def both(window: Window, learned: Learned, users: np.ndarray) -> tuple[float, float]:
    """nDCG at 10 of all users, and of the sample."""
    found = evaluate(learned, window.matrix.csr, window.held_out.csr)
    values = found.per_user[METRIC]
    return float(values.mean()), float(values[np.isin(found.rows, users)].mean())


def rows(name: str, split: Split, draws: int) -> Iterator[str]:
    """Four lines for all users, and four for the sample if it leaves anybody out."""
    from scipy.stats import spearmanr

    found = curves(split, draws)
    whole = found[:, 0, -1]
    scored = evaluate(DotsOfNobody(split), split.train.csr, split.validation).counts.users
    for which, place in (("all", 0), *((("sample", 1),) if scored > SAMPLE else ())):
        early = found[:, place, :-1]
        ranks = [spearmanr(early[:, step], whole).statistic for step in range(len(STEPS))]
        start = f"| {name} | {scored} | {which} |"
        yield f"{start} Spearman | " + " | ".join(f"{one:.3f}" for one in ranks) + " |"
        for finalists in (1, 2, 3):
            told = "lost" if finalists == 1 else f"lost, of {finalists} whole"
            losses = [
                1
                - whole[np.argsort(-early[:, step], kind="stable")[:finalists]].max() / whole.max()
                for step in range(len(STEPS))
            ]
            yield f"{start} {told} | " + " | ".join(f"{one:.1%}" for one in losses) + " |"


class DotsOfNobody:
    """Scores nothing; to count the users that are scored."""

    def __init__(self, split: Split) -> None:
        self.items = split.train.csr.shape[1]

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """float32 zeros (len(rows), n_items)."""
        return np.zeros((len(rows), self.items), np.float32)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options.add_argument("--draws", type=int, default=24)
    options.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    options.add_argument("--dry", action="store_true", help="print, and write nothing")
    given = options.parse_args()
    lines = [HEAD, "|---|---:|---|---|" + "---:|" * len(STEPS)]
    for name in at_hand(given.sets, given.data):
        with tempfile.TemporaryDirectory() as folder:
            for line in rows(name, Split(name, given.data, Path(folder)), given.draws):
                print(line, flush=True)
                lines.append(line)
    if not given.dry:
        put("shortened", f"{given.draws} draws.\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
