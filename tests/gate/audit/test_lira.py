"""LiRA and its curves against slow oracles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from lethe.gate.audit import curves, lira


def scene(seed: int, models: int = 9, people: int = 6) -> tuple[Any, Any]:
    draw = np.random.default_rng(seed)
    inside = draw.random((models, people)) < 0.5
    return draw.normal(size=(models, people)) + inside * draw.normal(size=people), inside


def slowly(values: Any, inside: Any, model: int, person: int) -> float:
    """One score, from the definition."""
    others = [k for k in range(len(values)) if k != model]
    known = [float(values[k, person]) for k in others if inside[k, person]]
    strange = [float(values[k, person]) for k in others if not inside[k, person]]
    if not known or not strange or len(known) + len(strange) < 3:
        return math.nan
    around = sum((s - np.mean(side)) ** 2 for side in (known, strange) for s in side)
    spread = math.sqrt(around / (len(known) + len(strange) - 2))
    seen = values[model, person]
    with_them = norm.logpdf(seen, np.mean(known), spread)
    return float(with_them - norm.logpdf(seen, np.mean(strange), spread))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 10))
def test_each_score_is_the_ratio_of_two_gaussians_of_the_other_models(
    seed: int, models: int
) -> None:
    values, inside = scene(seed, models)
    found = lira.leave_one_out(values, inside)
    for model in range(models):
        for person in range(values.shape[1]):
            wanted = slowly(values, inside, model, person)
            assert found[model, person] == pytest.approx(wanted, rel=1e-5, abs=1e-6, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_neither_origin_nor_unit_of_a_statistic_matters(
    seed: int, origin: float, unit: float
) -> None:
    values, inside = scene(seed)
    moved = lira.leave_one_out(origin + unit * values, inside)
    np.testing.assert_allclose(moved, lira.leave_one_out(values, inside), rtol=1e-3, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_against_outside_is_the_distance_from_models_without_the_person(seed: int) -> None:
    values, inside = scene(seed)
    seen = values[0] + 1
    found = lira.against_outside(seen, values, ~inside)
    for person in range(values.shape[1]):
        strange = values[~inside[:, person], person]
        wanted = (
            (seen[person] - strange.mean()) / strange.std(ddof=1) if len(strange) > 1 else math.nan
        )
        assert found[person] == pytest.approx(wanted, rel=1e-6, nan_ok=True)


def test_a_statistic_that_knows_is_certain_and_one_that_never_changes_says_nothing() -> None:
    inside = np.random.default_rng(3).random((16, 300)) < 0.5
    knows = lira.leave_one_out(inside.astype(float), inside)
    finite = np.isfinite(knows)
    assert curves.auc(knows[finite & inside], knows[finite & ~inside]) == 1.0
    constant = lira.leave_one_out(np.full(inside.shape, 0.3), inside)
    assert set(constant[np.isfinite(constant)]) == {0.0}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=12),
       st.lists(st.integers(0, 6), min_size=1, max_size=12), st.floats(0, 1))  # fmt: skip
def test_curves_count_pairs_and_people(inside: list[int], outside: list[int], rate: float) -> None:
    a, b = np.array(inside, dtype=float), np.array(outside, dtype=float)
    pairs = [(x > y) + (x == y) / 2 for x in inside for y in outside]
    assert curves.auc(a, b) == pytest.approx(sum(pairs) / len(pairs))
    assert curves.auc(a, b) + curves.auc(b, a) == pytest.approx(1.0)
    lines = [-math.inf, *outside]
    allowed = [y for y in lines if sum(z > y for z in outside) <= rate * len(outside) + 1e-9]
    assert curves.found_at(a, b, rate) == max(sum(x > y for x in inside) for y in allowed) / len(a)
    low, high = curves.interval(curves.auc(a, b), len(a), len(b))
    assert 0 <= low <= curves.auc(a, b) <= high <= 1


def test_nobody_to_compare_with_is_not_a_number() -> None:
    nobody, some = np.empty(0), np.ones(3)
    assert math.isnan(curves.auc(nobody, some))
    assert math.isnan(curves.found_at(some, nobody))
    assert curves.interval(0.9, 3, 400) == (0.0, 1.0)
