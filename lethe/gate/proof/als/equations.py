"""Layer 4: do the stored item factors solve the last half-step on the retained alone?"""

from __future__ import annotations

import numpy as np

from lethe.gate.proof.als.objective import Objective
from lethe.gate.proof.layers import findings_of
from lethe.gate.proof.report import LARGEST_DETAILS, LayerResult

# Measured: at most 6e-7 for an honest sealed fit, at least 1.9e-4 with one hidden user.
LARGEST_RESIDUAL = 1e-5


def normal_equations(objective: Objective) -> LayerResult:
    """Layer 4: the relative residual of every item's normal equations, in float64.

    A user who took part in the last half-step and is not among the retained leaves a term of
    rank one in the residual. Contamination that is older than the last half-step is not seen
    here. Needs no history of anybody erased.
    """
    residuals = objective.sides().relative()
    wrong = int(np.count_nonzero(~(residuals <= LARGEST_RESIDUAL)))
    largest = float(np.max(residuals, initial=0.0))
    worst = np.argsort(-residuals, kind="stable")[: min(wrong, LARGEST_DETAILS)]
    return LayerResult(
        layer="normal_equations",
        question="Do the item factors follow from the retained users alone?",
        threshold=f"residual at most {LARGEST_RESIDUAL:.0e} for every item",
        value=f"largest {largest:.1e}, {wrong} of {len(residuals)} items above",
        findings=findings_of(
            "normal_equations",
            {"an item's factors do not solve its equations on the retained users": wrong},
        ),
        statistic="largest relative residual of an item's normal equations",
        details=tuple({"item": int(k), "residual": float(residuals[k])} for k in worst),
        measured=largest,
        limit=LARGEST_RESIDUAL,
    )
