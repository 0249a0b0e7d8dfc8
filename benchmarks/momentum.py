"""How soon a fit of ALS is at rest, with momentum and without (decision 28).

    python -m benchmarks.momentum [--data ../shared/data] [--sets NAME ...]
    python -m benchmarks.momentum --rows 1000000 10000000    # a generated shop of that size

For each data set and the corners of the default space one honest fit, sealed on the way after some
of its iterations: how far the a of 99 of 100 known people is off, members pretended erased and
people never seen, each weighed as a usual member is (`lethe.nights.learning.rest`). That is the
noise in which the residual test must find somebody. Writes a section of
docs/verification-measured.md.
"""

from __future__ import annotations

import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}  # before numpy

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.datasets import at_hand, read  # noqa: E402
from benchmarks.orchestration import shop  # noqa: E402
from benchmarks.page import machine, put  # noqa: E402
from benchmarks.rest import CORNERS  # noqa: E402
from lethe.interactions.training.matrix import InteractionMatrix  # noqa: E402
from lethe.interactions.training.windows import TrainingSet  # noqa: E402
from lethe.nights.learning.rest import off  # noqa: E402
from lethe.solutions.als import AlsHyperparameters, as_solved, fit  # noqa: E402
from lethe.solutions.environment import one_blas_thread  # noqa: E402
from lethe.solutions.learned import Factors, Learned  # noqa: E402

PAGE = ROOT / "docs" / "verification-measured.md"
SETS = ("shop", "ml-100k", "online-retail")
PLAIN, WITH = (50, 80), (24, 32, 40, 48, 64)
# A large shop is asked under fewer settings: the middle of the space, and its most restless corner.
LARGE = ((64, 30, 5), (64, 10, 10))
SEED = 7


def sealed(matrix: InteractionMatrix, rule: AlsHyperparameters, stopped: Factors) -> Factors:
    """As the recipe seals a fit that stops here: one exact iteration."""
    from implicit.cpu.als import AlternatingLeastSquares

    weights, alpha = as_solved(matrix.csr, rule)
    with one_blas_thread():
        model = AlternatingLeastSquares(
            factors=rule.factors, regularization=rule.regularization, alpha=alpha,
            iterations=1, dtype=np.float32, use_cg=False, random_state=0,
        )  # fmt: skip
        model.user_factors = stopped.user_factors.copy()
        model.item_factors = stopped.item_factors.copy()
        model.fit(weights, show_progress=False)
    return Factors(model.user_factors, model.item_factors)


def on_the_way(
    matrix: InteractionMatrix, rule: AlsHyperparameters, stops: tuple[int, ...]
) -> list[float]:
    """`off` after each of some iterations of one fit."""
    found: list[float] = []

    def hear(iteration: int, learned: Learned) -> None:
        if iteration in stops:
            assert isinstance(learned, Factors)
            found.append(off(matrix, rule, sealed(matrix, rule, learned), SEED))

    fit(matrix, rule.model_copy(update={"iterations": max(stops), "seal": False}), SEED, hear)
    return found


def rows(
    name: str, matrix: InteractionMatrix, settings: tuple[tuple[float, ...], ...]
) -> Iterator[str]:
    """One line for each setting."""
    for factors, regularization, alpha in settings:
        rule = AlsHyperparameters(factors=int(factors), regularization=regularization, alpha=alpha)
        found = on_the_way(matrix, rule, PLAIN)
        found += on_the_way(matrix, rule.model_copy(update={"momentum": True}), WITH)
        told = " | ".join(f"{value:.1e}" for value in found)
        yield f"| {name} | {factors}, {regularization}, {alpha} | {told} |"


def grown(size: int) -> InteractionMatrix:
    """What a night would learn from, of a generated shop of about `size` interactions."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "shop"
        shop(root, size, 1)
        for stage in ("interactions", "training"):
            subprocess.run([sys.executable, "-m", "lethe.stages", stage], cwd=root, check=True)
        return TrainingSet.read(root / "data" / "training").matrix("all")


def main() -> None:
    """Measure, print the table and write it into the page."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options.add_argument("--sets", nargs="+", default=list(SETS))
    options.add_argument("--rows", nargs="+", type=int, default=[])
    given = options.parse_args()
    load = os.getloadavg()[0]
    head = " | ".join([*(f"{n}" for n in PLAIN), *(f"{n}, momentum" for n in WITH)])
    lines = [f"| Data | Factors, regularization, alpha | {head} |",
             f"|---|---|{'---:|' * len(PLAIN + WITH)}"]  # fmt: skip
    worlds: Iterator[tuple[str, InteractionMatrix, tuple[tuple[float, ...], ...]]]
    if given.rows:
        worlds = ((f"shop of {size:,}", grown(size), LARGE) for size in given.rows)
    else:
        named = at_hand(given.sets, given.data)
        worlds = ((name, read(name, given.data), CORNERS) for name in named)
    for name, matrix, settings in worlds:
        for line in rows(name, matrix, settings):
            print(line, flush=True)
            lines.append(line)
    put("at-rest-large" if given.rows else "at-rest", f"{machine(load)}\n\n" + "\n".join(lines),
        PAGE)  # fmt: skip


if __name__ == "__main__":
    main()
