"""The mutation matrix: nothing that must not be promoted is, and each layer is needed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from benchmarks.mutants import MUTANTS, World, remembering, without
from lethe.errors import ArtifactCorrupt
from lethe.gate.proof.verification import Case, Report, Verdict, verify
from lethe.solutions.als import AlsHyperparameters
from lethe.solutions.learned import Factors
from tests.solutions.histories import history

RULE = AlsHyperparameters(factors=8, regularization=5.0, alpha=5.0, iterations=60)


@pytest.fixture(scope="session")
def world() -> World:
    return World(history(300, 60, 5), tuple(range(0, 120, 10)), RULE)


def refusing(report: Report) -> set[str]:
    return {layer.layer for layer in report.layers if layer.findings}


def silent(report: Report) -> set[str]:
    return {layer.layer for layer in report.layers if not layer.conclusive}


@pytest.mark.parametrize("seed", range(4))
def test_an_honest_version_is_verified_and_its_controls_hold(seed: int) -> None:
    honest = World(history(300, 60, 30 + seed), tuple(range(seed, 120, 10)), RULE, seed)
    report = verify(honest.case(honest.honest))
    assert report.verdict is Verdict.VERIFIED, report.facts()
    assert report.reasons == ()
    assert [layer.layer for layer in report.layers][3:] == [
        "normal_equations",
        "stationarity",
        "contribution",
    ]
    assert all(control.passed for layer in report.layers for control in layer.controls)
    assert "12 erased: a" in report.layers[5].value
    erased, unseen, members = report.layers[5].clouds
    assert sum(people for _, people in erased.bins) == 12
    assert max(place for place, _ in (*erased.bins, *unseen.bins)) < 5
    assert members.bins[0][0] >= 10
    assert report.residual_tested
    assert report.layers[5].power.startswith("288 of 288 members")
    assert report.layers[5].false_alarms.startswith("0 of 288 people")


def test_a_night_without_anybody_to_test_is_verified_by_its_controls(world: World) -> None:
    report = verify(world.case(world.honest, suspects={}))
    assert report.verdict is Verdict.VERIFIED
    assert report.layers[5].value == "nobody to test; controls only"
    assert len(report.layers[5].controls) == 2


def canaries(world: World, factors: Factors, **changes: Any) -> Case:
    """The same people, but it was canaries who were erased; three more still live."""
    suspects = {"canary": world.suspects["erased"]}
    return world.case(factors, suspects=suspects, **{"canaries": (5, 50, 100), **changes})


def test_erased_canaries_read_nothing_and_living_ones_whole(world: World) -> None:
    report = verify(canaries(world, world.honest))
    assert report.verdict is Verdict.VERIFIED
    assert "12 canary: a" in report.layers[5].value
    control = report.layers[5].controls[2]
    assert control.name == "living canaries pretended erased, a above 0.5"
    assert control.found.startswith("3 of 3")
    assert (report.users, report.facts()["canaries"]) == (len(world.after.users) - 3, 3)


def test_a_version_that_still_holds_one_erased_canary_is_refused(world: World) -> None:
    report = verify(canaries(world, world.hiding(world.erased[:1])))
    assert "contribution" in refusing(report)
    rules = {finding.rule for finding in report.layers[5].findings}
    assert "the history of a person (canary) is in the item factors" in rules


def test_living_canaries_who_are_not_found_leave_the_layer_without_an_answer(world: World) -> None:
    factors = world.honest
    silenced = world.after.csr.copy()
    silenced.data[silenced.indptr[5] : silenced.indptr[6]] = 0
    silenced.eliminate_zeros()
    case = canaries(world, factors, retained=dataclasses.replace(world.after, csr=silenced))
    layer = verify(dataclasses.replace(case, canaries=(5,))).layers[5]
    assert not layer.conclusive
    [failed] = [control for control in layer.controls if not control.passed]
    assert (failed.name, failed.found) == (
        "living canaries pretended erased, a above 0.5",
        "0 of 0",
    )


def test_canaries_whose_histories_are_gone_are_told(world: World) -> None:
    report = verify(world.case(world.honest, suspects={}, untested=2))
    assert report.verdict is Verdict.VERIFIED
    told = "2 erased canaries whose histories are gone: not tested"
    assert report.layers[5].value == f"nobody to test; controls only; {told}"


@pytest.mark.parametrize("name", MUTANTS)
def test_no_mutant_is_verified(world: World, name: str) -> None:
    assert verify(MUTANTS[name](world)).verdict is not Verdict.VERIFIED


@pytest.mark.parametrize(
    ("layer", "name", "remembers"),
    [
        ("structure", "other popular order", False),
        ("manifest", "other matrix recorded", False),
        ("manifest", "register is not the recorded one", False),
        ("replay", "one unit in the last place", False),
        ("normal_equations", "a tenth of one user's items survives", True),
        ("stationarity", "one retained user not trained on", True),
        ("contribution", "warm start, 5 iterations", True),
    ],
)
def test_each_layer_alone_refuses_something(
    world: World, layer: str, name: str, remembers: bool
) -> None:
    """Replay sees every change of the factors, but not a recipe that itself remembers somebody."""
    case = MUTANTS[name](world)
    report = verify(remembering(case) if remembers else case)
    assert refusing(report) == {layer}
    assert silent(report) == set()


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("every erased user stale", {"normal_equations", "contribution"}),
        ("one erased user stale", {"normal_equations", "contribution"}),
        ("half of one user's items survive", {"normal_equations", "contribution"}),
        ("warm start, sealed only", {"contribution"}),
        ("two users' factors swapped", {"normal_equations", "stationarity"}),
        ("not sealed", {"normal_equations"}),
    ],
)
def test_a_recipe_that_remembers_is_still_caught_by_the_algebra(
    world: World, name: str, layers: set[str]
) -> None:
    assert refusing(verify(remembering(MUTANTS[name](world)))) == layers


def test_every_single_hidden_user_is_caught_without_replay(world: World) -> None:
    for row in world.erased:
        report = verify(remembering(world.case(world.hiding([row]))))
        assert refusing(report) >= {"normal_equations", "contribution"}, row
        assert {f.rule: f.count for f in report.layers[5].findings}[
            "the history of a person (erased) is in the item factors"
        ] == 1


def test_reasons_count_findings_and_name_what_did_not_run(world: World) -> None:
    report = verify(MUTANTS["other popular order"](world))
    shorter = dataclasses.replace(report, layers=report.layers[:5])
    assert shorter.reasons == (
        "structure: the popular items are not those of the retained: 1",
        "contribution: did not run",
    )


def test_an_unconverged_fit_is_inconclusive_and_says_what_would_help(world: World) -> None:
    report = verify(MUTANTS["not converged (3 iterations)"](world))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert silent(report) == {"stationarity", "contribution"}
    assert all("iterations" in report.layers[k].advice for k in (4, 5))
    assert not all(control.passed for control in report.layers[5].controls)
    told = "\n".join(report.reasons)
    assert "contribution: could not answer (members pretended erased, a above 0.5: " in told
    assert "what would help: more iterations, or a higher regularization" in told


def test_objecting_people_are_tested_beside_the_erased(world: World) -> None:
    stale = world.hiding(world.erased[:3])
    rows = world.suspects["erased"]
    case = world.case(stale, suspects={"objecting": rows[:3], "erased": rows[3:]})
    found = {f.rule: f.count for f in verify(remembering(case)).layers[5].findings}
    assert found["the history of a person (objecting) is in the item factors"] == 3
    assert "the history of a person (erased) is in the item factors" not in found


def test_people_whose_items_nobody_else_has_are_told_as_not_measurable(world: World) -> None:
    empty = world.suspects["erased"][:2].copy()
    empty.data[:] = 0
    empty.eliminate_zeros()
    layer = verify(world.case(world.honest, suspects={"erased": empty})).layers[5]
    assert layer.value.split(";")[0] == "2 erased: 2 without a measurable contribution"


def test_factors_that_all_vanished_are_inconclusive_and_never_verified(world: World) -> None:
    """A regularization far too high drives every factor to 0: there is nothing to measure."""
    factors = world.honest
    nothing = type(factors)(0 * factors.user_factors, 0 * factors.item_factors)
    report = verify(remembering(world.case(nothing)))
    assert report.verdict is not Verdict.VERIFIED
    assert silent(report) >= {"contribution"}


def test_the_power_for_histories_as_long_as_the_suspects_is_told(world: World) -> None:
    value = verify(world.case(world.honest)).layers[5].value
    assert value.endswith("members with histories as long: 288 of 288 found")


def test_a_manifest_without_alpha_or_with_a_wrong_one_is_not_verified(world: World) -> None:
    case = world.case(world.honest)
    values = dict(case.stored.manifest.hyperparameters)
    for alpha in (None, 0.0, float("inf"), "5"):
        changed = case.stored.manifest.model_copy(
            update={"hyperparameters": {**values, "alpha": alpha}}
        )
        stored = dataclasses.replace(case.stored, manifest=changed)
        with pytest.raises(ArtifactCorrupt, match="alpha"):
            verify(dataclasses.replace(case, stored=stored))
    other = case.stored.manifest.model_copy(update={"hyperparameters": {**values, "alpha": 5.5}})
    stored = dataclasses.replace(case.stored, manifest=other)
    report = verify(remembering(dataclasses.replace(case, stored=stored)))
    assert "normal_equations" in refusing(report)


def test_a_missing_or_surplus_user_is_counted_and_the_algebra_still_answers(world: World) -> None:
    """An artifact that does not line up is no reason for a layer not to run."""
    smaller = without(world.before, [*world.erased, 5, 6])
    factors = world.fit(smaller)
    stored = dataclasses.replace(
        world.case(world.honest).stored, factors=factors, users=smaller.users, items=smaller.items
    )
    report = verify(
        world.case(world.honest, stored=stored, tombstones=tuple(f"t{u}" for u in smaller.users))
    )
    assert refusing(report) >= {"structure", "replay", "stationarity"}


def test_the_same_case_is_told_in_the_same_words(world: World) -> None:
    texts = [verify(world.case(world.honest)).facts() for _ in "ab"]
    assert texts[0] == texts[1]


def test_no_history_is_told(world: World) -> None:
    told = str(verify(world.case(world.stale)).facts())
    assert not any(user in told for user in world.before.users)
    assert not any(item in told for item in world.before.items)
