"""Every word and number that a report tells of what its layers found."""

from __future__ import annotations

import pytest

from lethe.gate.proof import report
from lethe.gate.proof.report import Cloud, Control, Finding, LayerResult, Report, Verdict

LOW, HIGH = "0" * 64, "f" * 64
FIRST = ("structure", "manifest", "replay")


def reported(*layers: LayerResult, recipe: str = "lightfm") -> Report:
    return Report("a" * 64, "b" * 64, recipe, "data", 4, "c" * 64, 3, {}, 10, 5, layers)


def test_what_a_layer_found_could_not_answer_or_did_not_do_is_told_in_this_order() -> None:
    controls = (
        Control("one", "many", "3 of 9", False),
        Control("two", "at most 1", "0.5", True),
        Control("three", "above 0", "-1", False),
    )
    told = reported(
        LayerResult("structure", "?", "0", "7 odd", (Finding("structure", "a rule", 7),)),
        LayerResult("other", "?", "0", "silence", (), conclusive=False),
        LayerResult("manifest", "?", "0", "0", (), False, controls=controls, advice="patience"),
    )
    assert "\n".join(told.reasons) == (
        "structure: a rule: 7\n"
        "other: could not answer (silence)\n"
        "manifest: could not answer (one: 3 of 9, wanted many; three: -1, wanted above 0); "
        "what would help: patience\n"
        "replay: did not run"
    )
    assert told.verdict is Verdict.REFUSED
    assert reported(*(LayerResult(name, "?", "0", "0", ()) for name in FIRST)).reasons == ()


@pytest.mark.parametrize("conclusive", [True, False])
@pytest.mark.parametrize("found", [0, 1])
def test_a_layer_passed_if_it_answered_and_found_nothing(conclusive: bool, found: int) -> None:
    findings = (Finding("structure", "a rule", 1),) * found
    layer = LayerResult("structure", "?", "0", "0", findings, conclusive)
    assert layer.passed is (conclusive and not found)


def test_the_facts_are_these() -> None:
    layer = LayerResult(
        "structure", "a question", "at most 1", "2", (Finding("structure", "a rule", 7),), False,
        "statistic", (Control("one", "w", "f", False),), "advice", ({"item": "secret"},), 2.5, 1.5,
        "power", "alarms", (Cloud("cloud", ((0, 1),)),),
    )  # fmt: skip
    facts = reported(layer).facts()
    assert facts["layers"] == [
        {
            "layer": "structure",
            "question": "a question",
            "threshold": "at most 1",
            "value": "2",
            "passed": False,
            "conclusive": False,
            "statistic": "statistic",
            "measured": 2.5,
            "limit": 1.5,
            "power": "power",
            "false_alarms": "alarms",
            "controls": [{"name": "one", "wanted": "w", "found": "f", "passed": False}],
            "advice": "advice",
            "findings": [{"rule": "a rule", "count": 7}],
        }
    ]
    del facts["layers"]
    assert facts == {
        "verdict": "REFUSED",
        "artifact_digest": "a" * 64,
        "matrix_digest": "b" * 64,
        "recipe": "lightfm",
        "data_version": "data",
        "register_position": 4,
        "register_head": "c" * 64,
        "trained_at_position": 3,
        "environment": {},
        "users": 10,
        "items": 5,
        "canaries": 0,
    }
    assert "secret" not in repr(layer)
    assert reported(layer).clouds() == [{"name": "cloud", "bins": [[0, 1]], "silent": 0}]
    plain = reported(LayerResult("structure", "?", "0", "0", ())).facts()["layers"][0]
    assert (plain["measured"], plain["limit"]) == (None, None)


def test_people_are_counted_in_bins_of_a_twentieth_and_beyond_the_ends_in_the_last() -> None:
    for number in range(-20, 40):
        assert Cloud.of("", [number / 20]).bins == ((number, 1),)
        assert Cloud.of("", [number / 20 + 0.049]).bins == ((number, 1),)
    assert Cloud.of("", [-1.01, -9.0, -1.0]).bins == ((-20, 3),)
    assert Cloud.of("", [2.0, 9.0, 1.99]).bins == ((39, 3),)
    # what rounding moves is a billionth of a bin, and no more
    assert Cloud.of("", [0.25 - 1e-11, 0.25 - 2e-10]).bins == ((4, 1), (5, 1))
    silent = Cloud.of("", [float("nan")] * 3 + [float("inf"), float("-inf"), 0.5])
    assert (silent.silent, silent.bins) == (5, ((10, 1),))
    assert Cloud("", ()).silent == 0


def test_the_layers_that_a_recipe_needs_are_these() -> None:
    assert report.required_layers("lightfm") == FIRST
    algebra = ("normal_equations", "stationarity", "contribution")
    for recipe in ("als", "new"):
        assert report.required_layers(recipe) == (*FIRST, *algebra)
