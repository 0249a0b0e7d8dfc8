"""The stored artifact and the retained matrix, lined up for the equations of ALS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lethe.errors import ArtifactCorrupt
from lethe.gate.proof.algebra import (
    Doubles,
    FoldIn,
    ItemEquations,
    ItemSides,
    alphas,
    blocks,
    confidences,
    item_sides,
    users_by_item,
)
from lethe.gate.proof.als.contribution import Field
from lethe.gate.proof.case import Case
from lethe.solutions.learned import Factors


@dataclass(frozen=True, eq=False, repr=False)
class Objective:
    """Stored factors in the order of the retained matrix.

    `confidence` is c of the retained, float64 CSR (n_users, n_items). `users` is float32
    (n_users, f), `items` float64 (n_items, f). A retained user or item that the artifact lacks has
    a row of zeros, one that it has too many is left out; layer 1 counts them. `alpha` is that of
    each item, float32 (n_items,).
    """

    confidence: Any
    users: npt.NDArray[np.float32]
    items: Doubles
    alpha: npt.NDArray[np.float32]
    regularization: float

    @classmethod
    def of(cls, case: Case) -> Objective:
        """Line up the case's artifact.

        Raises:
            ArtifactCorrupt: the manifest states no usable alpha, regularization or discount.
        """
        stored, retained = case.stored, case.retained
        lined = Factors(
            _lined_up(stored.factors.user_factors, stored.users, retained.users),
            _lined_up(stored.factors.item_factors, stored.items, retained.items),
        )
        return cls.on(retained.csr, lined, stored.manifest.hyperparameters)

    @classmethod
    def on(cls, weights: Any, factors: Factors, stated: Mapping[str, Any]) -> Objective:
        """Factors at hand, in the order of `weights`, which are float32 CSR (n_users, n_items).

        `stated` are hyper-parameters as a manifest has them.

        Raises:
            ArtifactCorrupt: as `of`.
        """
        alpha = alphas(
            users_by_item(weights), _positive(stated.get("alpha"), "alpha"), discount(stated)
        )
        return cls(
            confidences(weights, alpha),
            factors.user_factors,
            factors.item_factors.astype(np.float64),
            alpha,
            _positive(stated.get("regularization"), "regularization"),
        )

    def sides(self) -> ItemSides:
        """The items' normal equations at the stored factors."""
        return item_sides(self.confidence, self.users, self.items, self.regularization)

    def minimised(self) -> Minimised:
        """Replace every user's factors by the exact fold-in, block by block."""
        fold_in = FoldIn(self.items, self.regularization)
        equations = ItemEquations(self.items, self.regularization)
        distance = np.zeros(len(self.users))
        exact, found = np.zeros(len(self.users)), np.zeros(len(self.users))
        for rows in blocks(self.confidence):
            stored = self.users[rows].astype(np.float64)
            X = fold_in(self.confidence[rows])
            equations.add(self.confidence[rows], X)
            distance[rows] = np.linalg.norm(stored - X, axis=1)
            exact[rows], found[rows] = np.linalg.norm(X, axis=1), np.linalg.norm(stored, axis=1)
        sides = equations.sides()
        field = Field(sides.difference, self.items, 1.0 / sides.trace, fold_in)
        return Minimised(sides, field, distance, exact, found)


@dataclass(frozen=True, eq=False, repr=False)
class Minimised:
    """The objective at (X*, Y).

    `distance` is |x_u - x*_u|, `exact` |x*_u| and `found` |x_u|, each float64 (n_users,).
    """

    sides: ItemSides
    field: Field
    distance: Doubles
    exact: Doubles
    found: Doubles


def discount(stated: Mapping[str, Any]) -> float:
    """The popularity discount that a manifest's hyper-parameters state; 0 where there is none.

    Raises:
        ArtifactCorrupt: it is no number from 0 to 1.
    """
    value = stated.get("popularity_discount", 0.0)
    number = float(value) if isinstance(value, int | float) else float("nan")
    if not 0 <= number <= 1:
        raise ArtifactCorrupt("the manifest states no popularity_discount that could be used")
    return number


def _positive(value: object, name: str) -> float:
    number = float(value) if isinstance(value, int | float) else float("nan")
    if not (np.isfinite(number) and number > 0):
        raise ArtifactCorrupt(f"the manifest states no {name} that the equations could use")
    return number


def _lined_up(
    rows: npt.NDArray[np.float32], names: Sequence[str], wanted: Sequence[str]
) -> npt.NDArray[np.float32]:
    if tuple(names) == tuple(wanted):
        return rows
    place = {name: row for row, name in enumerate(names)}
    lined = np.zeros((len(wanted), rows.shape[1]), dtype=np.float32)
    for row, name in enumerate(wanted):
        if name in place:
            lined[row] = rows[place[name]]
    return lined
