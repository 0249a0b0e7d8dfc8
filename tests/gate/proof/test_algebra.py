"""The algebra of ALS against slow oracles in float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lethe.gate.proof import algebra
from lethe.gate.proof.algebra import FoldIn, blocks, confidences, item_sides, predictions

Dense = Any


@pytest.fixture(params=[1 << 17, 7], ids=["one block", "many blocks"])
def _block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algebra, "_BLOCK_PAIRS", request.param)
    monkeypatch.setattr(algebra, "_BLOCK_CELLS", 8 * request.param)


def drawn(
    seed: int, users: int = 30, items: int = 17, factors: int = 5, alpha: float = 3.0
) -> tuple[Any, Dense, Dense]:
    """Weights with an empty row and an empty column, and random factors."""
    draw = np.random.default_rng(seed)
    dense = (draw.random((users, items)) < draw.random((users, 1))) * draw.random((users, items))
    dense[0], dense[:, 1] = 0, 0
    weights = sparse.csr_matrix(dense.astype(np.float32))
    X, Y = draw.normal(size=(users, factors)), draw.normal(size=(items, factors))
    return confidences(weights, alpha), X, Y


def dense_of(confidence: Any) -> tuple[Dense, Dense]:
    """C with 1 where nothing was observed, and P."""
    observed = confidence.toarray() != 0
    return np.where(observed, confidence.toarray(), 1.0), observed.astype(float)


def objective(confidence: Any, X: Dense, Y: Dense, reg: float) -> float:
    C, P = dense_of(confidence)
    return float((C * (P - X @ Y.T) ** 2).sum() + reg * ((X**2).sum() + (Y**2).sum()))


def test_confidence_is_the_float32_product_that_the_solver_used() -> None:
    weights = sparse.csr_matrix(np.array([[0.1, 0.0, 7.3]], dtype=np.float32))
    found = confidences(weights, 3.3)
    solver = 3.3 * weights
    assert solver.dtype == np.float32
    assert found.data.tolist() == solver.data.astype(float).tolist()


@pytest.mark.usefixtures("_block")
@pytest.mark.parametrize("alpha", [0.3, 1.0, 5.0, 40.0])
def test_both_sides_of_the_item_equations_are_those_of_the_textbook(alpha: float) -> None:
    confidence, X, Y = drawn(1, alpha=alpha)
    C, P = dense_of(confidence)
    sides = item_sides(confidence, X, Y, 2.5)
    for i in range(len(Y)):
        H = (X.T * C[:, i]) @ X + 2.5 * np.eye(X.shape[1])
        np.testing.assert_allclose(sides.left[i], H @ Y[i], rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(sides.right[i], (X.T * C[:, i]) @ P[:, i], atol=1e-10)
        assert sides.trace[i] == pytest.approx(np.trace(H), rel=1e-12)


@pytest.mark.usefixtures("_block")
def test_their_difference_is_half_the_gradient_of_the_objective() -> None:
    confidence, X, Y = drawn(2, users=12, items=6, factors=3)
    gradient = item_sides(confidence, X, Y, 0.7).difference
    step = 1e-5
    for place in np.ndindex(*Y.shape):
        up, down = Y.copy(), Y.copy()
        up[place] += step
        down[place] -= step
        slope = objective(confidence, X, up, 0.7) - objective(confidence, X, down, 0.7)
        assert slope / (4 * step) == pytest.approx(gradient[place], rel=1e-6, abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.01, 0.5, 30.0]),
    st.sampled_from([0.2, 1.0, 9.0, 200.0]),
    st.integers(1, 20),
)
def test_a_fold_in_is_the_exact_minimum_for_long_and_short_histories(
    seed: int, reg: float, alpha: float, factors: int
) -> None:
    confidence, _, Y = drawn(seed, factors=factors, alpha=alpha)
    C, P = dense_of(confidence)
    found = FoldIn(Y, reg)(confidence)
    for u in range(len(found)):
        H = (Y.T * C[u]) @ Y + reg * np.eye(factors)
        np.testing.assert_allclose(
            found[u], np.linalg.solve(H, (Y.T * C[u]) @ P[u]), rtol=1e-6, atol=1e-8
        )
    assert not found[0].any()


@pytest.mark.usefixtures("_block")
def test_predictions_are_inner_products_on_the_observed_pairs() -> None:
    confidence, X, Y = drawn(3)
    rows, columns = confidence.nonzero()
    np.testing.assert_allclose(predictions(confidence, X, Y), (X @ Y.T)[rows, columns], atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 50))
def test_blocks_cover_every_row_once_and_hold_no_more_pairs_than_one_history_or_the_limit(
    lengths: list[int], limit: int
) -> None:
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    matrix = sparse.csr_matrix(
        (np.ones(indptr[-1]), np.zeros(indptr[-1], dtype=np.int32), indptr),
        shape=(len(lengths), 1),
    )
    kept = algebra._BLOCK_PAIRS
    algebra._BLOCK_PAIRS = limit
    try:
        found = list(blocks(matrix))
    finally:
        algebra._BLOCK_PAIRS = kept
    assert [k for part in found for k in range(part.start, part.stop)] == list(range(len(lengths)))
    for part in found:
        pairs = indptr[part.stop] - indptr[part.start]
        assert pairs <= limit or part.stop - part.start == 1


def test_an_item_without_equations_leaves_no_residual_unless_it_has_factors() -> None:
    confidence, X, Y = drawn(4)
    Y[1] = 0
    assert item_sides(confidence, X, Y, 1.0).relative()[1] == 0
    Y[1] = 0.1
    assert item_sides(confidence, X, Y, 1.0).relative()[1] == pytest.approx(1.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=40), st.integers(1, 9))
def test_a_block_is_as_long_as_the_limits_of_pairs_and_rows_allow(
    lengths: list[int], limit: int
) -> None:
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    matrix = sparse.csr_matrix(
        (np.ones(indptr[-1]), np.zeros(indptr[-1], dtype=np.int32), indptr),
        shape=(len(lengths), 1),
    )
    expected, first = [], 0
    while first < len(lengths):
        last = first + 1
        while (
            last < len(lengths)
            and last - first < limit
            and indptr[last + 1] - indptr[first] <= limit
        ):
            last += 1
        expected.append(slice(first, last))
        first = last
    kept, algebra._BLOCK_PAIRS = algebra._BLOCK_PAIRS, limit
    try:
        assert list(itertools.islice(blocks(matrix), 100)) == expected
    finally:
        algebra._BLOCK_PAIRS = kept


def test_three_hundred_rows_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algebra, "_BLOCK_PAIRS", 100)
    matrix = sparse.csr_matrix(np.ones((300, 1)))
    assert len(list(itertools.islice(blocks(matrix), 50))) == 3


@pytest.mark.parametrize(("cells", "size"), [(56, 11), (10, 2), (5, 1), (3, 1)])
def test_predictions_are_made_for_no_more_pairs_at_once_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, cells: int, size: int
) -> None:
    confidence, X, Y = drawn(3)
    whole, sizes, plain = predictions(confidence, X, Y), list[int](), np.einsum

    def noted(form: str, one: Dense, other: Dense) -> Dense:
        sizes.append(len(one))
        return plain(form, one, other)

    monkeypatch.setattr(algebra, "_BLOCK_CELLS", cells)
    monkeypatch.setattr(np, "einsum", noted)
    assert predictions(confidence, X, Y).tolist() == whole.tolist()
    full, rest = divmod(confidence.nnz, size)
    assert sizes == [size] * full + [rest] * bool(rest)


@pytest.mark.parametrize(("cells", "size"), [(45, 2), (60, 3), (3, 1), (1 << 20, 30)])
def test_histories_of_one_length_are_solved_for_no_more_at_once_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, cells: int, size: int
) -> None:
    monkeypatch.setattr(algebra, "_BLOCK_CELLS", cells)
    Y = np.random.default_rng(1).normal(size=(9, 5))
    confidence = sparse.csr_matrix(np.tile([2.0, 0, 3.0, 0, 1.5, 0, 0, 0, 0], (30, 1)))
    fold_in, sizes = FoldIn(Y, 1.0), list[int]()
    short = fold_in._short

    def noted(confidence: Any, rows: Any, length: int) -> Dense:
        assert length == 4
        sizes.append(len(rows))
        return short(confidence, rows, length)

    monkeypatch.setattr(fold_in, "_short", noted)
    found = fold_in(confidence)
    full, rest = divmod(30, size)
    assert sizes == [size] * full + [rest] * bool(rest)
    np.testing.assert_allclose(found, np.tile(found[0], (30, 1)))
    C, P = dense_of(confidence)
    H = (Y.T * C[0]) @ Y + np.eye(5)
    np.testing.assert_allclose(found[0], np.linalg.solve(H, (Y.T * C[0]) @ P[0]))


@pytest.mark.parametrize("width", [1, 4, 5, 8])
@pytest.mark.parametrize("length", [1, 2, 4, 5, 8, 9])
def test_a_history_of_any_length_beside_any_width_is_folded_in_exactly(
    width: int, length: int
) -> None:
    """One user alone, on no other items than these: nothing to borrow a padded place from."""
    Y = np.random.default_rng(length).normal(size=(length, width))
    confidence = sparse.csr_matrix(np.linspace(0.5, 3.0, length)[None, :])
    H = (Y.T * confidence.toarray()[0]) @ Y + 2.0 * np.eye(width)
    expected = np.linalg.solve(H, Y.T @ confidence.toarray()[0])
    np.testing.assert_allclose(FoldIn(Y, 2.0)(confidence)[0], expected, rtol=1e-9, atol=1e-12)


def test_a_residual_is_a_share_of_its_sides_however_small_they_are() -> None:
    sides = algebra.ItemSides(
        np.array([[3e-9, 0.0], [0.0, 0.0], [1.0, 1.0]]),
        np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]),
        np.ones(3),
    )
    with np.errstate(all="raise"):
        assert sides.relative().tolist() == [1.0, 0.0, 0.0]
