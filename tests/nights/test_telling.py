"""What a night tells is plain JSON, says how it ended, and names nobody."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.adapters.studies import TrialRecord
from lethe.cli import printing
from lethe.durable import canonical_json
from lethe.errors import (
    FilesRefused,
    PromotionRefused,
    RecipeFailed,
    StoreUnavailable,
    VerificationRefused,
)
from lethe.interactions.rights.register import Action
from lethe.nights import steps, telling
from lethe.nights.frame import Night
from lethe.nights.learning.training import Trained
from lethe.nights.learning.tuning import Tuned
from lethe.nights.review import describing
from tests.fakes.night_desk import World, name_of, stone_of

PEOPLE = ["customer-0000", "customer-0001"]
METRIC = "normalized_discounted_cumulative_gain_at_10"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.delenv("LETHE_REGISTER_URL", raising=False)
    made = World(tmp_path / "shop", PEOPLE)
    made.take_in(*PEOPLE)
    made.night()
    made.ask(Action.ERASE, PEOPLE[0])
    return made


def trial(number: int, value: float, state: Any = "complete") -> TrialRecord:
    curve = ((1, value / 2), (2, value))
    return TrialRecord(number, {"factors": 8}, value, state, 0.5, curve, {METRIC: value}, None)


def night_of(world: World) -> Night:
    night = Night(str(world.root), "2026-05-04 02:00:00", world.clock, resumed=False)
    world.versions.runs.open_night(night.name, {})
    night.trials.extend([("als", trial(0, 0.3)), ("als", trial(1, math.nan, "failed"))])
    night.timings.update({"tune": 1.5})
    world.workspace.journal.write_bytes(canonical_json({"name": night.name, "run": f"{0:032x}"}))
    return night


def trained(accepted: bool = True) -> Trained:
    board = [
        {"place": 1, "name": "als", "users": 9, "mean": 0.3, "low": 0.2, "high": 0.4,
         "means": {METRIC: 0.3, "coverage": math.nan}},
        {"place": 2, "name": "popular", "users": 9, "mean": math.nan, "low": math.nan,
         "high": math.nan, "means": {}},
    ]  # fmt: skip
    return Trained(
        recipe="als",
        hyperparameters={"factors": 8},
        seed=7,
        accepted=accepted,
        reasons=() if accepted else ("it is worse than popular",),
        metric=METRIC,
        metrics={METRIC: 0.3, "coverage": math.nan},
        leaderboard=board,
        comparisons={"popular": {"difference": math.nan, "low": 0.0, "high": 1.0, "p_worse": 1.0}},
        folder="candidates/als",
        users=2,
        items=3,
    )


def told(**more: Any) -> dict[str, Any]:
    return {"purge": {}, "trained": trained(), "version": 1, **more}


def test_the_stored_facts_are_json_without_nan(world: World) -> None:
    night = night_of(world)
    result = telling.write(world.desk, night, told(promotion={"previous": None}), None)
    page = Path(result["report"])
    stored = json.loads(page.with_suffix(".json").read_text(), parse_constant=_no_constant)
    assert stored == telling.stored_facts(page)
    assert stored["leaderboard"][1]["mean"] is None
    assert stored["trials"][1]["value"] is None
    assert stored["night"]["outcome"] == "promoted"
    assert (page.parent / "version-1.html").read_text() == page.read_text()
    assert world.versions.runs.kept[night.run].texts["report.html"] == page.read_text()
    json.loads(json.dumps(result), parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_neither_page_nor_facts_nor_summary_name_a_person(world: World) -> None:
    result = telling.write(world.desk, night_of(world), told(), PromotionRefused("no", ("a", "b")))
    said = json.dumps(result)
    for path in world.workspace.reports.rglob("*.*"):
        said += path.name + path.read_text()
    for person in PEOPLE:
        assert not any(name in said for name in (person, name_of(person), stone_of(person)))


@pytest.mark.parametrize(
    ("more", "failure", "outcome", "first"),
    [
        ({"promotion": {"previous": None}}, None, "promoted", "champion: version 1"),
        ({}, PromotionRefused("no", ("one", "two")), "refused", "  because one"),
        ({}, StoreUnavailable("the remote is away"), "failed", "  because the remote is away"),
        ({"version": None, "trained": None}, None, "nothing new", "champion: version 1"),
    ],
)
def test_the_last_screen_says_how_the_night_ended(
    world: World, more: dict[str, Any], failure: Any, outcome: str, first: str
) -> None:
    result = telling.write(world.desk, night_of(world), told(**more), failure)
    lines = result["text"].splitlines()
    assert lines[0].endswith(f": {outcome}")
    assert lines[1] == first
    assert (result["outcome"], result["champion"]) == (outcome, 1)
    assert result["requests"]["open"] == 1
    assert any(line.startswith("report: ") for line in lines)


@pytest.mark.parametrize(("version", "shown"), [(1, True), (2, False)])
def test_a_refused_night_shows_what_the_verifier_found_about_its_own_version(
    world: World, version: int, shown: bool
) -> None:
    night = night_of(world)
    found = {
        "digest": "c" * 64,
        "verdict": "REFUSED",
        "layers": [{"layer": "replay", "passed": False}],
        "clouds": [],
    }
    night.note(examined={"version": version, "facts": found})
    result = telling.write(world.desk, night, told(), VerificationRefused("no", ("replay",)))
    page = Path(result["report"]).read_text()
    assert ("verification refused this version" in page) is shown
    assert "Proved" not in page


def test_a_night_without_a_champion_says_so(tmp_path: Path) -> None:
    world = World(tmp_path / "empty", [])
    failure = RecipeFailed("study als: all 4 trials failed")
    result = telling.write(
        world.desk, night_of(world), {"purge": None, "trained": None, "version": None}, failure
    )
    assert "champion: none yet" in result["text"].splitlines()
    assert result["reasons"] == ["study als: all 4 trials failed"]


def test_the_night_ends_with_its_failure_before_the_refused_files() -> None:
    steps.conclude({}, None)
    steps.conclude({"purge": {"intake": {"files_refused": {}}}}, None)
    refused = {"purge": {"intake": {"files_refused": {"zero bytes": 2, "a column is missing": 1}}}}
    with pytest.raises(FilesRefused, match=r"3 landed files .*\(a column is missing; zero bytes\)"):
        steps.conclude(refused, None)
    with pytest.raises(RecipeFailed):
        steps.conclude(refused, RecipeFailed("no"))


def test_a_night_that_is_refused_tells_its_summary_all_the_same(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = PromotionRefused("version 2 is not promoted", ("it is worse than popular",))
    more = told(version=2, trained=trained(accepted=False))
    result = telling.write(world.desk, night_of(world), more, failure)
    with pytest.raises(PromotionRefused) as refused:
        steps.conclude({}, failure, result)
    printing.failure(str(failure), failure.exit_code, False, refused.value.summary)
    plain = capsys.readouterr()
    assert "champion: version 1" in plain.out
    assert "because it is worse than popular" in plain.out
    assert "not promoted: version 2 (als)" in plain.out
    assert f"report: {result['report']}" in plain.out
    assert plain.err.startswith("lethe: version 2 is not promoted")
    printing.failure(str(failure), failure.exit_code, True, refused.value.summary)
    machine = json.loads(capsys.readouterr().out)
    assert (machine["champion"], machine["version"], machine["exit_code"]) == (1, 2, 1)
    assert machine["reasons"] == ["it is worse than popular"]
    assert machine["report"] == result["report"]


def test_the_versions_description_tells_why_it_was_promoted_or_refused(world: World) -> None:
    night, notes = night_of(world), world.versions.descriptions
    notes[1] = "als\n\nVerdict: none yet.\n\nPromotion: none yet."
    refused = PromotionRefused("no", ("it is worse than\npopular",))
    telling.write(world.desk, night, told(), refused)
    assert notes[1].endswith("Promotion: refused by the night of 2026-05-04 02:00:00: it is worse "
                             "than popular.")  # fmt: skip
    telling.write(world.desk, night, told(promotion={"previous": None}), None)
    assert notes[1].startswith("als\n\nVerdict: none yet.\n\nPromotion: promoted by the night of")
    assert notes[1].count("Promotion: ") == 1
    telling.write(world.desk, night, told(version=7), refused)
    assert 7 not in notes, "a version that was destroyed is described no more"


DATA = {"digest": "d" * 32 + ".dir", "register_position": 4, "rows": 9, "users": 2, "items": 3}


def test_the_run_tells_how_the_night_ended_and_holds_its_studies(world: World) -> None:
    night = night_of(world)
    study = Tuned("als", "als-1", {"factors": 8}, 0.3, 2, 0, 1, {"factors": 1.0})
    refused = PromotionRefused("no", ("it is worse than\npopular",))
    telling.write(world.desk, night, told(data=DATA, tuned=[study]), refused)
    run = world.versions.runs.kept[night.run]

    title, outcome, verdict, first, *_ = run.note.split("\n\n")
    assert title == "## Night of 2026-05-04 02:00:00"
    assert outcome == "Outcome: refused: it is worse than popular."
    assert (verdict, first[:12]) == ("Verdict: **none**.", "Data version")
    assert "Recorded as solution version 1 (als)." in run.note
    assert (run.tags["outcome"], run.tags["recipe"]) == ("refused", "als")
    assert run.tags["data_version"] == DATA["digest"]
    assert run.metrics["validation"] == [(1, 0.15), (2, 0.3)]
    assert "how much each hyper-parameter" in run.texts["studies.html"]
    assert world.versions.runs.arranged_by == world.desk.params.promotion.metric


def test_the_curve_is_that_of_the_finalist_who_was_chosen(world: World) -> None:
    night = night_of(world)
    night.trials.append(("als", replace(trial(2, 0.2), params={"factors": 16})))
    study = Tuned("als", "als-1", {"factors": 16}, 0.4, 3, 0, 1, fitted_whole=2)
    telling.write(world.desk, night, told(data=DATA, tuned=[study]), None)
    assert world.versions.runs.kept[night.run].metrics["validation"] == [(1, 0.1), (2, 0.2)]


def test_a_night_without_a_version_says_so_in_its_run(world: World) -> None:
    night = night_of(world)
    telling.write(world.desk, night, told(version=None, trained=None), None)
    run = world.versions.runs.kept[night.run]

    assert run.note.endswith("Outcome: nothing new.\n\nVerdict: **none**.")
    assert run.tags["outcome"] == "nothing new"
    assert "recipe" not in run.tags


def test_descriptions_show_leaderboard_studies_and_the_quality_rule() -> None:
    version = {
        "digest": "d" * 32 + ".dir",
        "register_position": 4,
        "rows": 9,
        "users": 2,
        "items": 3,
    }
    study = Tuned("als", "als-1", {"factors": 8}, 0.3, 4, 1, 1, fitted_whole=2)
    said = describing.run_description("2026-05-04", trained(), [study], version, 3)
    assert "4 trials 0.3000 on the validation window (1 pruned, 1 failed; the best 2 fitted" in said
    assert "Recorded as solution version 3 (als)." in said
    assert "The quality rule accepts it." in said
    assert "worse than popular" in describing.version_description(trained(accepted=False), version)


def test_a_winner_that_was_set_aside_is_told_wherever_the_quality_rule_is(world: World) -> None:
    night, why = night_of(world), "ndcg fell from 0.3000 to 0.1000"
    made = replace(trained(), set_aside=(why,))
    answer = telling.write(world.desk, night, told(trained=made, data=DATA, tuned=[]), None)
    assert f"tonight's best was set aside: {why}" in answer["text"]
    run = world.versions.runs.kept[night.run]
    assert f"set aside: {why}" in run.note
    assert "validation" not in run.metrics, "no trial of tonight led to it"
    page = Path(answer["report"]).read_text(encoding="utf-8")
    assert "trained anew instead" in page


PLAIN = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
        st.floats(width=32).map(np.float64),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(value=PLAIN)
def test_any_value_becomes_json_and_only_what_is_not_finite_is_lost(value: Any) -> None:
    plain = telling._plain(value)
    json.loads(canonical_json(plain), parse_constant=_no_constant)
    assert telling._plain(plain) == plain
    if isinstance(value, float) and math.isfinite(value):
        assert plain == value
