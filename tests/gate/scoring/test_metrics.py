"""Metrics against pure-Python oracles; ranked lists against a full sort."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import BadInput, RecipeFailed
from lethe.gate.scoring.metrics import (
    CUTOFFS,
    coverage,
    means,
    metric_names,
    per_user_metrics,
    ranking_depth,
    top_items,
)

laws = settings(max_examples=60, deadline=None)


def slow_metrics(hits: list[bool], relevant: int, ks: tuple[int, ...]) -> dict[str, float]:
    """The formulas as written in the module, rank by rank."""
    out: dict[str, float] = {}
    for k in ks:
        top = hits[:k]
        dcg = sum(1 / math.log2(1 + rank) for rank, hit in enumerate(top, 1) if hit)
        ideal = sum(1 / math.log2(1 + rank) for rank in range(1, min(k, relevant) + 1))
        precise = [sum(top[:rank]) / rank for rank, hit in enumerate(top, 1) if hit]
        out[f"normalized_discounted_cumulative_gain_at_{k}"] = dcg / ideal
        out[f"precision_at_{k}"] = sum(top) / k
        out[f"recall_at_{k}"] = sum(top) / relevant
        out[f"map_at_{k}"] = sum(precise) / min(k, relevant)
    ranks = [rank for rank, hit in enumerate(hits[:25], 1) if hit]
    out["mean_reciprocal_rank_at_25"] = 1 / ranks[0] if ranks else 0.0
    return out


def slow_top(scores: list[float], depth: int) -> list[int]:
    chosen = [column for column, score in enumerate(scores) if score != -math.inf]
    chosen.sort(key=lambda column: (-scores[column], column))
    return (chosen + [-1] * depth)[:depth]


@st.composite
def users(draw: st.DrawFn) -> tuple[list[list[bool]], list[int]]:
    depth = draw(st.integers(60, 70))
    hits = draw(st.lists(st.lists(st.booleans(), min_size=depth, max_size=depth), max_size=5))
    relevant = [max(1, sum(row)) + draw(st.integers(0, 40)) for row in hits]
    return hits, relevant


@laws
@given(users(), st.sampled_from([CUTOFFS, (1,), (3, 60), (10, 5)]))
def test_every_metric_equals_its_formula(
    case: tuple[list[list[bool]], list[int]], ks: tuple[int, ...]
) -> None:
    hits, relevant = case
    array = np.array(hits, dtype=bool).reshape(len(hits), -1) if hits else np.zeros((0, 60), bool)
    found = per_user_metrics(array, np.array(relevant, dtype=np.int64), ks)
    assert tuple(found) == metric_names(ks)
    for name, values in found.items():
        assert values.dtype == np.float64
        expected = [slow_metrics(h, r, ks)[name] for h, r in zip(hits, relevant, strict=True)]
        assert values == pytest.approx(expected, abs=1e-9)
        assert all(0 <= value <= 1 + 1e-12 for value in values)


@pytest.mark.parametrize("relevant", [1, 4, 10, 30])
def test_a_perfect_list_scores_one_wherever_one_can_be_reached(relevant: int) -> None:
    hits = np.arange(30)[None, :] < relevant
    found = per_user_metrics(hits, np.array([relevant]))
    for k in CUTOFFS:
        assert found[f"normalized_discounted_cumulative_gain_at_{k}"][0] == pytest.approx(1)
        assert found[f"map_at_{k}"][0] == pytest.approx(1)
        assert found[f"precision_at_{k}"][0] == min(k, relevant) / k
    assert found["mean_reciprocal_rank_at_25"][0] == 1


def test_a_hit_moved_up_never_lowers_a_metric() -> None:
    for rank in range(1, 25):
        lower, higher = np.zeros((1, 25), bool), np.zeros((1, 25), bool)
        lower[0, rank] = higher[0, rank - 1] = True
        before = per_user_metrics(lower, np.array([3]))
        after = per_user_metrics(higher, np.array([3]))
        assert all(after[name][0] >= before[name][0] for name in before)


def test_a_hit_below_rank_25_has_no_reciprocal_rank() -> None:
    hits = np.zeros((1, 50), bool)
    hits[0, 25] = True
    assert per_user_metrics(hits, np.array([1]), (50,))["mean_reciprocal_rank_at_25"][0] == 0


@pytest.mark.parametrize(
    ("hits", "relevant", "ks"),
    [
        (np.zeros((1, 24), bool), [1], (5,)),
        (np.zeros((1, 25)), [1], (5,)),
        (np.zeros((1, 25), bool), [0], (5,)),
        (np.zeros((2, 25), bool), [1], (5,)),
        (np.ones((1, 25), bool), [24], (5,)),
        (np.zeros((1, 25), bool), [1], (0, 5)),
        (np.zeros((1, 25), bool), [1], ()),
        (np.zeros((1, 25), bool), [1], (26,)),
    ],
    ids=["short", "float", "no relevant", "lengths", "many hits", "k 0", "no k", "k beyond"],
)
def test_what_cannot_be_measured_is_refused(
    hits: np.ndarray, relevant: list[int], ks: tuple[int, ...]
) -> None:
    with pytest.raises(BadInput):
        per_user_metrics(hits, np.array(relevant), ks)


def test_the_mean_over_nobody_is_not_a_number_rather_than_zero() -> None:
    assert math.isnan(means({"precision_at_5": np.empty(0)})["precision_at_5"])
    assert coverage(np.zeros(0, bool)) == 0.0
    assert ranking_depth((5, 10)) == 25


# Few distinct values make ties the rule; -inf stands for masked items.
tied = st.sampled_from([-math.inf, -1.0, 0.0, -0.0, 0.5, 2.0])
loose = st.one_of(tied, st.floats(-1e3, 1e3, width=32))


@laws
@given(st.data(), st.integers(1, 120), st.integers(1, 30), st.sampled_from([tied, loose]))
def test_a_ranked_list_equals_the_full_sort_with_ties_by_lower_item(
    data: st.DataObject, columns: int, depth: int, values: st.SearchStrategy[float]
) -> None:
    rows = data.draw(st.lists(st.lists(values, min_size=columns, max_size=columns), max_size=4))
    scores = np.array(rows, dtype=np.float32).reshape(-1, columns)
    assert top_items(scores, depth).tolist() == [slow_top(list(r), depth) for r in scores.tolist()]


@pytest.mark.parametrize("depth", [1, 5, 25])
@pytest.mark.parametrize("levels", [1, 2, 40, 10**9])
def test_a_large_catalogue_full_of_ties_is_ranked_exactly(depth: int, levels: int) -> None:
    random = np.random.default_rng(depth)
    scores = random.integers(0, levels, (7, 3001)).astype(np.float32)
    scores[random.random(scores.shape) < 0.3] = -np.inf
    scores[3] = -np.inf
    scores[4, 2:] = -np.inf
    scores[5] = np.sort(scores[5])
    scores[6] = np.where(np.arange(3001) % (16 * depth) == 0, 9.0, 0.0)  # all in one lane
    expected = [slow_top(row, depth) for row in scores.tolist()]
    assert top_items(scores, depth).tolist() == expected


def test_the_tie_oracle_catches_a_bare_argpartition() -> None:
    scores = np.random.default_rng(0).integers(0, 3, (20, 500)).astype(np.float32)
    mutant = np.sort(np.argpartition(-scores, 9, axis=1)[:, :10], axis=1)
    exact = np.sort(top_items(scores, 10), axis=1)
    assert (mutant != exact).any()


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("column", [0, 57, 999])
def test_scores_that_are_not_numbers_are_a_failed_recipe(wrong: float, column: int) -> None:
    scores = np.zeros((2, 1000), dtype=np.float32)
    scores[1, column] = wrong
    with pytest.raises(RecipeFailed, match="NaN or infinite"):
        top_items(scores, 2)
