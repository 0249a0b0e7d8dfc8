"""A recipe's line in the table may name the layers it is held to, and loosens nothing by it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lethe.gate.proof.case import Case
from lethe.gate.proof.report import (
    ALGEBRA_LAYERS,
    REQUIRED_LAYERS,
    Verdict,
    required_layers,
)
from lethe.gate.proof.verification import verify
from tests.gate.proof.cases import case_of, fitted, honest, shop, solution_of

ALL = (*REQUIRED_LAYERS, *ALGEBRA_LAYERS)
NAMES = st.sampled_from(["als", "lightfm", "another", ""])


def of_another_recipe(layers: tuple[str, ...]) -> Case:
    """What an honest night stores of a recipe that the gate has never heard of."""
    learned, _ = fitted("lightfm", shop().retained)
    solution = solution_of("lightfm", shop().retained, learned, recipe="another")
    again = case_of(honest("lightfm")).replay
    return case_of(solution, replay=again, layers=layers)


@given(recipe=NAMES, named=st.lists(st.sampled_from([*ALL, "replya"]), max_size=7))
def test_whatever_is_named_the_first_three_are_required_and_als_needs_all(
    recipe: str, named: list[str]
) -> None:
    unproved = recipe == "als" or (recipe != "lightfm" and not named)

    assert set(required_layers(recipe, named)) == {*(ALL if unproved else REQUIRED_LAYERS), *named}


def test_a_recipe_that_names_no_layers_is_refused_for_those_that_cannot_run() -> None:
    report = verify(of_another_recipe(()))

    assert report.verdict is Verdict.REFUSED
    assert report.reasons == tuple(f"{name}: did not run" for name in ALGEBRA_LAYERS)


def test_a_recipe_that_names_one_layer_is_held_to_three_and_claims_no_residual_test() -> None:
    report = verify(of_another_recipe(("replay",)))

    assert report.verdict is Verdict.VERIFIED
    assert report.facts()["required"] == list(REQUIRED_LAYERS)
    assert not report.residual_tested
    for missing in REQUIRED_LAYERS:
        kept = tuple(layer for layer in report.layers if layer.layer != missing)
        assert replace(report, layers=kept).verdict is Verdict.REFUSED


def test_a_layer_that_does_not_exist_is_never_passed() -> None:
    report = verify(of_another_recipe(("structure", "manifest", "replya")))

    assert report.verdict is Verdict.REFUSED
    assert report.reasons == ("replya: did not run",)


def test_als_is_held_to_all_six_whatever_its_line_names() -> None:
    report = verify(case_of(honest("als"), layers=("replay",)))
    ran = {layer.layer for layer in report.layers}

    assert ran == set(ALL) == set(report.required)
    for missing in ALGEBRA_LAYERS:
        kept = tuple(layer for layer in report.layers if layer.layer != missing)
        assert replace(report, layers=kept).verdict is Verdict.REFUSED


def test_a_certificate_of_a_recipe_that_names_nothing_says_what_it_always_said() -> None:
    assert "required" not in verify(case_of(honest("lightfm"))).facts()
