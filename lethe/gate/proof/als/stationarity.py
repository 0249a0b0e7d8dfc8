"""Layer 5: has the fit come to rest, and has every retained user the factors they earn?"""

from __future__ import annotations

import numpy as np

from lethe.gate.proof.als.objective import Minimised
from lethe.gate.proof.layers import findings_of
from lethe.gate.proof.report import Control, LayerResult

LARGEST_GRADIENT = 0.03
# Honest fits of the default space reach 0.0065 with 80 iterations, a warm start that is only sealed
# 0.020 (docs/decisions/0017-eighty-iterations.md).
LARGEST_SHIFT = 0.01
LARGEST_USER_SHIFT = 0.25
USUAL_USER_SHIFT = 0.1
ADVICE = "more iterations, or a higher regularization"


def stationarity(at: Minimised) -> LayerResult:
    """Layer 5: the gradient that is left, and how far each user is from the exact fold-in.

    A fit that has not come to rest answers nothing: its users lag behind its items by more than a
    missing or swapped user would. Once it has, a single user who lags shows.
    """
    sides = at.sides
    scale = float(np.linalg.norm(sides.left) + np.linalg.norm(sides.right))
    gradient = _ratio(float(np.linalg.norm(sides.difference)), scale)
    shift = _ratio(float(np.linalg.norm(at.distance)), float(np.linalg.norm(at.exact)))
    sizes = at.exact + at.found
    shifts = np.divide(at.distance, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    usual = float(np.quantile(shifts, 0.99)) if len(shifts) else float("inf")
    controls = (
        _at_most("the gradient that is left", gradient, LARGEST_GRADIENT),
        _at_most("99 % of users' own shifts", usual, USUAL_USER_SHIFT),
    )
    at_rest = all(control.passed for control in controls)
    lagging = int(np.count_nonzero(~(shifts <= LARGEST_USER_SHIFT))) if at_rest else 0
    # One user who is off moves the norm over all too; then the finding says it, not the norm.
    settled = shift <= LARGEST_SHIFT or lagging > 0
    return LayerResult(
        layer="stationarity",
        question="Has the fit come to rest, with factors for every retained user?",
        threshold=f"gradient at most {LARGEST_GRADIENT}, shift of the users at most "
        f"{LARGEST_SHIFT}, of one user {LARGEST_USER_SHIFT}",
        value=f"gradient {gradient:.1e}, shift {shift:.1e}, "
        f"largest of one user {float(np.max(shifts, initial=0.0)):.1e}",
        findings=findings_of(
            "stationarity",
            {"a retained user's factors are not those that the history gives": lagging},
        ),
        conclusive=at_rest and settled,
        statistic="|gradient| / (|left| + |right|), |X - X*| / |X*|, "
        "|x - x*| / (|x| + |x*|) of a user",
        controls=controls,
        advice="" if at_rest and settled else ADVICE,
        measured=gradient,
        limit=LARGEST_GRADIENT,
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("inf")


def _at_most(name: str, found: float, limit: float) -> Control:
    return Control(name, f"at most {limit}", f"{found:.1e}", found <= limit)
