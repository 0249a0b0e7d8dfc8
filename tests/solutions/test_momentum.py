"""ALS with momentum: the same equations, at rest sooner, and the same bits every time."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions import als
from lethe.solutions.als import AlsHyperparameters
from lethe.solutions.learned import Factors, Learned
from tests.solutions.histories import history, without_user
from tests.solutions.test_als import item_residual

RULE = AlsHyperparameters(
    factors=16, regularization=2.0, alpha=10.0, iterations=12, momentum=True, seal=False
)


def still_to_go(factors: Factors, matrix: InteractionMatrix, rule: AlsHyperparameters) -> float:
    """How far one exact iteration in float64 moves the items, beside how long they are."""
    dense = matrix.csr.toarray().astype(float)
    confidence = np.where(dense > 0, rule.alpha * dense, 1.0)
    seen = (dense > 0).astype(float)

    def solved(fixed: np.ndarray, weights: np.ndarray, liked: np.ndarray) -> np.ndarray:
        ridge = rule.regularization * np.eye(rule.factors)
        return np.array(
            [
                np.linalg.solve((fixed.T * w) @ fixed + ridge, (fixed.T * w) @ p)
                for w, p in zip(weights, liked, strict=True)
            ]
        )

    before = factors.item_factors.astype(float)
    users = solved(before, confidence, seen)
    after = solved(users, confidence.T, seen.T)
    return float(np.linalg.norm(after - before) / np.linalg.norm(before))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("regularization", [0.5, 2.0, 10.0])
def test_thirty_iterations_with_momentum_are_nearer_to_rest_than_fifty_without(
    seed: int, regularization: float
) -> None:
    with_it = RULE.model_copy(update={"regularization": regularization, "iterations": 30})
    without = with_it.model_copy(update={"momentum": False, "iterations": 50})
    matrix = history(300, 120, seed)
    sooner = still_to_go(als.fit(matrix, with_it, seed), matrix, with_it)
    later = still_to_go(als.fit(matrix, without, seed), matrix, without)
    assert sooner < later
    assert sooner < 0.02


def test_both_come_to_rest_in_the_same_equations() -> None:
    rule = RULE.model_copy(update={"iterations": 200, "regularization": 20.0})
    matrix = history(200, 80)
    fits = [
        als.fit(matrix, rule.model_copy(update={"momentum": momentum}), 3)
        for momentum in (True, False)
    ]
    left = [still_to_go(fitted, matrix, rule) for fitted in fits]
    assert left[0] < 1e-6
    assert left[1] < 1e-4
    first, second = (fitted.user_factors @ fitted.item_factors.T for fitted in fits)
    assert np.abs(first - second).max() < 0.01


def test_sealed_item_factors_solve_their_equations_with_momentum_too() -> None:
    rule = RULE.model_copy(update={"seal": True})
    assert item_residual(history(), als.fit(history(), rule, 3), rule) <= 1e-5


class Plain:
    """Slow oracle: the two sequences of Nesterov's scheme in float64, one number at a time."""

    def __init__(self, start: float) -> None:
        self.last = self.began = start
        self.step = 0

    def carried(self, solved: float, turned: bool) -> float:
        self.step = 1 if turned else self.step + 1
        onward = solved + (self.step - 1) / (self.step + 2) * (solved - self.last)
        self.last, self.began = solved, onward
        return onward


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 3), st.integers(0, 40))
def test_what_is_carried_on_is_what_two_sequences_say(
    seed: int, steps: int, factors: int, users: int
) -> None:
    draw = np.random.default_rng(seed)
    model = SimpleNamespace(
        user_factors=draw.normal(size=(users, factors)).astype(np.float32),
        item_factors=draw.normal(size=(5, factors)).astype(np.float32),
    )
    places = [
        (name, *at)
        for name in ("user_factors", "item_factors")
        for at in np.ndindex(getattr(model, name).shape)
    ]
    told = {place: Plain(float(getattr(model, place[0])[place[1:]])) for place in places}
    momentum = als._Momentum(model)
    for _ in range(steps):
        for name in ("user_factors", "item_factors"):
            solved = draw.normal(size=getattr(model, name).shape).astype(np.float32)
            setattr(model, name, solved)
        items = [(told[place], float(model.item_factors[place[1:]])) for place in places
                 if place[0] == "item_factors"]  # fmt: skip
        turned = sum((now - one.began) * (now - one.last) for one, now in items) < 0
        expected = {
            place: told[place].carried(float(getattr(model, place[0])[place[1:]]), turned)
            for place in places
        }
        momentum.carry_on()
        for place, value in expected.items():
            assert getattr(model, place[0])[place[1:]] == pytest.approx(value, rel=1e-4, abs=1e-5)


def test_where_items_turn_back_the_momentum_is_lost() -> None:
    model = SimpleNamespace(
        user_factors=np.zeros((1, 1), np.float32), item_factors=np.zeros((1, 1), np.float32)
    )
    momentum = als._Momentum(model)
    for solved in (1.0, 2.0, 3.0):
        model.item_factors = np.array([[solved]], np.float32)
        momentum.carry_on()
    assert model.item_factors[0, 0] == np.float32(3.0 + 2 / 5)
    model.item_factors = np.array([[3.2]], np.float32)  # not as far as it was carried
    momentum.carry_on()
    assert model.item_factors[0, 0] == np.float32(3.2)


def test_rows_are_carried_on_the_same_however_many_are_taken_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = als.fit(history(), RULE, 3).digests()
    monkeypatch.setattr(als, "_ROWS_AT_ONCE", 7)
    assert als.fit(history(), RULE, 3).digests() == whole


def test_nobody_who_watches_is_shown_factors_that_nothing_solved() -> None:
    shown: list[Factors] = []

    def watch(_: int, learned: Learned) -> None:
        assert isinstance(learned, Factors)
        shown.append(Factors(learned.user_factors.copy(), learned.item_factors.copy()))

    fitted = als.fit(history(), RULE, 3, watch)
    assert fitted.digests() == shown[-1].digests()
    for iterations in (1, 5, 11):
        shorter = RULE.model_copy(update={"iterations": iterations})
        assert als.fit(history(), shorter, 3).digests() == shown[iterations - 1].digests()


def test_two_fits_with_momentum_are_bit_identical_whatever_the_threads() -> None:
    digests = {str(als.fit(history(), RULE, 3, threads=t).digests()) for t in (1, 2, 0, 1)}
    assert len(digests) == 1


def test_a_fit_with_momentum_is_never_warm() -> None:
    before = als.fit(history(), RULE, 3).digests()
    als.fit(without_user(history(), 1), RULE, 3)
    assert als.fit(history(), RULE, 3).digests() == before


def test_a_version_recorded_before_there_was_momentum_is_replayed_without() -> None:
    recorded = RULE.model_dump(exclude={"momentum"})
    again = AlsHyperparameters.model_validate(recorded)
    assert not again.momentum
    assert als.fit(history(), again, 3).digests() != als.fit(history(), RULE, 3).digests()


def test_an_item_that_nobody_touched_is_exactly_zero_with_momentum() -> None:
    csr = sparse.csr_matrix(np.array([[1, 0, 2], [1, 0, 0]], dtype=np.float32))
    matrix = InteractionMatrix(("u", "v"), ("a", "b", "c"), csr)
    fitted = als.fit(matrix, RULE, 3)
    assert not fitted.item_factors[1].any()
    assert fitted.item_factors[0].any()
