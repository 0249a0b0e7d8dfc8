"""The verdict: VERIFIED only if every required layer ran, answered, and found nothing."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.durable import canonical_json
from lethe.gate.proof.report import REQUIRED_LAYERS, Finding, LayerResult, Report, Verdict

RANK = {Verdict.VERIFIED: 0, Verdict.INCONCLUSIVE: 1, Verdict.REFUSED: 2}
SURPLUS = ("another",)

RESULTS = st.builds(
    lambda layer, found, conclusive: LayerResult(
        layer=layer,
        question="?",
        threshold="0",
        value="0",
        findings=tuple(Finding(layer, f"rule {number}", number + 1) for number in range(found)),
        conclusive=conclusive,
    ),
    st.sampled_from(REQUIRED_LAYERS + SURPLUS),
    st.sampled_from([0, 0, 0, 0, 1, 2]),
    st.sampled_from([True, True, True, False]),
)
CLEAN = st.lists(RESULTS, max_size=2).map(
    lambda more: [
        *(LayerResult(layer, "?", "0", "0", ()) for layer in REQUIRED_LAYERS),
        *more,
    ]
)
LAYERS = st.one_of(st.lists(RESULTS, max_size=7), CLEAN)


def report(layers: list[LayerResult], recipe: str = "lightfm") -> Report:
    """Of a recipe that needs the first three layers and no more."""
    return Report(
        artifact_digest="a" * 64,
        matrix_digest="b" * 64,
        recipe=recipe,
        data_version="d" * 32 + ".dir",
        register_position=4,
        register_head="c" * 64,
        trained_at_position=3,
        environment={"python": "3.11"},
        users=10,
        items=5,
        layers=tuple(layers),
    )


@settings(max_examples=300, deadline=None)
@given(layers=LAYERS)
def test_the_verdict_is_the_worst_that_any_layer_says(layers: list[LayerResult]) -> None:
    ran = {layer.layer for layer in layers}
    found = any(layer.findings for layer in layers)
    expected = (
        Verdict.REFUSED
        if found or not set(REQUIRED_LAYERS) <= ran
        else Verdict.INCONCLUSIVE
        if not all(layer.conclusive for layer in layers)
        else Verdict.VERIFIED
    )
    assert report(layers).verdict is expected


@settings(max_examples=100, deadline=None)
@given(layers=LAYERS, order=st.randoms(use_true_random=False), more=RESULTS)
def test_order_does_not_matter_and_another_answer_makes_nothing_better(
    layers: list[LayerResult], order: object, more: LayerResult
) -> None:
    before = report(layers).verdict
    shuffled = list(layers)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert report(shuffled).verdict is before
    if set(REQUIRED_LAYERS) <= {layer.layer for layer in layers}:
        assert RANK[report([*layers, more]).verdict] >= RANK[before]


@settings(max_examples=100, deadline=None)
@given(layers=LAYERS)
def test_no_recipe_is_verified_on_less(layers: list[LayerResult]) -> None:
    for recipe in ("als", "one that nobody knows"):
        assert RANK[report(layers, recipe).verdict] >= RANK[report(layers).verdict]


def test_no_layers_at_all_are_refused() -> None:
    assert report([]).verdict is Verdict.REFUSED


@settings(max_examples=60, deadline=None)
@given(layers=LAYERS)
def test_the_facts_are_json_and_say_the_same(layers: list[LayerResult]) -> None:
    made = report(layers)
    facts = json.loads(canonical_json(made.facts()))
    assert facts["verdict"] == made.verdict
    told = [
        (layer["layer"], finding["rule"], finding["count"])
        for layer in facts["layers"]
        for finding in layer["findings"]
    ]
    assert told == [(found.layer, found.rule, found.count) for found in made.findings]
    assert [layer["passed"] for layer in facts["layers"]] == [layer.passed for layer in layers]
