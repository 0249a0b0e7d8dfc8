"""What regularization scaled by frequency brings: implicit's ALS beside irspack's.

    python -m benchmarks.scaling [--trials 60] [--seeds 1 2 3] [--sets NAME ...]

implicit adds one regularization to every row's normal equation; irspack adds
`reg (N + alpha0 n)^nu`, for N observed pairs of n ("Revisiting the Performance of iALS on Item
Recommendation Benchmarks", Rendle, Krichene, Zhang, Koren 2021). With nu = 0 that is implicit's
again, up to the space. So the rows of one data set differ by nu alone: the same
TPE, trials and seeds, 16 iterations each, judged on all users of the validation window; the best
trial is fitted on train and validation and scored on the test window. Scores, no times: the
machine need not be quiet. irspack is installed as in `benchmarks/tuning.py`. Writes a section of
docs/benchmarks.md.
"""

from __future__ import annotations

import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}  # before numpy

import argparse
import contextlib
import io
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import optuna

from benchmarks.clock import SPACE
from benchmarks.datasets import at_hand
from benchmarks.page import machine, put
from benchmarks.tuning import METRIC, SETS, Dots, Split, tested, three

ITERATIONS = 16
RANGE = Mapping[str, tuple[float, float]]
WIDE: RANGE = {"factors": (4, 300), "regularization": (0.5, 5_000), "alpha": (0.5, 300)}
POWERS = {0.0: (1e-2, 500.0), 0.5: (1e-3, 30.0), 1.0: (1e-4, 1.0)}
"""By nu, where `reg` is looked for; that of 1 is irspack's own, and so is ALPHA0."""
ALPHA0 = (3e-3, 1.0)
HEAD = (
    "| Data | ALS | best of the draws: least / median / most | times the first row's "
    "| test (95 %) |"
)
Fit = Callable[[Any, Mapping[str, Any]], Dots]


def by_implicit(matrix: Any, values: Mapping[str, Any]) -> Dots:
    """implicit's ALS; `values` are its own keywords."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(**values, iterations=ITERATIONS, random_state=1)
    model.fit(matrix.copy(), show_progress=False)
    return Dots(model.user_factors, model.item_factors)


def by_irspack(matrix: Any, values: Mapping[str, Any]) -> Dots:
    """irspack's; `values` are its own keywords, nu among them."""
    from irspack import IALSRecommender

    made = IALSRecommender(matrix, **values, train_epochs=ITERATIONS, random_seed=1)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model = made.learn()
    return Dots(model.get_user_embedding(), model.get_item_embedding())


def drawn(trial: Any, space: RANGE) -> dict[str, Any]:
    """A point of `space`, each axis on a log scale; the first axis is whole numbers."""
    first, *others = space
    low, high = space[first]
    values = {name: trial.suggest_float(name, *space[name], log=True) for name in others}
    return {first: trial.suggest_int(first, int(low), int(high), log=True), **values}


def arms() -> Iterator[tuple[str, Fit, RANGE, dict[str, float]]]:
    """Name, fit, space and what is fixed, in the order of the rows."""
    yield "implicit, Lethe's space", by_implicit, SPACE, {}
    yield "implicit, a wide space", by_implicit, WIDE, {}
    for nu, reg in POWERS.items():
        space = {"n_components": WIDE["factors"], "alpha0": ALPHA0, "reg": reg}
        yield f"irspack, nu = {nu:g}", by_irspack, space, {"nu": nu}


def rows(name: str, split: Split, given: argparse.Namespace) -> Iterator[str]:
    """The lines of one data set."""
    first = float("nan")
    for who, fit, space, fixed in arms():
        best, tests = [], []
        for seed in given.seeds:

            def value(trial: Any) -> float:
                learned = fit(split.train.csr, drawn(trial, space) | fixed)  # noqa: B023
                return float(split.judged(learned, "validation").means[METRIC])

            sampler = optuna.samplers.TPESampler(seed=seed)
            study = optuna.create_study(direction="maximize", sampler=sampler)
            study.optimize(value, n_trials=given.trials)
            best.append(study.best_value)
            tests.append(split.judged(fit(split.whole.csr, study.best_params | fixed), "test"))
        first = median(best) if first != first else first  # noqa: PLR0124
        cells = (name, who, three(best, ".4f"), f"{median(best) / first:.3f}", tested(tests))
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and write the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    options.add_argument("--trials", type=int, default=60)
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options.add_argument("--sets", nargs="+", choices=SETS, default=SETS[:3])
    given, load = options.parse_args(), os.getloadavg()[0]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable(logging.INFO)
    lines = [HEAD, "|---|---|---:|---:|---:|"]
    for name in at_hand(given.sets, given.data):
        with tempfile.TemporaryDirectory() as folder:
            for line in rows(name, Split(name, given.data, Path(folder)), given):
                print(line, flush=True)
                lines.append(line)
    told = f"{machine(load)} {given.trials} trials a search, {len(given.seeds)} seeds.\n\n"
    put("scaling", told + "\n".join(lines))


if __name__ == "__main__":
    main()
