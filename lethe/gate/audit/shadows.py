"""Shadow models: the same recipe on random halves of the people, and what they show."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lethe.gate.audit.curves import Doubles
from lethe.gate.audit.statistics import STATISTICS, Asked, Equations, measured
from lethe.gate.proof.algebra import confidences
from lethe.gate.proof.als.contribution import People
from lethe.gate.proof.als.objective import Objective
from lethe.interactions.training.matrix import Features, InteractionMatrix
from lethe.solutions.learned import Factors

Fit = Callable[[InteractionMatrix], Factors]
Hear = Callable[[int, float], None]


@dataclass(frozen=True, eq=False, repr=False)
class Shadows:
    """What K models show of everybody who is asked about.

    `values` maps a statistic to float64 (K, people); `shares` are the score test's, float64
    (K, people), None for a recipe without equations. `without` is bool (K, people): models fitted
    without the person. For somebody who is in no model at all it is drawn like the others', so
    that everybody is judged by as many models.
    """

    values: dict[str, Doubles]
    shares: Doubles | None
    without: Any


def drawn(models: int, people: int, draw: np.random.Generator) -> Any:
    """Who is in which model: bool (models, people), each a fair coin of its own.

    Coins, and not exactly half the models for each person: given the coins of the others, a model's
    own says nothing, so an attack on a statistic that carries nothing has an AUC of 0.5.
    """
    return draw.random((models, people)) < 0.5  # noqa: PLR2004


def only(matrix: InteractionMatrix, rows: Any) -> InteractionMatrix:
    """The matrix of these users; every item keeps its column."""
    rows = np.flatnonzero(rows)
    features = matrix.user_features
    return InteractionMatrix(
        users=tuple(matrix.users[row] for row in rows),
        items=matrix.items,
        csr=matrix.csr[rows],
        item_features=matrix.item_features,
        user_features=None if features is None else Features(features.names, features.csr[rows]),
    )


def fitted(  # noqa: PLR0913 - these are all that a design has
    matrix: InteractionMatrix,
    inside: Any,
    members: Any,
    asked: Asked,
    fit: Fit,
    equations: Equations | None,
    draw: np.random.Generator,
    hear: Hear,
) -> Shadows:
    """Fit one model for each row of `inside`, bool (models, users), and ask each about everybody.

    `members` are the rows of `matrix` that the first people of `asked` are; the rest are in none.
    `hear` is told each model's number and seconds.
    """
    models, people = len(inside), asked.histories.shape[0]
    without = drawn(models, people, draw)
    without[:, : len(members)] = ~inside[:, members]
    values = {name: np.empty((models, people)) for name in STATISTICS}
    shares = None if equations is None else np.empty((models, people))
    for model, rows in enumerate(inside):
        started = time.monotonic()
        half = only(matrix, rows)
        factors = fit(half)
        for name, found in measured(
            asked, factors.item_factors, factors.item_biases, equations
        ).items():
            values[name][model] = found
        if equations is not None and shares is not None:
            shares[model] = score_test(half, factors, asked.histories, equations)
            shares[model, : len(members)] += rows[members]
        hear(model + 1, time.monotonic() - started)
    return Shadows(values, shares, without)


def score_test(
    matrix: InteractionMatrix, factors: Factors, histories: Any, equations: Equations
) -> Doubles:
    """a of each person beside everybody in `matrix`: float64 (people,).

    About 0 for somebody who is not in the factors, and for somebody in the matrix too: pretending
    that they are missing adds exactly 1 (`lethe.gate.proof.als.contribution`).
    """
    objective = Objective.on(matrix.csr, factors, asdict(equations))
    field = objective.minimised().field
    return People.of(confidences(histories, objective.alpha), field).alone()
