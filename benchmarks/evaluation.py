"""Users scored a second: Lethe's evaluation beside its peers, and the product alone as the limit.

    python -m benchmarks.evaluation [USERS] [ITEMS]        (8,000 and 20,000 by default)

All score the same factors on the same held-out interactions, on one BLAS thread. Lethe and irspack
measure everything at every cutoff in one pass; implicit measures at one cutoff a call, so its time
for all of them is beside that for one. Peers are optional: `pip install --no-deps --target FOLDER
irspack 'fastprogress<1.1' colorlog`, and FOLDER in PYTHONPATH. Each is run three times, in
turn; nDCG at 10 must be the same number for all. The table goes into docs/benchmarks.md.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.sparse import csr_matrix

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.page import machine, put
from lethe.gate.scoring.evaluation import evaluate
from lethe.gate.scoring.metrics import CUTOFFS

WIDTHS, RUNS, BLOCK = (64, 128), 3, 1024
NDCG = "normalized_discounted_cumulative_gain_at_10"


@dataclass(frozen=True)
class Dots:
    """Factors, as whatever scores them wants them: float32 (n_users, f) and (n_items, f)."""

    users: Any
    items: Any

    def scores(self, rows: Any) -> Any:
        """float32 (len(rows), n_items)."""
        return self.users[rows] @ self.items.T


def interactions(draw: np.random.Generator, shape: tuple[int, int], each: int) -> csr_matrix:
    """About `each` distinct items a user, popular ones more often."""
    users = np.repeat(np.arange(shape[0]), each)
    items = (shape[1] * draw.power(3.0, len(users))).astype(np.int64)
    matrix = csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=shape)
    matrix.data[:] = 1
    return matrix


def scene(width: int, shape: tuple[int, int]) -> tuple[Dots, csr_matrix, csr_matrix]:
    """Factors, what people have, and what they did next."""
    draw = np.random.default_rng(width)
    dots = Dots(
        draw.normal(size=(shape[0], width)).astype(np.float32),
        draw.normal(size=(shape[1], width)).astype(np.float32),
    )
    train, after = interactions(draw, shape, 30), interactions(draw, shape, 6)
    after = csr_matrix(after - after.multiply(train))
    after.eliminate_zeros()
    return dots, train, after


def with_lethe(dots: Dots, train: csr_matrix, after: csr_matrix) -> float:
    """Every metric at every cutoff."""
    return float(evaluate(dots, train, after).means[NDCG])


def with_implicit(
    cutoffs: tuple[int, ...], dots: Dots, train: csr_matrix, after: csr_matrix
) -> float:
    """implicit's metrics, one cutoff a call."""
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.evaluation import ranking_metrics_at_k

    model = AlternatingLeastSquares(factors=dots.users.shape[1])
    model.user_factors, model.item_factors = dots.users, dots.items
    found = {
        k: ranking_metrics_at_k(
            model, train, after, K=k, show_progress=False, num_threads=os.cpu_count() or 1
        )["ndcg"]
        for k in cutoffs
    }
    return float(found[10])


def with_irspack(dots: Dots, train: csr_matrix, after: csr_matrix) -> float:
    """irspack's metrics at every cutoff."""
    evaluator = importlib.import_module("irspack.evaluation.evaluator").Evaluator(
        after, cutoff=10, masked_interactions=train, n_threads=os.cpu_count() or 1
    )

    def chunks() -> Iterator[Any]:
        for start in range(0, train.shape[0], BLOCK):
            yield dots.scores(np.arange(start, min(start + BLOCK, train.shape[0])))

    return float(evaluator.get_scores_from_score_chunks(chunks(), list(CUTOFFS))["ndcg@10"])


def product(dots: Dots, train: csr_matrix, _: csr_matrix) -> float:
    """The scores alone, nothing chosen from them."""
    for start in range(0, train.shape[0], BLOCK):
        dots.scores(np.arange(start, min(start + BLOCK, train.shape[0])))
    return float("nan")


def contenders() -> dict[str, Callable[..., float]]:
    """By name; irspack only where it can be imported."""
    found: dict[str, Callable[..., float]] = {
        f"**Lethe**, all metrics at {len(CUTOFFS)} cutoffs": with_lethe,
        "implicit, one cutoff": functools.partial(with_implicit, (10,)),
        f"implicit, {len(CUTOFFS)} cutoffs": functools.partial(with_implicit, CUTOFFS),
    }
    if importlib.util.find_spec("irspack"):
        found[f"irspack, {len(CUTOFFS)} cutoffs"] = with_irspack
    return {**found, "the product alone": product}


def measured(shape: tuple[int, int], width: int) -> Iterator[list[str]]:
    """A row for each contender: users a second, least, median and most of the runs."""
    dots, train, after = scene(width, shape)
    seconds: dict[str, list[float]] = {name: [] for name in contenders()}
    values: dict[str, float] = {}
    for _ in range(RUNS):
        for name, way in contenders().items():
            began = time.perf_counter()
            values[name] = way(dots, train, after)
            seconds[name].append(time.perf_counter() - began)
    known = [value for value in values.values() if value == value]  # noqa: PLR0124 - not NaN
    assert max(known) - min(known) < 1e-6, f"they do not measure the same: {values}"
    users = int((np.diff(after.indptr) > 0).sum())
    best = median(seconds[next(iter(seconds))])
    for name, spent in seconds.items():
        speeds = sorted(users / one for one in spent)
        shown = " / ".join(f"{speed:,.0f}" for speed in (speeds[0], median(speeds), speeds[-1]))
        yield [str(width), name, shown, f"{median(spent) / best:.2f}"]


def main(users: int = 8_000, items: int = 20_000) -> None:
    """Measure and write the table."""
    load = os.getloadavg()[0]
    lines = ["| Factors | Who | users a second: least / median / most | times Lethe's seconds |",
             "|---:|---|---:|---:|"]  # fmt: skip
    for width in WIDTHS:
        for row in measured((users, items), width):
            print(" | ".join(row), flush=True)
            lines.append(f"| {' | '.join(row)} |")
    put("evaluation", f"{machine(load)} {users:,} users, {items:,} items.\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main(*(int(one) for one in sys.argv[1:]))
