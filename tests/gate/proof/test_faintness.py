"""Whoever has faded too far to be asked about is let off only if there is nothing to find."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from benchmarks.mutants import World, matrix_of, remembering
from lethe.gate.proof.algebra import confidences
from lethe.gate.proof.als import faintness
from lethe.gate.proof.als.contribution import People
from lethe.gate.proof.als.faintness import LARGEST_ERROR, least_size, negligible, noise, settled
from lethe.gate.proof.als.objective import Objective
from lethe.gate.proof.report import Control, Report, Verdict
from lethe.gate.proof.verification import algebra_layers, sees_everybody, verify
from tests.gate.proof.test_mutants import RULE
from tests.solutions.histories import history

FADES = {"half_life_days": 30.0}
NOTICED, GREY, NOTHING = 1.0, 0.003, 0.0003
"""What is left of the weights of those erased: all of it; too little to ask; too little to show."""


@cache
def world(left: float) -> World:
    """Twelve are erased, and this share of their weights is left."""
    whole = history(300, 60, 5)
    erased = tuple(range(0, 120, 10))
    share = np.ones(len(whole.users), np.float32)
    share[list(erased)] = left
    csr = (sparse.diags_array(share) @ whole.csr).tocsr().astype(np.float32)
    return World(matrix_of(whole, csr), erased, RULE, definition=FADES)


def verdict(one: World, *, left_in: bool, **changed: Any) -> Report:
    """With a recipe that remembers, so that the replay finds nothing."""
    factors = one.hiding(one.erased) if left_in else one.honest
    return verify(remembering(one.case(factors, **changed)))


@pytest.mark.parametrize(
    ("left", "left_in", "expected", "claimed"),
    [
        (NOTICED, False, Verdict.VERIFIED, True),
        (NOTICED, True, Verdict.REFUSED, False),
        (0.1, False, Verdict.INCONCLUSIVE, False),
        (0.1, True, Verdict.REFUSED, False),
        (GREY, False, Verdict.INCONCLUSIVE, False),
        (GREY, True, Verdict.INCONCLUSIVE, False),
        (NOTHING, False, Verdict.VERIFIED, False),
    ],
)
def test_the_residual_test_is_claimed_only_where_everybody_could_be_asked_about(
    left: float, left_in: bool, expected: Verdict, claimed: bool
) -> None:
    report = verdict(world(left), left_in=left_in)
    assert (report.verdict, report.residual_tested) == (expected, claimed)
    layer = report.layers[5]
    assert layer.faint == (0 if left == NOTICED else 12)
    facts = report.facts()["layers"][5]
    assert facts.get("faint", 0) == layer.faint
    assert layer.power.endswith(" were too faint to be asked about")
    if expected is Verdict.INCONCLUSIVE:
        assert layer.advice.startswith("a longer half-life")


@pytest.mark.parametrize(
    ("left", "left_in", "expected"),
    [(NOTICED, False, True), (NOTICED, True, True), (0.1, False, False), (GREY, False, False),
     (NOTHING, False, False)],
)  # fmt: skip
def test_a_rehearsal_asks_only_whether_everybody_could_be_asked_about(
    left: float, left_in: bool, expected: bool
) -> None:
    """Who is let off for adding nothing would be VERIFIED, without the claim: turned down too."""
    one = world(left)
    assert sees_everybody(one.case(one.hiding(one.erased) if left_in else one.honest)) is expected


def test_a_rehearsal_of_a_fit_that_does_not_answer_is_not_passed() -> None:
    one = world(NOTICED)
    restless = World(one.before, one.erased, RULE.model_copy(update={"iterations": 2}))
    alone = replace(restless.case(restless.honest), suspects={})
    assert [layer.faint for layer in algebra_layers(alone)] == [0, 0, 0]
    assert not sees_everybody(alone)


def test_a_recipe_without_equations_has_nothing_to_rehearse() -> None:
    one = world(NOTHING).case(world(NOTHING).honest)
    manifest = one.stored.manifest.model_copy(update={"recipe": "lightfm"})
    assert sees_everybody(replace(one, stored=replace(one.stored, manifest=manifest)))


def test_somebody_who_is_found_is_a_finding_beside_others_who_are_too_faint() -> None:
    """One of whom all is left is in the fit, eleven are faint and are not."""
    one = world(GREY)
    whole, csr = history(300, 60, 5), world(GREY).before.csr.tolil(copy=True)
    csr[one.erased[0]] = whole.csr[one.erased[0]]
    mixed = World(
        matrix_of(whole, csr.tocsr().astype(np.float32)), one.erased, RULE, definition=FADES
    )
    found = verify(remembering(mixed.case(mixed.hiding(one.erased[:1])))).layers[5]
    assert (found.faint, len(found.findings), found.conclusive) == (11, 1, False)


def test_without_fading_nobody_is_faint_and_nothing_else_is_told() -> None:
    plain = replace(world(NOTHING), definition={})
    layer = verdict(plain, left_in=False).layers[5]
    assert layer.faint == 0
    assert "faint" not in f"{layer.power}{layer.controls}{layer.advice}"


# --- each part is needed ------------------------------------------------------------------------

PASSED = Control("one", "", "", True)
BROKEN: dict[str, tuple[str, Any, float, bool, Verdict]] = {
    "the faint are always let off": ("negligible", lambda *_: PASSED, GREY, True, Verdict.VERIFIED),
    "the faint are asked about": ("least_size", lambda _: 0.0, GREY, False, Verdict.INCONCLUSIVE),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_layer_without_one_of_the_rules_says_something_else(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    name, wrong, left, left_in, expected = BROKEN[fault]
    before = verdict(world(left), left_in=left_in)
    monkeypatch.setattr(faintness, name, wrong)
    after = verdict(world(left), left_in=left_in)
    assert after.verdict is expected
    assert (after.verdict, after.layers[5].faint) != (before.verdict, before.layers[5].faint)


def test_a_fit_that_still_moves_lets_nobody_off_as_faint(monkeypatch: pytest.MonkeyPatch) -> None:
    moving = replace(world(NOTHING), rule=RULE.model_copy(update={"iterations": 2}))
    layer = verdict(moving, left_in=False).layers[5]
    usual = next(one for one in layer.controls if "usual member" in one.name)
    assert (usual.passed, layer.conclusive) == (False, False)


# --- what is reckoned ---------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(0, 9)), max_size=30),
    st.lists(st.tuples(st.floats(-2, 2), st.floats(0.1, 9)), min_size=1, max_size=30),
)
def test_the_noise_is_what_ninety_nine_of_a_hundred_known_people_are_off_by(
    some: list[tuple[float, float]], others: list[tuple[float, float]]
) -> None:
    known = [
        SimpleNamespace(
            push=np.array([a * s for a, s in rows]), size=np.array([s for _, s in rows])
        )
        for rows in (some, others)
    ]
    errors = [[abs(a) * s**0.5 for a, s in rows if s > 0] for rows in (some, others)]
    expected = max(float(np.quantile(one, 0.99)) for one in errors if one)
    assert noise(tuple(known)) == pytest.approx(expected)  # type: ignore[arg-type]
    nobody = SimpleNamespace(push=np.zeros(2), size=np.zeros(2))
    assert noise((nobody,)) == np.inf  # type: ignore[arg-type]


def test_who_is_off_by_more_than_the_largest_error_is_too_faint() -> None:
    assert least_size(0.5 * LARGEST_ERROR) == 0.25
    assert 0.5 * LARGEST_ERROR / np.sqrt(least_size(0.5 * LARGEST_ERROR)) == LARGEST_ERROR


@pytest.mark.parametrize(("found", "passed"), [(0.125, True), (0.126, False), (np.inf, False)])
def test_a_usual_member_is_off_by_half_of_that_at_most(found: float, passed: bool) -> None:
    assert settled(found, 4.0).passed is passed
    assert not settled(found, 0.0).passed


@pytest.mark.parametrize("at_once", [1, 5, 64])
def test_what_people_add_together_is_the_sum_of_all_that_each_adds(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(faintness, "_AT_ONCE", at_once)
    one = world(GREY)
    objective = Objective.of(one.case(one.honest))
    at = objective.minimised()
    c = confidences(one.suspects["erased"], RULE.alpha)
    people, items, scale = People.of(c, at.field), objective.items, at.sides.scale
    added = np.zeros(len(items))
    for row, x in enumerate(people.factors):
        own = np.ones(len(items))
        own[c[[row]].indices] = c[[row]].data
        weights = own * (items @ x)
        weights[c[[row]].indices] -= c[[row]].data
        added += [np.linalg.norm(weight * x) for weight in weights]
    found = negligible(people, scale)
    assert found.found == f"{(added / scale).max():.1e} by 12"
    assert not found.passed
    assert negligible(people, scale * 1e4).passed
    assert negligible(people, np.zeros(len(items))).passed


def test_the_bound_is_above_what_those_left_in_do_to_any_item() -> None:
    one = world(0.1)
    objective = Objective.of(one.case(one.hiding(one.erased)))
    at = Objective.of(one.case(one.honest)).minimised()
    people = People.of(confidences(one.suspects["erased"], RULE.alpha), at.field)
    bound = float(negligible(people, at.sides.scale).found.split()[0])
    assert objective.sides().relative().max() < 1.1 * bound
