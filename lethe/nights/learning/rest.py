"""Whether a fit has come to rest, as the residual test of verification needs it.

The test finds somebody in what an honest fit leaves of the gradient, and a fit that still moves
leaves more of it than one person adds: the more interactions, the sooner. So training goes on until
known people, members pretended erased and people never seen, are told rightly. This decides how
long is trained, and nothing else: verification measures again, on what it reads itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lethe.gate.proof.als import controls
from lethe.gate.proof.als.contribution import People
from lethe.gate.proof.als.faintness import noise
from lethe.gate.proof.als.objective import Objective
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions.learned import Factors
from lethe.solutions.recipes import AtRest

KNOWN = 2_000
"""Known people of either kind, at most."""
LARGEST_OFF = 0.01
"""What 99 of 100 of them may be off by, each weighed as a usual member is; a finding is 0.25.

Weighed so, since a few with short or faded histories are off by much more however long is trained.
"""


def at_rest(matrix: InteractionMatrix, seed: int) -> AtRest:
    """Whether factors of ALS on `matrix` are at rest, given their hyper-parameters and them.

    `seed` draws the known people. Where a usual member shows in no factor, more iterations bring
    nobody to light, and the answer is yes.
    """

    def answer(hyperparameters: Any, factors: Factors) -> bool:
        return off(matrix, hyperparameters, factors, seed) <= LARGEST_OFF

    return answer


def off(matrix: InteractionMatrix, hyperparameters: Any, factors: Factors, seed: int) -> float:
    """What 99 of 100 known people are off by, as strong as a usual member; 0 if that adds nothing.

    The noise of `lethe.gate.proof.als.faintness`, as a share of what a usual member adds.
    """
    objective = Objective.on(matrix.csr, factors, hyperparameters.model_dump())
    confidence, draw = objective.confidence, np.random.default_rng(seed)
    field = objective.minimised().field
    rows = controls.members(confidence, KNOWN, draw)
    lengths = np.diff(confidence.indptr)[rows].astype(np.int64)
    members = People.of(confidence[rows], field)
    unseen = People.of(controls.never_seen(confidence, lengths, draw), field)
    usual = float(np.median(members.size))
    return noise((members, unseen)) / float(np.sqrt(usual)) if usual > 0 else 0.0
