"""A fit goes on until it is at rest, whoever else it was asked to stop for, and not beyond."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from benchmarks.mutants import World
from lethe.gate.proof.als import controls
from lethe.gate.proof.verification import algebra_layers
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.nights.learning import rest
from lethe.solutions import als
from lethe.solutions.als import MOST_ITERATIONS, AlsHyperparameters
from lethe.solutions.learned import Factors
from lethe.solutions.setting import FURTHER, Setting
from tests.solutions.histories import history

SHORT = AlsHyperparameters(factors=8, regularization=3.0, alpha=5.0, iterations=4, momentum=True)


def never(_: object, __: Factors) -> bool:
    return False


@pytest.mark.parametrize("momentum", [True, False])
@pytest.mark.parametrize("seal", [True, False])
@pytest.mark.parametrize("asked", [1, 2, 3])
def test_going_on_gives_the_bits_of_a_fit_that_was_asked_for_as_much(
    momentum: bool, seal: bool, asked: int
) -> None:
    rule = SHORT.model_copy(update={"momentum": momentum, "seal": seal})
    heard: list[int] = []

    def at_rest(made: AlsHyperparameters, factors: Factors) -> bool:
        heard.append(made.further_iterations)
        assert factors.digests() == als.fit(history(), made, 3).digests()
        return len(heard) == asked

    made, factors = als.fit_to_rest(history(), rule, 3, at_rest)
    assert heard == sorted(set(heard))
    assert heard[0] == 0
    assert made == rule.model_copy(update={"further_iterations": heard[-1]})
    assert factors.digests() == als.fit(history(), made, 3).digests()


@pytest.mark.parametrize("iterations", [1, 48, 150, MOST_ITERATIONS - 1, MOST_ITERATIONS])
def test_it_ends_where_the_most_iterations_are(iterations: int) -> None:
    rule = SHORT.model_copy(update={"iterations": iterations})
    made, factors = als.fit_to_rest(history(), rule, 3, never)
    assert made.iterations == iterations
    assert made.further_iterations == MOST_ITERATIONS - iterations
    longer = rule.model_copy(update={"iterations": MOST_ITERATIONS})
    assert factors.digests() == als.fit(history(), longer, 3).digests()
    assert factors.digests() == als.fit(history(), made, 3).digests()


def test_a_fit_that_still_moves_goes_on_until_the_residual_test_answers() -> None:
    matrix = history(400, 150)
    world = World(matrix, (), SHORT)
    judge = rest.at_rest(matrix, 1)
    assert not judge(SHORT, als.fit(matrix, SHORT, world.seed))
    assert not algebra_layers(world.case(world.honest))[2].passed
    made, factors = als.fit_to_rest(matrix, SHORT, world.seed, judge)
    assert 0 < made.further_iterations < MOST_ITERATIONS - SHORT.iterations
    rested = replace(world, rule=made)
    assert rested.honest.digests() == factors.digests()
    assert algebra_layers(rested.case(factors))[2].passed


def slow_noise(
    confidence: np.ndarray, people: np.ndarray, items: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Oracle: push / sqrt(size) of each of some people and their sqrt(size), all of it dense.

    The gradient of an item is the sum over people of (c (x . y) - c p) x, and reg y.
    """

    def fold_in(rows: np.ndarray) -> Any:
        ridge = SHORT.regularization * np.eye(items.shape[1])
        weights = np.where(rows > 0, rows, 1.0)
        return np.array([np.linalg.solve((items.T * w) @ items + ridge, (items.T * w) @ (r > 0))
                         for w, r in zip(weights, rows, strict=True)])  # fmt: skip

    def pulls(rows: np.ndarray, X: np.ndarray) -> Any:
        weights = np.where(rows > 0, rows, 1.0)
        return weights * (X @ items.T) - weights * (rows > 0)

    X, others = fold_in(confidence), fold_in(people)
    gradient = pulls(confidence, X).T @ X + SHORT.regularization * items
    trace = np.array([
        ((X**2).sum(axis=1) * np.where(column > 0, column, 1.0)).sum()
        + SHORT.regularization * items.shape[1]
        for column in confidence.T
    ])  # fmt: skip
    alone = np.einsum("ui,uf->uif", pulls(people, others), others)
    push = -np.einsum("uif,if,i->u", alone, gradient, 1 / trace)
    root = np.sqrt(np.einsum("uif,uif,i->u", alone, alone, 1 / trace))
    return push / root, root


@pytest.mark.parametrize(("seed", "iterations"), [(1, 2), (1, 4), (3, 9), (7, 30)])
def test_what_known_people_are_off_by_is_that_of_a_slow_sum(
    seed: int, iterations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = history(90, 40, seed)  # members are off by more in two of them, strangers in two
    factors = als.fit(matrix, SHORT.model_copy(update={"iterations": iterations}), 3)
    drawn_rows: list[np.ndarray] = []

    def drawn(confidence: Any, lengths: Any, draw: Any) -> Any:
        found = controls.never_seen(confidence, lengths, draw)
        drawn_rows.append(found.toarray())
        return found

    monkeypatch.setattr(rest, "controls", SimpleNamespace(
        members=controls.members, never_seen=drawn
    ))  # fmt: skip
    answer = rest.at_rest(matrix, 1)
    answer(SHORT, factors)
    dense, items = SHORT.alpha * matrix.csr.toarray().astype(float), factors.item_factors
    members, strangers = (
        slow_noise(dense, people, items.astype(float)) for people in (dense, drawn_rows[0])
    )
    worst = max(float(np.quantile(np.abs(noise), 0.99)) for noise, _ in (members, strangers))
    off = worst / float(np.sqrt(np.median(members[1] ** 2)))
    for limit, expected in ((off * (1 + 1e-6), True), (off * (1 - 1e-6), False)):
        monkeypatch.setattr(rest, "LARGEST_OFF", limit)
        assert answer(SHORT, factors) is expected


def test_where_nobody_shows_more_iterations_are_not_asked_for() -> None:
    csr = sparse.csr_matrix(np.eye(8, dtype=np.float32))
    names = tuple(f"{k}" for k in range(8))
    matrix = InteractionMatrix(names, names, csr)
    nothing = Factors(np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32))
    assert rest.at_rest(matrix, 1)(SHORT, nothing)


def test_a_recipe_that_does_not_come_to_rest_is_fitted_as_it_is() -> None:
    setting = Setting.of("popular", {}, 3)
    again, learned = setting.fit_to_rest(history(), never)
    assert again == again.as_searched == setting
    assert isinstance(learned, Factors)


def test_a_setting_tells_how_long_it_took() -> None:
    setting = Setting.of("als", SHORT.model_dump(), 3)
    made, learned = setting.fit_to_rest(history(), never)
    further = MOST_ITERATIONS - SHORT.iterations
    assert made.hyperparameters == {**setting.hyperparameters, FURTHER: further}
    assert made.as_searched == setting != made
    for begun in (setting, made):
        assert begun.fit_to_rest(history(), never)[0] == made
    again = made.fit(history())
    assert isinstance(learned, Factors)
    assert isinstance(again, Factors)
    assert learned.digests() == again.digests()
