"""The verdict: VERIFIED only if every required layer ran, answered, and found nothing."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.durable import canonical_json
from lethe.gate.proof.report import (
    ALGEBRA_LAYERS,
    REQUIRED_LAYERS,
    Cloud,
    Finding,
    LayerResult,
    Report,
    Verdict,
)

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


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.floats(), max_size=30), order=st.randoms(use_true_random=False))
def test_a_cloud_keeps_how_many_and_not_who(values: list[float], order: object) -> None:
    cloud = Cloud.of("group", values)
    shuffled = list(values)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert cloud == Cloud.of("group", shuffled)
    assert sum(people for _, people in cloud.bins) + cloud.silent == len(values)
    assert [place for place, _ in cloud.bins] == sorted({place for place, _ in cloud.bins})
    assert len(cloud.bins) <= 60


def test_clouds_are_told_to_the_page_and_not_signed() -> None:
    cloud = Cloud.of("group", [0.0, 1.0])
    layers = [LayerResult(name, "?", "0", "0", (), clouds=(cloud,)) for name in REQUIRED_LAYERS]
    made = report(layers)
    assert made.clouds() == [cloud.facts()] * len(REQUIRED_LAYERS)
    assert "bins" not in json.dumps(made.facts())


def test_a_number_that_is_not_finite_is_none_in_the_facts() -> None:
    layer = LayerResult("structure", "?", "0", "0", (), measured=float("inf"), limit=float("nan"))
    facts = report([layer]).facts()["layers"][0]
    assert (facts["measured"], facts["limit"]) == (None, None)


@settings(max_examples=60, deadline=None)
@given(
    layers=st.lists(RESULTS.filter(lambda layer: layer.layer in REQUIRED_LAYERS), max_size=3),
    ran=st.sets(st.sampled_from(ALGEBRA_LAYERS)),
    silent=st.sampled_from((None, *ALGEBRA_LAYERS)),
)
def test_the_residual_test_counts_only_if_its_three_layers_ran_and_answered(
    layers: list[LayerResult], ran: set[str], silent: str | None
) -> None:
    algebra = [LayerResult(name, "?", "0", "0", (), conclusive=name != silent) for name in ran]
    assert report([*layers, *algebra], "als").residual_tested is (
        ran == set(ALGEBRA_LAYERS) and silent is None
    )
