"""What everybody has says less of a person: the popularity discount of ALS, against its words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import sparse

from lethe.errors import RecipeFailed
from lethe.gate.proof.algebra import alphas, users_by_item
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions import als
from lethe.solutions.als import AlsHyperparameters, as_solved
from lethe.solutions.learned import Factors
from tests.solutions.histories import history

RULE = AlsHyperparameters(
    factors=8, regularization=1.0, alpha=5.0, iterations=10, popularity_discount=0.4
)
COUNTS = st.lists(st.integers(0, 70), min_size=1, max_size=12)
DISCOUNTS = st.floats(0.01, 1)


def had_by(counts: list[int], seed: int = 0) -> Any:
    """CSR in which item i has counts[i] users, who are drawn; weights from 1 to 4."""
    draw = np.random.default_rng(seed)
    dense = np.zeros((max(70, *counts), len(counts)), np.float32)
    for item, count in enumerate(counts):
        rows = draw.choice(len(dense), count, replace=False)
        dense[rows, item] = draw.integers(1, 5, count)
    return sparse.csr_matrix(dense)


def in_words(counts: list[int], alpha: float, discount: float) -> list[float]:
    """Slow oracle: pair by pair, in Python's own numbers."""
    doublings = [len(bin(max(count, 1))) - 3 for count in counts]
    pairs = sorted(k for k, count in zip(doublings, counts, strict=True) for _ in range(count))
    middle = pairs[(len(pairs) - 1) // 2] if pairs else 0
    return [float(np.float32(alpha * 2.0 ** (discount * (middle - k)))) for k in doublings]


@settings(max_examples=60, deadline=None)
@given(COUNTS, DISCOUNTS, st.floats(0.1, 50), st.integers(0, 99))
@example([2, 1, 1], 0.5, 3.0, 0)  # two pairs in the middle, of different classes
def test_trainer_and_verifier_trust_each_item_as_the_words_say(
    counts: list[int], discount: float, alpha: float, seed: int
) -> None:
    """Neither knows the other's code."""
    weights = had_by(counts, seed)
    rule = AlsHyperparameters(alpha=alpha, popularity_discount=discount)
    expected = np.array(in_words(counts, alpha, discount))
    assert users_by_item(weights).tolist() == counts
    found = alphas(users_by_item(weights), alpha, discount)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2e-7)
    given_to_solver, left = as_solved(weights, rule)
    assert left == 1.0
    assert given_to_solver.dtype == np.float32
    np.testing.assert_allclose(given_to_solver.toarray(), weights.toarray() * expected, rtol=4e-7)


@settings(max_examples=60, deadline=None)
@given(COUNTS, DISCOUNTS)
def test_more_users_never_make_an_item_count_for_more(counts: list[int], discount: float) -> None:
    trust = alphas(np.array(counts), 3.0, discount)
    order = np.argsort(counts, kind="stable")
    assert (np.diff(trust[order]) <= 0).all()
    if sum(counts):
        assert np.float32(3.0) in trust, "the item of the middle pair keeps alpha"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 5_000), min_size=2, max_size=12), DISCOUNTS, st.data())
def test_one_person_more_or_less_mostly_changes_no_items_trust(
    counts: list[int], discount: float, data: st.DataObject
) -> None:
    """Only where a count comes to a power of two, or the middle pair to another item."""
    hers = set(data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1)))
    more = [count + (item in hers) for item, count in enumerate(counts)]
    before, after = in_words(counts, 3.0, discount), in_words(more, 3.0, discount)
    grew = [item for item in hers if more[item] & (more[item] - 1) == 0]
    assume(not grew)
    moved = np.log2(np.divide(after, before))
    [classes] = {*(moved / discount).round()}
    assert np.abs(moved - classes * discount).max() < 3e-7  # two alphas, each rounded to float32
    assert Counter(np.sign(np.diff(before))) == Counter(np.sign(np.diff(after)))


def test_without_a_discount_nothing_is_changed() -> None:
    weights = had_by([3, 0, 9])
    own, alpha = as_solved(weights, RULE.model_copy(update={"popularity_discount": 0.0}))
    assert (own != weights).nnz == 0
    assert own.data is not weights.data
    assert alpha == RULE.alpha
    assert alphas(users_by_item(weights), 0.3, 0.0).tolist() == [np.float32(0.3)] * 3


@pytest.mark.parametrize("momentum", [False, True])
def test_sealed_item_factors_solve_their_equations_with_each_items_own_alpha(
    momentum: bool,
) -> None:
    """The oracle in float64 of `test_als`, item by item; with one alpha for all they do not."""
    matrix = history(300, 40, 3)
    rule = RULE.model_copy(update={"momentum": momentum})
    factors = als.fit(matrix, rule, seed=3)
    counts = np.bincount(matrix.csr.indices, minlength=40).tolist()
    assert residual(matrix, factors, in_words(counts, 5.0, 0.4)) <= 1e-5
    assert residual(matrix, factors, [5.0] * 40) > 1e-3


def residual(matrix: InteractionMatrix, factors: Factors, trust: list[float]) -> float:
    X, Y = factors.user_factors.astype(float), factors.item_factors.astype(float)
    dense, worst = matrix.csr.toarray().astype(float), 0.0
    for item, alpha in enumerate(trust):
        confidence = np.where(dense[:, item] > 0, alpha * dense[:, item], 1.0)
        left = (X.T * confidence) @ X @ Y[item] + RULE.regularization * Y[item]
        right = (X.T * confidence) @ (dense[:, item] > 0).astype(float)
        scale = np.linalg.norm(left) + np.linalg.norm(right)
        worst = max(worst, float(np.linalg.norm(left - right) / scale))
    return worst


def test_a_fit_with_a_discount_is_repeated_bit_by_bit() -> None:
    matrix = history(300, 40, 3)
    one, two = (als.fit(matrix, RULE, seed=3, threads=threads) for threads in (1, 2))
    assert one.digests() == two.digests()
    plain = als.fit(matrix, RULE.model_copy(update={"popularity_discount": 0.0}), seed=3)
    assert one.digests() != plain.digests()


def test_a_confidence_beyond_float32_fails_the_fit() -> None:
    """A rare item's alpha can be beyond it where alpha itself is not."""
    matrix = history(300, 40, 3)
    csr = matrix.csr.copy()
    csr.data *= np.float32(2e34)
    heavy = InteractionMatrix(matrix.users, matrix.items, csr)
    steep = RULE.model_copy(update={"alpha": 3_000.0, "popularity_discount": 1.0})
    with pytest.raises(RecipeFailed, match="beyond float32"):
        als.fit(heavy, steep, seed=3)


@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_discount_is_a_share(value: float) -> None:
    with pytest.raises(ValidationError):
        AlsHyperparameters(popularity_discount=value)
