"""Whether a fit has come to rest, as the residual test of verification needs it.

The test finds somebody in what an honest fit leaves of the gradient, and a fit that still moves
leaves more of it than one person adds: the more interactions, the sooner. So training goes on until
known people, members pretended erased and people never seen, are told rightly. This decides how
long is trained, and nothing else: verification measures again, on what it reads itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lethe.gate.proof.algebra import confidences
from lethe.gate.proof.als import controls
from lethe.gate.proof.als.contribution import People
from lethe.gate.proof.als.faintness import LARGEST_ERROR
from lethe.gate.proof.als.objective import Objective
from lethe.gate.proof.als.presence import NEGLIGIBLE
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions.learned import Factors
from lethe.solutions.recipes import AtRest

KNOWN = 2_000
"""Known people of either kind, at most."""
FEW = 0.002
"""The share of them who may be off by more than `LARGEST_ERROR`, half of a finding."""


def at_rest(matrix: InteractionMatrix, seed: int) -> AtRest:
    """Whether factors of ALS on `matrix` are at rest, given their hyper-parameters and them.

    `seed` draws the known people. Where nobody would show in any factor, more iterations bring
    nobody to light, and the answer is yes.
    """

    def answer(hyperparameters: Any, factors: Factors) -> bool:
        objective = Objective(
            confidences(matrix.csr, hyperparameters.alpha),
            factors.user_factors,
            factors.item_factors.astype(np.float64),
            hyperparameters.alpha,
            hyperparameters.regularization,
        )
        return _share_off(objective, seed) <= FEW

    return answer


def _share_off(objective: Objective, seed: int) -> float:
    """The share of known people whose a is off by more than `LARGEST_ERROR`, of those who show."""
    confidence, draw = objective.confidence, np.random.default_rng(seed)
    field = objective.minimised().field
    rows = controls.members(confidence, KNOWN, draw)
    lengths = np.diff(confidence.indptr)[rows].astype(np.int64)
    members = People.of(confidence[rows], field)
    unseen = People.of(controls.never_seen(confidence, lengths, draw), field)
    shows = float(np.median(members.size)) * NEGLIGIBLE
    off = np.concatenate(
        [np.abs(people.alone()[people.size > shows]) for people in (members, unseen)]
    )
    return float(np.mean(off > LARGEST_ERROR)) if len(off) else 0.0
