"""ALS: cold, indifferent to who else is in the data, sealed to its own equations."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import sparse

from lethe.errors import BadConfiguration, BadInput, RecipeFailed
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions import als
from lethe.solutions.als import AlsHyperparameters, item_start
from lethe.solutions.learned import Factors, Learned
from tests.solutions.histories import history, without_user

QUICK = AlsHyperparameters(factors=8, regularization=1.0, alpha=5.0, iterations=10)


def item_residual(
    matrix: InteractionMatrix,
    factors: Factors,
    rule: AlsHyperparameters,
    extra: float = 0.0,
    scaled: bool = False,
) -> float:
    """Slow oracle in float64: the largest relative residual of the items' normal equations.

    `extra` is added to the confidence and `scaled` multiplies the regularisation by the number of
    pairs: the two other readings of the literature.
    """
    X, Y = factors.user_factors.astype(float), factors.item_factors.astype(float)
    columns = matrix.csr.tocsc()
    worst = 0.0
    for i in range(len(matrix.items)):
        users = columns.indices[columns.indptr[i] : columns.indptr[i + 1]]
        weights = columns.data[columns.indptr[i] : columns.indptr[i + 1]].astype(float)
        if len(users) == 0:
            assert not Y[i].any()
            continue
        confidence = np.ones(len(X))
        confidence[users] = extra + rule.alpha * weights
        preference = np.zeros(len(X))
        preference[users] = 1
        reg = rule.regularization * (len(users) if scaled else 1)
        left = (X.T * confidence) @ X @ Y[i] + reg * Y[i]
        right = (X.T * confidence) @ preference
        worst = max(
            worst,
            float(np.linalg.norm(left - right) / (np.linalg.norm(left) + np.linalg.norm(right))),
        )
    return worst


@pytest.mark.parametrize(
    ("factors", "regularization", "alpha"),
    [(8, 1.0, 5.0), (32, 50.0, 5.0), (16, 0.05, 40.0), (8, 1.0, 0.1), (8, 1.0, 1.0)],
)
def test_sealed_item_factors_solve_their_normal_equations(
    factors: int, regularization: float, alpha: float
) -> None:
    rule = AlsHyperparameters(
        factors=factors, regularization=regularization, alpha=alpha, iterations=5
    )
    assert item_residual(history(), als.fit(history(), rule, seed=3), rule) <= 1e-5


def test_the_other_readings_of_confidence_and_regularisation_do_not_fit() -> None:
    fitted = als.fit(history(), QUICK, seed=3)
    assert item_residual(history(), fitted, QUICK, extra=1.0) > 1e-3
    assert item_residual(history(), fitted, QUICK, scaled=True) > 1e-3


def test_an_unsealed_fit_does_not_solve_them() -> None:
    open_ended = QUICK.model_copy(update={"seal": False, "iterations": 2})
    assert item_residual(history(), als.fit(history(), open_ended, seed=3), open_ended) > 1e-5


def test_one_user_more_in_the_fit_is_seen_in_the_equations() -> None:
    fitted = als.fit(history(), QUICK, seed=3)
    stale = Factors(fitted.user_factors[1:].copy(), fitted.item_factors)
    assert item_residual(without_user(history(), 0), stale, QUICK) > 1e-4


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=20, unique=True),
    st.integers(0, 2**63 - 1),
    st.data(),
)
def test_an_items_start_depends_on_nothing_but_the_seed_and_its_id(
    items: list[str], seed: int, data: st.DataObject
) -> None:
    whole = item_start(tuple(items), 8, seed)
    k = data.draw(st.integers(0, len(items) - 1))
    assert np.array_equal(item_start((items[k],), 8, seed)[0], whole[k])
    assert whole.dtype == np.float32
    assert whole.min() >= 0
    assert whole.max() < 0.01


def test_the_start_is_splitmix64_exactly() -> None:
    """Slow oracle in Python integers; pins the numbers across versions and machines."""
    import hashlib

    digest = hashlib.blake2b(b"item", digest_size=8, salt=(7).to_bytes(8, "little")).digest()
    state, mask, expected = int.from_bytes(digest, "little"), 2**64 - 1, []
    for _ in range(8):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
        expected.append(np.float32((z >> 40) * 2.0**-24) * np.float32(0.01))
    assert item_start(("item",), 8, 7)[0].tolist() == [float(x) for x in expected]


def test_starts_look_uniform_and_seeds_differ() -> None:
    items = tuple(f"i{k}" for k in range(2000))
    start = item_start(items, 16, 1) * 100
    assert abs(float(start.mean()) - 0.5) < 0.01
    assert abs(float(start.var()) - 1 / 12) < 0.005
    assert len(np.unique(start)) > 31_900
    assert not np.array_equal(item_start(items, 16, 2) * 100, start)
    with pytest.raises(BadConfiguration, match="seed"):
        item_start(items, 16, -1)


def test_removing_a_user_leaves_every_items_start_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read at the library's door: what the solver really starts from."""
    from implicit.cpu.als import AlternatingLeastSquares

    starts: list[np.ndarray] = []
    original = AlternatingLeastSquares.fit

    def recording(model: AlternatingLeastSquares, *args: object, **kwargs: object) -> None:
        starts.append(model.item_factors.copy())
        assert not model.user_factors.any()
        original(model, *args, **kwargs)

    monkeypatch.setattr(AlternatingLeastSquares, "fit", recording)
    unsealed = QUICK.model_copy(update={"seal": False})
    for matrix in (history(), without_user(history(), 5), history(seed=2)):
        als.fit(matrix, unsealed, 3)
    assert np.array_equal(starts[0], starts[1])
    assert np.array_equal(starts[0], starts[2])
    assert np.array_equal(starts[0], item_start(history().items, QUICK.factors, 3))


def test_two_fits_in_one_process_are_bit_identical_whatever_the_threads() -> None:
    digests = {str(als.fit(history(), QUICK, 3, threads=t).digests()) for t in (1, 2, 0, 1)}
    assert len(digests) == 1


def test_a_fit_is_never_warm() -> None:
    before = als.fit(history(), QUICK, 3).digests()
    als.fit(history(seed=2), QUICK, 3)
    als.fit(without_user(history(), 1), QUICK, 3)
    assert als.fit(history(), QUICK, 3).digests() == before


def test_watching_a_fit_does_not_change_it() -> None:
    steps: list[tuple[int, float]] = []

    def watch(step: int, learned: Learned) -> None:
        steps.append((step, float(learned.scores(np.arange(3)).sum())))

    watched = als.fit(history(), QUICK, 3, watch)
    assert [step for step, _ in steps] == list(range(1, 11))
    assert len({value for _, value in steps}) > 5
    assert watched.digests() == als.fit(history(), QUICK, 3).digests()


def test_an_item_that_nobody_touched_has_a_factor_of_exactly_zero() -> None:
    csr = sparse.csr_matrix(np.array([[1, 0, 2], [1, 0, 0]], dtype=np.float32))
    matrix = InteractionMatrix(("u", "v"), ("a", "b", "c"), csr)
    fitted = als.fit(matrix, QUICK, 3)
    assert not fitted.item_factors[1].any()
    assert fitted.item_factors[0].any()


def test_values_that_are_not_numbers_never_reach_the_solver() -> None:
    csr = history().csr.copy()
    csr.data[3] = np.nan
    with pytest.raises(BadInput, match="1 values that are not finite"):
        InteractionMatrix(history().users, history().items, csr)


@pytest.mark.parametrize(
    ("weight", "rule"), [(3e38, "beyond float32"), (1e30, "not finite|no solution")]
)
def test_a_fit_that_overflows_fails_and_names_no_row(weight: float, rule: str) -> None:
    csr = history().csr.copy()
    csr.data[:] = np.float32(weight)
    matrix = InteractionMatrix(history().users, history().items, csr)
    with pytest.raises(RecipeFailed, match=rule) as caught:
        als.fit(matrix, QUICK, 3)
    assert "row" not in str(caught.value)


def test_another_process_and_its_blas_threads_give_the_same_bits() -> None:
    code = (
        "from tests.solutions.histories import history\n"
        "from tests.solutions.test_als import QUICK\n"
        "from lethe.solutions import als\n"
        "print(als.fit(history(400, 200), QUICK, 3).digests()['item_factors'])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads},
        ).stdout.strip()
        for threads in ("1", "2")
    }
    assert found == {als.fit(history(400, 200), QUICK, 3).digests()["item_factors"]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"factors": 7},
        {"factors": 513},
        {"iterations": 0},
        {"iterations": 201},
        {"alpha": 0.0},
        {"regularization": 0.0},
        {"alpha": float("nan")},
        {"use_gpu": True},
    ],
)
def test_hyper_parameters_are_bounded(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AlsHyperparameters.model_validate(wrong)
