"""What a night says to machines: every step's start and end, one object a line, and nobody."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any, NoReturn

import pytest

from lethe.cli import printing
from lethe.errors import BadConfiguration
from lethe.nights.frame import under_way
from lethe.nights.saying import events
from lethe.nights.saying.events import STEPS
from tests.watched import Shop


def strict(_: str) -> NoReturn:
    raise ValueError("JSON knows no such constant")


def parsed(log: str) -> list[dict[str, Any]]:
    """Every line as an object, as a reader that is not Python would read it."""
    return [json.loads(line, parse_constant=strict) for line in log.splitlines()]


@pytest.fixture(scope="module")
def log(small_night: Shop) -> str:
    """All that the small night wrote on standard error under LETHE_LOG=json."""
    return small_night.root.with_name("small-night.night.log").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def people(small_night: Shop) -> set[str]:
    """Ids, pseudonyms and tombstones of everybody whom the vault knows."""
    with closing(sqlite3.connect(small_night.root / ".lethe" / "vault.db")) as link:
        return {cell for row in link.execute("SELECT * FROM people") for cell in row}


def named(log: str, people: set[str]) -> int:
    """How many people are named somewhere in it."""
    return sum(person in log for person in people)


def test_every_step_begins_and_ends_in_order_on_lines_that_parse(log: str) -> None:
    told = parsed(log)
    ran = [(one["step"], one["event"]) for one in told if one["event"] in {"start", "end"}]

    assert ran == [
        ("night", "start"),
        *((step, event) for step in STEPS for event in ("start", "end")),
        ("night", "end"),
    ]
    assert all(one["seconds"] >= 0 for one in told if one["event"] == "end")
    assert not any("error" in one for one in told)
    assert len({one["night"] for one in told}) == 1
    assert [one["time"] for one in told] == sorted(one["time"] for one in told)


def test_counts_stand_beside_the_words(log: str) -> None:
    told = parsed(log)
    counted = {
        one["step"]: one["counts"] for one in told if one["event"] == "said" and one.get("counts")
    }
    trials = [one for one in told if one["event"] == "trial"]

    assert counted["intake"]["files"] >= 1
    assert counted["version"]["users"] > 40
    assert {"train", "validation", "test", "excluded_users"} == counted["split"].keys()
    assert counted["promote"] == {"version": 1}
    assert [one["counts"]["trial"] for one in trials] == [1, 2]
    assert all(one["counts"]["iterations"] == 4 and one["seconds"] > 0 for one in trials)


def test_nobody_is_named_and_whoever_names_somebody_is_found_out(
    log: str, people: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(people) > 150
    assert named(log, people) == 0

    monkeypatch.setenv("LETHE_LOG", "json")
    for person in sorted(people)[:: len(people) // 9]:
        events.say("purge", f"rows of {person} out")
        assert named(capsys.readouterr().err, people) == 1
        events.say("purge", "rows out", {"users_out": person})
        assert named(capsys.readouterr().err, people) == 1


def test_a_trial_that_failed_has_no_value_and_a_step_that_failed_says_of_which_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks_off() -> None:
        with events.speaking("night 2026-03-01 03:15:00"):
            events.say("tune", "als trial 1/2: failed nan", {"value": float("nan"), "trial": 1})
            raise ZeroDivisionError("shopper-1")

    monkeypatch.setenv("LETHE_LOG", "json")
    with pytest.raises(ZeroDivisionError):
        breaks_off()
    printing.failure("it is refused", 1, as_json=False)
    start, trial, end, last = parsed(capsys.readouterr().err)

    assert (start["step"], start["event"]) == ("night", "start")
    assert trial["counts"] == {"trial": 1}
    assert (end["event"], end["error"]) == ("end", "ZeroDivisionError")
    assert "shopper-1" not in json.dumps(end)
    assert (last["event"], last["text"], last["counts"]) == (
        "failed", "it is refused", {"exit_code": 1},
    )  # fmt: skip
    assert "night" not in last


def test_without_the_variable_lines_are_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LETHE_LOG", raising=False)
    events.say("tune", "als trial 1/2: complete 0.5000", {"trial": 1}, event="trial")
    events.note("tune", "end", seconds=1.0)
    printing.failure("it is refused", 1, as_json=False)
    said = capsys.readouterr().err.splitlines()

    assert [line[9:] for line in said[:1]] == [" 5/11 tune     als trial 1/2: complete 0.5000"]
    assert said[1:] == ["lethe: it is refused"]


def test_a_form_that_there_is_not_is_refused_before_anything_is_done(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_LOG", "xml")
    with pytest.raises(BadConfiguration, match="LETHE_LOG"), under_way(str(shop.root)):
        pytest.fail("the night began")
    assert not (shop.root / ".lethe" / "night.json").exists()
