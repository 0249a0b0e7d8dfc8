"""Baselines against slow oracles."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions import baselines
from lethe.solutions.baselines import ItemKnnHyperparameters, PopularHyperparameters
from tests.solutions.histories import history


def test_popular_gives_everybody_the_number_of_users_of_each_item() -> None:
    matrix = history()
    learned = baselines.fit_popular(matrix, PopularHyperparameters())
    expected = (matrix.csr.toarray() > 0).sum(axis=0)
    assert learned.scores(np.array([0, 7])).tolist() == [expected.tolist()] * 2
    order = baselines.popular_items(matrix)
    assert order.tolist() == sorted(range(60), key=lambda i: (-expected[i], i))


def slow_knn(matrix: InteractionMatrix, rule: ItemKnnHyperparameters) -> npt.NDArray[np.float64]:
    dense = matrix.csr.toarray().astype(float)
    n = dense.shape[1]
    similar = np.zeros((n, n))
    for i in range(n):
        row = []
        for j in range(n):
            norms = np.linalg.norm(dense[:, i]) * np.linalg.norm(dense[:, j])
            value = 0.0 if i == j else dense[:, i] @ dense[:, j] / (norms + rule.shrinkage + 1e-12)
            row.append((-round(value, 12), j, value))
        for _, j, value in sorted(row)[: rule.neighbours]:
            similar[i, j] = value
    scores: npt.NDArray[np.float64] = dense @ similar.T
    return scores


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 80), st.floats(0, 50), st.integers(0, 100))
def test_item_knn_equals_its_slow_oracle(neighbours: int, shrinkage: float, seed: int) -> None:
    matrix = history(30, 20, seed=seed)
    rule = ItemKnnHyperparameters(neighbours=neighbours, shrinkage=shrinkage)
    ours = baselines.fit_item_knn(matrix, rule).scores(np.arange(30))
    assert ours.dtype == np.float32
    if neighbours >= 20:
        np.testing.assert_allclose(ours, slow_knn(matrix, rule), rtol=1e-5, atol=1e-6)
    else:  # equal similarities may be cut on either side of a rounding; most rows must agree
        agree = np.isclose(ours, slow_knn(matrix, rule), rtol=1e-5, atol=1e-6).mean()
        assert agree > 0.9


def test_blocks_do_not_change_the_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = ItemKnnHyperparameters(neighbours=5)
    whole = baselines.fit_item_knn(history(), rule).scores(np.arange(120))
    monkeypatch.setattr(baselines, "_BLOCK", 7)
    np.testing.assert_array_equal(
        baselines.fit_item_knn(history(), rule).scores(np.arange(120)), whole
    )


def test_nobody_neighbours_itself() -> None:
    learned = baselines.fit_item_knn(history(), ItemKnnHyperparameters())
    assert not learned.similarities.diagonal().any()
