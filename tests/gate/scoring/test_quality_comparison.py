"""Paired comparisons against the whole randomisation distribution, and the leaderboard."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import BadInput
from lethe.gate.scoring import quality
from lethe.gate.scoring.evaluation import Evaluation, EvaluationCounts
from lethe.gate.scoring.metrics import FloatArray, means, ndcg_at


def scored(values: object) -> Evaluation:
    per_user = {ndcg_at(10): np.asarray(values, dtype=np.float64)}
    rows = np.arange(len(per_user[ndcg_at(10)]))
    counts = EvaluationCounts(len(rows), len(rows), 0, 0, 0, 0)
    return Evaluation(means(per_user) | {"coverage": 0.5}, per_user, rows, counts)


def level(mean: float) -> Evaluation:
    return scored(mean + np.linspace(-0.05, 0.05, 200))


def slow_p(differences: list[float]) -> float:
    """The whole randomisation distribution: every assignment of signs."""
    flips = list(product((-1, 1), repeat=len(differences)))
    sums = [sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in flips]
    return sum(total <= sum(differences) + 1e-9 for total in sums) / len(flips)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([-0.7, -0.3, -0.1, 0.0, 0.1, 0.2, 0.5]), min_size=1, max_size=9))
def test_the_p_value_is_the_exact_randomisation_test_up_to_resampling(
    differences: list[float],
) -> None:
    found = quality.compare(np.array(differences), np.zeros(len(differences)))
    # 4,999 flips: a standard error of at most 0.0071, four of them allowed
    assert found.p_worse == pytest.approx(slow_p(differences), abs=0.03)
    assert found.low <= found.difference + 1e-12
    assert found.difference <= found.high + 1e-12
    assert found.informative == sum(d != 0 for d in differences)


def test_equal_solutions_differ_by_nothing_and_the_champion_stays_unharmed() -> None:
    same = np.linspace(0, 1, 50)
    assert quality.compare(same, same.copy()) == quality.Comparison(0.0, 0.0, 0.0, 1.0, 0)


def test_a_comparison_is_the_same_for_the_same_seed_only() -> None:
    random = np.random.default_rng(1)
    a, b = random.random(80), random.random(80)
    assert quality.compare(a, b, seed=3) == quality.compare(a, b, seed=3)
    assert quality.compare(a, b, seed=3) != quality.compare(a, b, seed=4)


def test_the_interval_and_the_p_value_keep_their_promise_on_sparse_scores() -> None:
    """200 windows of 60 users with mostly zero scores and no true difference."""
    random = np.random.default_rng(11)

    def window() -> FloatArray:
        return random.random(60) * (random.random(60) < 0.4)

    found = [quality.compare(window(), window(), seed=run) for run in range(200)]
    missed = sum(not one.low <= 0 <= one.high for one in found)
    alarms = sum(one.p_worse <= 0.05 for one in found)
    assert missed <= 22  # 5 % promised; 10 expected, four standard errors are 12
    assert alarms <= 22


@pytest.mark.parametrize(
    ("a", "b"),
    [([], []), ([1.0], [1.0, 2.0]), ([math.nan], [0.0]), ([math.inf], [math.inf])],
    ids=["empty", "lengths", "nan", "infinite"],
)
def test_what_cannot_be_compared_is_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(BadInput):
        quality.compare(np.array(a), np.array(b))


def test_the_leaderboard_falls_by_the_metric_and_ends_with_what_was_not_scored() -> None:
    board = quality.leaderboard(
        {"als": level(0.4), "empty": scored([]), "popular": level(0.1), "also_als": level(0.4)}
    )
    assert [(row.place, row.name, row.users) for row in board] == [
        (1, "als", 200),
        (2, "also_als", 200),
        (3, "popular", 200),
        (4, "empty", 0),
    ]
    assert board[0].low < board[0].mean < board[0].high
    assert board[0].high - board[0].low < 0.02
    assert math.isnan(board[3].mean)
    assert board[0].means["coverage"] == 0.5
    with pytest.raises(BadInput):
        quality.leaderboard({"als": level(0.4)}, metric="coverage")
