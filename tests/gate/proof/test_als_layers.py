"""Layers 4 and 5 and what they stand on: every threshold from both sides, every word told."""

from __future__ import annotations

import inspect
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lethe.errors import ArtifactCorrupt
from lethe.gate.proof import algebra
from lethe.gate.proof.als import contribution, controls, equations, objective, presence
from lethe.gate.proof.als import stationarity as rest
from lethe.gate.proof.als.equations import normal_equations
from lethe.gate.proof.als.objective import Objective
from lethe.gate.proof.als.stationarity import stationarity
from lethe.gate.proof.report import LayerResult
from tests.gate.proof.cases import case_of, honest

ABOVE = np.inf


def test_the_thresholds_are_those_that_were_measured_and_written_down() -> None:
    """docs/verification.md tells them, and every certificate."""
    assert equations.LARGEST_RESIDUAL == 1e-5
    assert (rest.LARGEST_GRADIENT, rest.LARGEST_SHIFT) == (0.03, 0.01)
    assert (rest.LARGEST_USER_SHIFT, rest.USUAL_USER_SHIFT) == (0.25, 0.1)
    assert (presence.LARGEST_SHARE, presence.APART, presence.LEAST_RIGHT) == (0.25, 0.5, 0.99)
    assert (presence.COHORT_CHANCE, presence.CONTROLS) == (1e-3, 400)
    assert (presence._NEGLIGIBLE, presence._JOINT) == (1e-9, 1_000)
    assert (contribution._ALIKE, controls._NEAREST) == (0.01, 32)
    assert (algebra._BLOCK_PAIRS, algebra._BLOCK_CELLS, algebra._STEP) == (131_072, 4_194_304, 4)


@pytest.mark.parametrize(
    "kind",
    [
        found
        for module in (algebra, contribution, objective, presence)
        for found in vars(module).values()
        if inspect.isclass(found) and found.__module__ == module.__name__
    ],
)
def test_what_holds_arrays_shows_none_of_them_and_is_equal_to_itself_alone(kind: type) -> None:
    for name in ("__repr__", "__eq__"):
        assert getattr(kind, name) is getattr(object, name)


# --- layer 4 ------------------------------------------------------------------------------------


def judged(*residuals: float) -> LayerResult:
    found = np.array(residuals)
    sides = SimpleNamespace(relative=lambda: found)
    return normal_equations(SimpleNamespace(sides=lambda: sides))  # type: ignore[arg-type]


def test_a_residual_at_the_threshold_passes_and_one_above_or_none_at_all_does_not() -> None:
    assert judged(1e-5, 0.0, 1e-6).findings == ()
    layer = judged(1e-5, np.nextafter(1e-5, ABOVE), 0.5, 1e-6, 0.25)
    assert [finding.count for finding in layer.findings] == [3]
    assert layer.details == (
        {"item": 2, "residual": 0.5},
        {"item": 4, "residual": 0.25},
        {"item": 1, "residual": np.nextafter(1e-5, ABOVE)},
    )
    assert layer.value == "largest 5.0e-01, 3 of 5 items above"
    assert (layer.measured, layer.limit, layer.passed) == (0.5, 1e-5, False)
    assert [finding.count for finding in judged(float("nan"), 0.0).findings] == [1]


def test_no_more_than_a_hundred_items_are_listed_and_every_one_is_counted() -> None:
    layer = judged(*(1.0 + k for k in range(140)))
    assert [row["item"] for row in layer.details] == list(range(139, 39, -1))
    assert [finding.count for finding in layer.findings] == [140]


def test_of_no_items_at_all_the_largest_residual_is_nought() -> None:
    assert judged().value == "largest 0.0e+00, 0 of 0 items above"
    assert judged(1e-7).measured == 1e-7


# --- layer 5 ------------------------------------------------------------------------------------


def resting(
    distance: list[float],
    exact: list[float],
    found: list[float],
    gradient: float = 0.0,
    scale: float = 100.0,
) -> LayerResult:
    """Of users with these distances and sizes, and one gradient with sides of this size."""
    sides = SimpleNamespace(
        left=np.array([[0.25 * scale]]),
        right=np.array([[0.75 * scale]]),
        difference=np.array([[gradient]]),
    )
    users = [np.array(values, dtype=float) for values in (distance, exact, found)]
    at = SimpleNamespace(sides=sides, distance=users[0], exact=users[1], found=users[2])
    return stationarity(at)  # type: ignore[arg-type]


def told(layer: LayerResult) -> tuple[int, bool, list[bool]]:
    """People who lag, whether it answered, and which controls held."""
    lagging = sum(finding.count for finding in layer.findings)
    return lagging, layer.conclusive, [control.passed for control in layer.controls]


def test_a_gradient_at_its_limit_is_at_rest_and_one_above_is_not() -> None:
    still = [0.0], [100.0], [100.0]
    assert told(resting(*still, gradient=3.0)) == (0, True, [True, True])
    layer = resting(*still, gradient=np.nextafter(3.0, ABOVE))
    assert told(layer) == (0, False, [False, True])
    assert (layer.advice, layer.limit) == (rest.ADVICE, 0.03)
    assert layer.measured is not None
    assert layer.measured > 0.03
    assert resting(*still, gradient=0.015, scale=0.5).measured == 0.03


def test_a_shift_of_everybody_at_its_limit_is_an_answer_and_one_above_is_none() -> None:
    assert told(resting([1.0], [100.0], [100.0])) == (0, True, [True, True])
    layer = resting([np.nextafter(1.0, ABOVE)], [100.0], [100.0])
    assert told(layer) == (0, False, [True, True])
    assert layer.advice == rest.ADVICE
    assert resting([1.0], [100.0], [100.0]).advice == ""


def test_usual_shifts_at_their_limit_hold_and_above_do_not() -> None:
    assert told(resting([10.0], [0.0], [100.0]))[2] == [True, True]
    assert told(resting([np.nextafter(10.0, ABOVE)], [0.0], [100.0]))[2] == [True, False]
    most = [0.0] * 98 + [60.0, 60.0]
    assert told(resting(most, [100.0] * 100, [100.0] * 100))[2] == [True, False]


def test_one_user_who_lags_is_a_finding_once_the_others_rest() -> None:
    many = [1.0] * 200
    at_limit = [0.0] * 199 + [0.5]
    above = [0.0] * 199 + [float(np.nextafter(0.5, ABOVE))]
    assert told(resting(at_limit, many, many)) == (0, False, [True, True])
    assert told(resting(above, many, many)) == (1, True, [True, True])
    assert resting(above, many, many).advice == ""
    assert told(resting(above, many, many, gradient=9.0)) == (0, False, [False, True])
    unknown = [0.0] * 199 + [float("nan")]
    assert told(resting(unknown, many, many)) == (0, False, [True, False])


def test_users_of_any_size_are_judged_by_their_share_and_those_without_any_are_still() -> None:
    small = [1e-6] * 200
    above = [0.0] * 199 + [0.6e-6]
    assert told(resting(above, small, small)) == (1, True, [True, True])
    with np.errstate(all="raise"):
        assert told(resting([0.0, 0.0], [0.0, 1.0], [0.0, 1.0])) == (0, True, [True, True])


def test_what_layer_five_measured_is_told() -> None:
    layer = resting([3.0, 4.0], [300.0, 400.0], [0.0, 0.0], gradient=-2.0)
    assert layer.value == "gradient 2.0e-02, shift 1.0e-02, largest of one user 1.0e-02"
    assert [control.found for control in layer.controls] == ["2.0e-02", "1.0e-02"]
    assert [control.wanted for control in layer.controls] == ["at most 0.03", "at most 0.1"]
    assert (
        layer.threshold
        == "gradient at most 0.03, shift of the users at most 0.01, of one user 0.25"
    )


def test_nothing_at_all_is_not_at_rest() -> None:
    layer = resting([], [], [])
    assert told(layer) == (0, False, [True, False])
    assert layer.value == "gradient 0.0e+00, shift inf, largest of one user 0.0e+00"
    nothing = resting([0.0], [1.0], [1.0], scale=0.0)
    assert told(nothing) == (0, False, [False, True])
    assert nothing.measured == float("inf")


# --- the stored factors, lined up ---------------------------------------------------------------


def with_values(**changes: Any) -> Any:
    case = case_of(honest("als"))
    values = {**case.stored.manifest.hyperparameters, **changes}
    manifest = case.stored.manifest.model_copy(update={"hyperparameters": values})
    return replace(case, stored=replace(case.stored, manifest=manifest))


@pytest.mark.parametrize("name", ["alpha", "regularization"])
@pytest.mark.parametrize("value", [None, 0, 0.0, -0.5, -5, float("inf"), float("nan"), "5"])
def test_a_value_that_the_equations_cannot_use_is_refused(name: str, value: object) -> None:
    with pytest.raises(ArtifactCorrupt, match=f"states no {name} that"):
        Objective.of(with_values(**{name: value}))


@pytest.mark.parametrize("value", [0.25, 1, 7])
def test_any_number_above_nought_is_used(value: float) -> None:
    lined = Objective.of(with_values(alpha=value, regularization=value + 1))
    assert (set(lined.alpha.tolist()), lined.regularization) == ({value}, value + 1)


@pytest.mark.parametrize("names", ["abd", "abcd", "bc", "cb", "", "zabc", "bca"])
def test_rows_stand_in_the_wanted_order_and_what_is_lacking_is_nought(names: str) -> None:
    rows = np.arange(1, 2 * len(names) + 1, dtype=np.float32).reshape(-1, 2)
    lined = objective._lined_up(rows, tuple(names), tuple("abc"))
    expected = [rows[names.index(one)].tolist() if one in names else [0, 0] for one in "abc"]
    assert (lined.tolist(), lined.dtype) == (expected, np.dtype(np.float32))


def test_the_objective_is_minimised_for_each_user_and_tells_how_far_each_was() -> None:
    lined = Objective.of(case_of(honest("als")))
    at = lined.minimised()
    exact = at.field.fold_in(lined.confidence)
    np.testing.assert_allclose(at.distance, np.sqrt(((lined.users - exact) ** 2).sum(1)))
    np.testing.assert_allclose(at.exact, np.sqrt((exact**2).sum(1)))
    np.testing.assert_allclose(at.found, np.sqrt((lined.users.astype(float) ** 2).sum(1)))
    np.testing.assert_allclose(at.field.weights, 1.0 / at.sides.trace)
    sides = algebra.item_sides(lined.confidence, exact, lined.items, lined.regularization)
    np.testing.assert_allclose(at.field.gradient, sides.left - sides.right)
    assert at.field.item_factors is lined.items
