"""The evaluation against a slow one that sorts every catalogue in pure Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from lethe.errors import BadInput, RecipeFailed
from lethe.gate.scoring.evaluation import Evaluation, EvaluationCounts, evaluate

NDCG_5 = "normalized_discounted_cumulative_gain_at_5"
laws = settings(max_examples=60, deadline=None)


@dataclass
class Table:
    """Scores looked up in a table; hands out the table itself when every row is asked for."""

    table: np.ndarray

    def scores(self, rows: np.ndarray) -> np.ndarray:
        whole = len(rows) == len(self.table)
        return self.table if whole else self.table[rows]


def slow_evaluation(
    table: np.ndarray, train: np.ndarray, held: np.ndarray, k: int
) -> dict[int, tuple[float, float, float]]:
    """Row -> (nDCG, recall, reciprocal rank at 25) at k of every user that can be scored."""
    out = {}
    for row in range(len(table)):
        unseen = [i for i in range(table.shape[1]) if train[row, i] <= 0]
        wanted = {i for i in unseen if held[row, i] > 0}
        if not wanted:
            continue
        ranked = sorted(unseen, key=lambda i: (-table[row, i], i))
        gains = [1 / math.log2(r + 2) for r, item in enumerate(ranked[:k]) if item in wanted]
        ideal = [1 / math.log2(r + 2) for r in range(min(k, len(wanted)))]
        firsts = [1 / (r + 1) for r, item in enumerate(ranked[:25]) if item in wanted]
        out[row] = (sum(gains) / sum(ideal), len(gains) / len(wanted), max(firsts, default=0.0))
    return out


@st.composite
def worlds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    users, items = draw(st.integers(1, 6)), draw(st.integers(1, 45))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([1, 3, 1000]))
    table = random.integers(0, levels, (users, items)).astype(np.float32)
    dense = draw(st.sampled_from([0.05, 0.5, 0.95]))
    train = (random.random((users, items)) < dense) * random.random((users, items))
    held = (random.random((users, items)) < 0.3) * 1.0
    return table, train.astype(np.float32), held.astype(np.float32)


@laws
@given(worlds(), st.integers(1, 30), st.integers(1, 7))
def test_an_evaluation_equals_the_slow_one(
    world: tuple[np.ndarray, np.ndarray, np.ndarray], k: int, block: int
) -> None:
    table, train, held = world
    found = evaluate(Table(table), csr_matrix(train), csr_matrix(held), (k,), block=block)
    slow = slow_evaluation(table, train, held, k)
    assert found.rows.tolist() == sorted(slow)
    columns = np.array([slow[row] for row in sorted(slow)]).reshape(-1, 3)
    names = (f"normalized_discounted_cumulative_gain_at_{k}", f"recall_at_{k}")
    for name, column in zip((*names, "mean_reciprocal_rank_at_25"), columns.T, strict=True):
        assert found.per_user[name] == pytest.approx(column, abs=1e-9)
        assert math.isnan(found.means[name]) if not slow else True
    assert found.counts.users == len(slow)
    assert found.counts.pairs + found.counts.seen_pairs == int((held > 0).sum())


@laws
@given(worlds())
def test_a_subset_of_users_gives_the_same_values_as_the_whole(
    world: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    table, train, held = world
    matrices = csr_matrix(train), csr_matrix(held)
    whole = evaluate(Table(table), *matrices)
    part = evaluate(Table(table), *matrices, users=np.arange(0, len(table), 2)[::-1])
    chosen = np.isin(whole.rows, part.rows)
    assert part.rows.tolist() == [row for row in whole.rows.tolist() if row % 2 == 0]
    for name, values in part.per_user.items():
        assert np.array_equal(values, whole.per_user[name][chosen])


def small(
    held: Sequence[Sequence[float]], train: Sequence[Sequence[float]], table: Sequence[object]
) -> Evaluation:
    learned = Table(np.array(table, dtype=np.float32))
    return evaluate(learned, csr_matrix(np.array(train)), csr_matrix(np.array(held)), (5,))


def test_an_item_seen_in_train_is_neither_recommended_nor_asked_for() -> None:
    found = small(held=[[1, 1, 0]], train=[[1, 0, 0]], table=[[9, 5, 1]])
    assert found.means[NDCG_5] == 1.0
    assert found.counts.seen_pairs == 1
    assert found.means["coverage"] == pytest.approx(2 / 3)


def test_cold_users_are_scored_and_told_and_cold_items_count_as_misses() -> None:
    found = small(
        held=[[0, 1, 0], [0, 0, 1], [1, 0, 0]],
        train=[[0, 0, 0], [1, 1, 0], [1, 0, 0]],
        table=[[1, 9, 0], [0, 0, 7], [0, 0, 0]],
    )
    assert found.counts == EvaluationCounts(
        users=2, pairs=2, cold_users=1, cold_items=1, seen_pairs=1, users_only_seen=1
    )
    assert found.rows.tolist() == [0, 1]
    assert found.per_user[NDCG_5].tolist() == [1.0, 1.0]
    told = found.telling_cold(users=4, items=2).counts
    assert (told.cold_users, told.cold_items) == (5, 3)


def test_coverage_counts_only_the_top_25_of_users_that_were_scored() -> None:
    table = np.vstack([np.arange(100), -np.arange(100)])
    held = np.zeros((2, 100))
    held[0, 0] = 1
    learned = Table(table.astype(np.float32))
    found = evaluate(learned, csr_matrix(np.zeros((2, 100))), csr_matrix(held), (5, 40))
    assert found.means["coverage"] == pytest.approx(0.25)


@laws
@given(worlds(), st.integers(1, 7))
def test_popularity_is_that_of_a_slow_count_over_every_place_of_every_list(
    world: tuple[np.ndarray, np.ndarray, np.ndarray], block: int
) -> None:
    table, train, held = world
    found = evaluate(Table(table), csr_matrix(train), csr_matrix(held), block=block)
    scored = found.rows.tolist()
    shares = []
    for row in scored:
        unseen = [i for i in range(table.shape[1]) if train[row, i] <= 0]
        for item in sorted(unseen, key=lambda i: (-table[row, i], i))[:25]:
            shares.append(sum(train[other, item] > 0 for other in scored) / len(scored))
    expected = sum(shares) / len(shares) if shares else math.nan
    assert found.means["popularity_of_lists"] == pytest.approx(expected, nan_ok=True)


def test_nobody_to_score_is_told_as_not_a_number() -> None:
    found = small(held=[[0, 0]], train=[[1, 0]], table=[[1, 2]])
    assert math.isnan(found.means["popularity_of_lists"])
    assert found.counts.users == 0
    assert math.isnan(found.means[NDCG_5])
    assert math.isnan(found.means["mean_reciprocal_rank_at_25"])


def test_masking_leaves_the_solution_and_the_matrices_as_they_were() -> None:
    table = np.array([[3, 2, 1], [1, 2, 3]], dtype=np.float32)
    train, held = csr_matrix([[1.0, 0, 0], [0, 1, 0]]), csr_matrix([[0, 1.0, 0], [1, 0, 0]])
    before = table.copy(), train.toarray(), held.toarray()
    evaluate(Table(table), train, held)
    after = table, train.toarray(), held.toarray()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_stored_zeros_are_neither_seen_nor_held_out() -> None:
    zero = csr_matrix((np.zeros(1), ([0], [0])), shape=(1, 2))
    one = csr_matrix((np.ones(1), ([0], [0])), shape=(1, 2))
    assert evaluate(Table(np.ones((1, 2), np.float32)), zero, one).counts.pairs == 1
    assert evaluate(Table(np.ones((1, 2), np.float32)), one, zero).counts.pairs == 0


@pytest.mark.parametrize(
    "table",
    [np.full((1, 2), np.nan), np.array([[np.inf, 0]]), np.zeros((1, 3)), np.zeros((1, 2, 1))],
    ids=["nan", "infinite", "columns", "dimensions"],
)
def test_scores_that_cannot_be_ranked_are_a_failed_recipe(table: np.ndarray) -> None:
    with pytest.raises(RecipeFailed):
        evaluate(Table(table), csr_matrix((1, 2)), csr_matrix([[1.0, 0.0]]))


@pytest.mark.parametrize(
    "call",
    [
        lambda m, t: evaluate(t, m, csr_matrix((2, 3))),
        lambda m, t: evaluate(t, m, m, users=np.array([1])),
        lambda m, t: evaluate(t, m, m, users=np.array([-1])),
        lambda m, t: evaluate(t, m, m, block=0),
        lambda m, t: evaluate(t, m, m, (0,)),
    ],
    ids=["shapes", "row beyond", "row below", "block", "cutoff"],
)
def test_a_call_that_makes_no_sense_is_refused(
    call: Callable[[csr_matrix, Table], Evaluation],
) -> None:
    train = csr_matrix([[0.0, 0.0]])
    with pytest.raises(BadInput):
        call(train, Table(np.zeros((1, 2), np.float32)))


def test_an_evaluation_whose_mean_is_not_its_users_mean_cannot_be_built() -> None:
    found = small(held=[[0, 1]], train=[[1, 0]], table=[[1, 2]])
    with pytest.raises(BadInput, match="not the mean"):
        Evaluation({**found.means, NDCG_5: 0.9}, found.per_user, found.rows, found.counts)
    with pytest.raises(BadInput, match="values for"):
        Evaluation(found.means, found.per_user, np.array([0, 1]), found.counts)
