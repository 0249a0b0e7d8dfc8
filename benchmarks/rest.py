"""Why ALS runs as many iterations as it does (decision 17).

    python benchmarks/rest.py [--data ../shared/data]

For online-retail, one erased group whose honest fit the cohort test refused at 50 iterations: its p
after more of them, against people never seen and against the retained. For each data set and the
corners of the default space: the shift of the users of an honest fit, and that of a warm start that
is only sealed. Prints the two tables of the decision.
"""

from __future__ import annotations

import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}  # before numpy

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.datasets import read  # noqa: E402
from benchmarks.mutants import MUTANTS  # noqa: E402
from benchmarks.verification import RULE, world  # noqa: E402
from lethe.gate.proof.algebra import confidences  # noqa: E402
from lethe.gate.proof.als import controls  # noqa: E402
from lethe.gate.proof.als.contribution import People  # noqa: E402
from lethe.gate.proof.als.objective import Objective  # noqa: E402
from lethe.gate.proof.als.stationarity import stationarity  # noqa: E402
from lethe.gate.proof.case import Case  # noqa: E402
from lethe.interactions.training.matrix import InteractionMatrix  # noqa: E402

CORNERS = ((16, 10, 10), (128, 10, 10), (128, 10, 1), (64, 30, 5), (128, 200, 10), (16, 200, 1))


def chances(case: Case, seed: int) -> tuple[float, float]:
    """One-sided Mann-Whitney p of the erased: against people never seen, against the retained."""
    from scipy.stats import mannwhitneyu

    objective = Objective.of(case)
    field = objective.minimised().field
    (rows,) = case.suspects.values()
    histories = confidences(rows, objective.alpha)
    lengths = np.diff(histories.indptr).astype(np.int64)
    draw = np.random.default_rng(seed)
    everybody = controls.members(objective.confidence, len(case.stored.users), draw)
    unseen = controls.never_seen(objective.confidence, draw.choice(lengths, 400), draw)
    found, members, strangers = (
        shares[np.isfinite(shares)]
        for shares in (
            People.of(part, field).alone()
            for part in (histories, objective.confidence[everybody], unseen)
        )
    )
    first, second = (
        float(mannwhitneyu(found, null, alternative="greater").pvalue)
        for null in (strangers, members)
    )
    return first, second


def shift(case: Case) -> str:
    """The shift of all users, as the layer says it."""
    value = stationarity(Objective.of(case).minimised()).value
    return value.split("shift ")[1].split(",")[0]


def print_shifts(name: str, matrix: InteractionMatrix) -> None:
    one = world(matrix, 20, 5)
    for factors, regularization, alpha in CORNERS:
        found = []
        for iterations in (50, 80):
            rule = RULE.model_copy(
                update={"factors": factors, "regularization": float(regularization),
                        "alpha": float(alpha), "iterations": iterations}
            )  # fmt: skip
            fitted = replace(one, rule=rule)
            found.append(shift(fitted.case(fitted.honest)))
        corner = f"{factors}, {regularization}, {alpha}"
        print(f"| {name} | {corner} | {found[0]} | {found[1]} |", flush=True)
    sealed = shift(MUTANTS["warm start, sealed only"](world(matrix, 20, 1)))
    print(f"| {name} | warm start, sealed only | - | {sealed} |", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    given = options.parse_args()
    names = [n for n in ("shop", "ml-100k", "online-retail")
             if n == "shop" or (given.data / n).is_dir()]  # fmt: skip
    matrices = {name: read(name, given.data) for name in names}
    if "online-retail" in matrices:
        print("| Iterations | p, against people never seen | p, against the retained |")
        print("|---:|---:|---:|")
        refused = world(matrices["online-retail"], 20, 1_002)
        for iterations in (50, 80, 120):
            rule = RULE.model_copy(update={"iterations": iterations})
            fitted = replace(refused, rule=rule)
            first, second = chances(fitted.case(fitted.honest), 2)
            print(f"| {iterations} | {first:.2g} | {second:.2g} |", flush=True)
        print()
    print("| Data | Setting | 50 iterations | 80 iterations |\n|---|---|---:|---:|")
    for name, matrix in matrices.items():
        print_shifts(name, matrix)


if __name__ == "__main__":
    main()
