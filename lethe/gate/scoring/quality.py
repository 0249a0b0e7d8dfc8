"""Is the challenger good enough to replace the champion? Fails closed.

Comparisons are paired: both solutions are scored on the same users of the same window, and only
the difference of each user counts. The interval is a percentile bootstrap over users (Efron and
Tibshirani, 1993). The p-value is Fisher's sign-flip randomisation test of the mean difference,
one-sided for "worse": Wilcoxon's signed ranks would test another centre than the mean that the
rule is about, and per-user nDCG is mostly zeros.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from lethe.errors import BadInput
from lethe.gate.scoring.evaluation import Evaluation
from lethe.gate.scoring.metrics import FloatArray, ndcg_at

CHAMPION: Final = "champion"
_RESAMPLES: Final = 2_000
_FLIPS: Final = 4_999
_CONFIDENCE: Final = 0.95
_BLOCK_CELLS: Final = 1 << 21
_ROUNDING: Final = 1e-12
"""Means closer than this are equal: they differ by the order of a sum."""


@dataclass(frozen=True)
class Comparison:
    """A challenger beside another solution, over the same users.

    `difference` is mean(challenger) - mean(other), `low` and `high` bound it with 95 % confidence.
    `p_worse` is the chance of a difference this low or lower if neither were better: small means
    that the challenger is worse. `informative` counts the users whose two values differ.
    """

    difference: float
    low: float
    high: float
    p_worse: float
    informative: int


def compare(a: FloatArray, b: FloatArray, seed: int = 0) -> Comparison:
    """Compare per-user values `a` (challenger) with `b`, float64 (n_users,), user by user.

    Raises:
        BadInput: no user, lengths differ, or a value is not finite.

    >>> compare(np.array([0.5, 0.5]), np.array([0.5, 0.5])).p_worse
    1.0
    """
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise BadInput(f"a comparison needs the same users twice, got {len(a)} and {len(b)}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise BadInput("a comparison needs finite values")
    differences = np.asarray(a, dtype=np.float64) - b
    random = np.random.default_rng(seed)
    low, high = bootstrap_interval(differences, random)
    informative = differences[differences != 0]
    return Comparison(
        difference=float(differences.mean()),
        low=low,
        high=high,
        p_worse=_p_low(informative, random),
        informative=len(informative),
    )


def bootstrap_interval(values: FloatArray, random: np.random.Generator) -> tuple[float, float]:
    """95 % percentile interval of the mean of `values`, (NaN, NaN) without any."""
    n = len(values)
    if not n:
        return math.nan, math.nan
    step = max(1, _BLOCK_CELLS // n)
    resampled = np.concatenate(
        [
            values[random.integers(0, n, (min(step, _RESAMPLES - start), n))].mean(axis=1)
            for start in range(0, _RESAMPLES, step)
        ]
    )
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return float(low), float(high)


def _p_low(differences: FloatArray, random: np.random.Generator) -> float:
    """P(sum of randomly signed differences <= their sum), never 0, 1 without differences."""
    n = len(differences)
    if not n:
        return 1.0
    observed = float(differences.sum())
    slack = 1e-9 * float(np.abs(differences).sum())  # equal sums may differ in their last bits
    step = max(1, _BLOCK_CELLS // n)
    as_low = 1
    for start in range(0, _FLIPS, step):
        flips = min(step, _FLIPS - start)
        raw = np.frombuffer(random.bytes(flips * ((n + 7) // 8)), dtype=np.uint8)
        positive = np.unpackbits(raw.reshape(flips, -1), axis=1, count=n)
        sums = 2.0 * (positive.astype(np.float64) @ differences) - observed
        as_low += int((sums <= observed + slack).sum())
    return as_low / (_FLIPS + 1)


@dataclass(frozen=True)
class QualityJudgement:
    """What the rule said. Accepted exactly when there is no reason against it.

    `comparisons` has one entry for the champion and each baseline that could be compared.

    Raises:
        BadInput: accepted with reasons, or refused without.
    """

    accepted: bool
    reasons: tuple[str, ...]
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.accepted == bool(self.reasons):
            raise BadInput("a judgement is accepted exactly when it has no reasons")


class QualityRule(BaseModel):
    """Promote a challenger that beats the baselines and is not clearly worse than the champion.

    `tolerance` is the share of the champion's mean that may be lost without asking whether the
    loss is chance; `significance` is the p-value at or below which a larger loss is real.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = Field(default=ndcg_at(10), min_length=1)
    tolerance: float = Field(default=0.05, ge=0.0, le=0.5)
    significance: float = Field(default=0.05, gt=0.0, le=0.5)
    must_beat: tuple[str, ...] = ("popular",)

    @field_validator("must_beat")
    @classmethod
    def _baselines_are_not_the_champion(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if CHAMPION in names:
            raise ValueError(f"{CHAMPION} is judged by tolerance and is no baseline")
        return names

    def judge(
        self,
        challenger: Evaluation,
        champion: Evaluation | None,
        baselines: Mapping[str, Evaluation],
        seed: int = 0,
    ) -> QualityJudgement:
        """Judge evaluations of one window; `champion` is None before the first promotion.

        `seed` drives the resampling. Never raises for a poor evaluation: it is refused, with
        every reason found.
        """
        fault = _fault(challenger, self.metric)
        if fault:
            return QualityJudgement(False, (f"the challenger {fault}",))
        reasons: list[str] = []
        comparisons: dict[str, Comparison] = {}
        others = {name: baselines.get(name) for name in self.must_beat}
        others |= {CHAMPION: champion} if champion is not None else {}
        for name, other in others.items():
            fault = _fault_beside(challenger, other, self.metric)
            if other is None or fault:
                reasons.append(f"{name} {fault}")
                continue
            found = compare(challenger.per_user[self.metric], other.per_user[self.metric], seed)
            comparisons[name] = found
            mean = float(other.per_user[self.metric].mean())
            if name == CHAMPION:
                reasons += self._against_champion(found, mean)
            else:
                reasons += self._against_baseline(found, mean, name)
        return QualityJudgement(not reasons, tuple(reasons), comparisons)

    def _against_baseline(self, found: Comparison, mean: float, name: str) -> tuple[str, ...]:
        if found.difference > _ROUNDING:
            return ()
        reached = f"{self.metric} {mean + found.difference:.4f}"
        return (f"{reached} does not beat the baseline {name} at {mean:.4f}",)

    def _against_champion(self, found: Comparison, mean: float) -> tuple[str, ...]:
        if -found.difference <= self.tolerance * mean + _ROUNDING:
            return ()
        fall = f"{self.metric} fell from {mean:.4f} to {mean + found.difference:.4f}"
        # With n differing users no p-value is below 2**-n. Where even that is not significant,
        # "not significant" would say nothing, and silence is no reason to promote.
        if 2.0**-found.informative > self.significance:
            return (f"{fall}, and {found.informative} differing users cannot show it to be chance",)
        if found.p_worse <= self.significance:
            return (f"{fall}, beyond the tolerance of {self.tolerance:g}; p={found.p_worse:.4f}",)
        return ()


def _fault(evaluation: Evaluation, metric: str) -> str | None:
    values = evaluation.per_user.get(metric)
    if values is None:
        return f"was not measured by {metric}"
    if not values.size:
        return "was scored on no user"
    return None if np.isfinite(values).all() else f"has values of {metric} that are not finite"


def _fault_beside(challenger: Evaluation, other: Evaluation | None, metric: str) -> str | None:
    if other is None:
        return "must be beaten and was not scored"
    if not np.array_equal(challenger.rows, other.rows):
        return "was scored on other users than the challenger"
    return _fault(other, metric)


@dataclass(frozen=True)
class LeaderboardRow:
    """One solution's line: its mean of the ranking metric with a 95 % interval, and all means."""

    place: int
    name: str
    users: int
    mean: float
    low: float
    high: float
    means: Mapping[str, float]


def leaderboard(
    evaluations: Mapping[str, Evaluation], metric: str = ndcg_at(10), seed: int = 0
) -> tuple[LeaderboardRow, ...]:
    """Rows by falling mean of `metric`, then by name; what could not be scored comes last.

    The interval is bootstrapped over users, with the same resampled users for every row.

    Raises:
        BadInput: an evaluation lacks `metric`.
    """
    rows = []
    for name, evaluation in evaluations.items():
        values = evaluation.per_user.get(metric)
        if values is None:
            raise BadInput(f"{name} was not measured by {metric}")
        low, high = bootstrap_interval(values, np.random.default_rng(seed))
        mean = float(values.mean()) if values.size else math.nan
        rows.append((math.isnan(mean), -mean, name, mean, low, high, len(values)))
    return tuple(
        LeaderboardRow(place, name, users, mean, low, high, dict(evaluations[name].means))
        for place, (_, _, name, mean, low, high, users) in enumerate(sorted(rows), start=1)
    )
