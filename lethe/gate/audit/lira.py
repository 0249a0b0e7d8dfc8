"""The likelihood-ratio attack (LiRA; Carlini et al. 2022) with Gaussians of one pooled variance.

A statistic s of a person is known from K shadow models, of which about half were trained on the
person. What it is with and without them is taken for two Gaussians of one variance; the attack's
score of another model is the logarithm of their ratio at the s found there:

    (s - m_out)^2 / 2v - (s - m_in)^2 / 2v
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lethe.gate.audit.curves import Doubles

# A variance below this part of the mean square is rounding: it must neither divide nor decide.
_ROUNDING = 1e-26


def leave_one_out(values: Doubles, inside: Any) -> Doubles:
    """The score of each person in each model, from the other models.

    `values` are float64 (models, people), `inside` is bool of the same shape. Float64 of the same
    shape; NaN where the others lack a model with or one without the person, or have fewer than
    three between them.
    """
    centred = values - values.mean(axis=0)
    n_in, mean_in, square_in = _others(centred, inside, inside)
    n_out, mean_out, square_out = _others(centred, ~inside, ~inside)
    freedom = n_in + n_out - 2
    usable = (n_in > 0) & (n_out > 0) & (freedom > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.maximum(square_in + square_out, 0.0) / freedom + _floor(values)
        apart = ((centred - mean_out) ** 2 - (centred - mean_in) ** 2) / (2 * variance)
    scores: Doubles = np.where(usable, apart, np.nan)
    return scores


def against_outside(seen: Doubles, values: Doubles, outside: Any) -> Doubles:
    """How many standard deviations `seen` lies above what models without the person show.

    The attack where nobody may be trained on a person to learn the other side. `seen` is float64
    (people,), `outside` says which models were fitted without each, bool (models, people). NaN
    for somebody with fewer than two of those.
    """
    count = outside.sum(axis=0).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(outside, values, 0.0).sum(axis=0) / count
        square = np.where(outside, (values - mean) ** 2, 0.0).sum(axis=0)
        apart = (seen - mean) / np.sqrt(square / (count - 1) + _floor(values))
    scores: Doubles = np.where(count > 1, apart, np.nan)
    return scores


def _others(values: Doubles, side: Any, own: Any) -> tuple[Doubles, Doubles, Doubles]:
    """Count, mean and squared deviations of one side, without the model itself."""
    held = np.where(side, values, 0.0)
    count = side.sum(axis=0) - own.astype(np.float64)
    total = held.sum(axis=0) - np.where(own, values, 0.0)
    squares = (held**2).sum(axis=0) - np.where(own, values**2, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / count
        around = squares - total * mean
    return count, mean, around


def _floor(values: Doubles) -> float:
    return _ROUNDING * float(np.mean(values**2)) + float(np.finfo(np.float64).tiny)
