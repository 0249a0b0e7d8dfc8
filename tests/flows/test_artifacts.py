"""Artifacts are pictures: made where somebody can look at them, missing without harm."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prefect import artifacts as prefects
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import own_server
from flows.shown import artifacts
from lethe.durable import write_json
from lethe.nights.saying.events import STEPS, iterated, say
from lethe.reports.brief import tables
from tests.fakes import night_report

LASTING = "http://127.0.0.1:1/api"
Made = list[tuple[str, Any]]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """What a server would be asked for, in order: key and content, or share and description."""
    asked: Made = []

    def create(content: Any, key: str, said: str) -> str:
        asked.append((key, content))
        return key

    def update(key: str, share: float, said: str) -> None:
        asked.append((said, share))

    for kind in ("table", "markdown", "progress"):
        monkeypatch.setattr(prefects, f"create_{kind}_artifact", create)
    monkeypatch.setattr(prefects, "update_progress_artifact", update)
    monkeypatch.setattr(flow_run, "get_id", lambda: "0" * 32)
    return asked


@pytest.fixture
def result(tmp_path: Path) -> dict[str, Any]:
    """A night's answer, with the facts beside its page."""
    facts = night_report.night()
    write_json(tmp_path / "night.json", {**facts, "trials": []})  # theirs hold a NaN
    return {"report": str(tmp_path / "night.html")}


def test_a_lasting_server_gets_progress_by_step_and_what_the_night_found(
    made: Made, result: dict[str, Any]
) -> None:
    with temporary_settings({PREFECT_API_URL: LASTING}):
        with artifacts.progress("Shop & Co", 2):
            for step in (*STEPS[:5], "tune", *STEPS[5:]):
                say(step, "begins", event="start")
        artifacts.night("Shop & Co", result)

    assert made[0] == ("shop-co-progress", 0.0)
    steps = made[1 : len(STEPS) + 1]
    assert [said for said, _ in steps] == [
        f"step {number} of 11: {step}" for number, step in enumerate(STEPS, start=1)
    ]
    assert [share for _, share in steps] == sorted({share for _, share in steps})
    assert made[len(STEPS) + 1] == ("ended", 100.0)
    assert [key for key, _ in made[len(STEPS) + 2 :]] == [
        "shop-co-funnel", "shop-co-leaderboard", "shop-co-certificate",
    ]  # fmt: skip


def searched(clock: Callable[[float], object]) -> None:
    """Two studies of three trials of twenty iterations, a second each."""
    for recipe in ("als", "lightfm"):
        say("tune", "begins", event="start")
        for trial in (1, 2, 3):
            for iteration in range(1, 21):
                clock(1.0)
                iterated(iteration)
            value = {"als": 0.25, "lightfm": 0.125}[recipe] / trial
            say("tune", "told", {"recipe": recipe, "trial": trial, "trials": 3, "value": value},
                event="trial")  # fmt: skip


@pytest.mark.parametrize(("takes", "between"), [(0.0, 5.0), (0.5, 50.0)])
def test_a_search_shows_trials_and_the_best_so_far_every_few_seconds_and_less_if_that_is_slow(
    made: Made, monkeypatch: pytest.MonkeyPatch, takes: float, between: float
) -> None:
    now = [0.0]
    at: list[float] = []

    def clock(more: float = 0.0) -> float:
        now[0] += more
        return now[0]

    def update(_: str, share: float, said: str) -> None:
        at.append(clock())
        made.append((said, share))
        clock(takes)

    monkeypatch.setattr(prefects, "update_progress_artifact", update)
    with temporary_settings({PREFECT_API_URL: LASTING}), artifacts.progress("shop", 2, clock):
        for step in STEPS[:4]:
            say(step, "begins", event="start")
        searched(clock)
        say("train", "begins", event="start")
    searching = [
        (when, *told) for when, told in zip(at, made[1:], strict=True) if "tune" in told[0]
    ]
    times = [when for when, *_ in searching]
    assert all(later - one >= between for one, later in pairwise(times))
    assert len(times) >= 100 / between, "it was said too seldom"
    shares = [share for _, share in made]
    assert shares == sorted(shares)
    assert 100 * 4 / 11 <= min(s for *_, s in searching) < max(s for *_, s in searching) < 500 / 11
    if not takes:
        assert searching[0][1] == "step 5 of 11: tune"
        assert "step 5 of 11: tune, next: 5 iterations" in [said for _, said, _ in searching]
        assert "step 5 of 11: tune, als 1 of 3 trials, best 0.2500, next: 5 iterations" in [
            said for _, said, _ in searching
        ]
        assert searching[-1][1].startswith("step 5 of 11: tune, lightfm 2 of 3 trials, best 0.2500")
    assert made[-2:] == [("step 6 of 11: train", 500 / 11), ("ended", 100.0)]


@pytest.mark.parametrize("address", [None, LASTING])
def test_a_server_of_the_command_s_own_and_none_get_nothing(
    address: str | None, made: Made, result: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(own_server, "_PASSING", {LASTING})
    with temporary_settings({PREFECT_API_URL: address}):
        with artifacts.progress("shop", 2):
            say("intake", "begins", event="start")
        artifacts.night("shop", result)
        artifacts.experiment({"leaderboard": [], "metric": "m", "shop": "shop"})

    assert made == []


def test_a_server_that_refuses_is_told_once_and_costs_no_more(
    made: Made, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def refuse(*_: Any) -> None:
        raise ConnectionError("the address of somebody")

    for kind in ("create_table", "create_markdown", "update_progress"):
        monkeypatch.setattr(prefects, f"{kind}_artifact", refuse)
    with temporary_settings({PREFECT_API_URL: LASTING}):
        with artifacts.progress("shop", 2):
            for step in STEPS:
                say(step, "begins", event="start")
            searched(lambda _: None)
        artifacts.night("shop", result)

    said = capsys.readouterr().err
    assert len(re.findall("an artifact was not made: ConnectionError", said)) == 2
    assert "somebody" not in said
    assert made == [("shop-progress", 0.0)]


def test_the_tables_say_what_the_page_says() -> None:
    facts = night_report.night()
    funnel = {row["step"]: row["rows"] for row in tables.funnel(facts)}

    assert funnel["Rows read"] == facts["intake"]["rows_read"]
    assert funnel["Test"] == facts["split"]["windows"]["test"]
    assert [(row["place"], row["NDCG@10"]) for row in tables.leaderboard(
        facts["leaderboard"], facts["metric"]
    )] == [(1, "0.1423"), (2, "0.1398"), (3, "0.1102"), (4, "0.0713")]  # fmt: skip
    words = tables.certificate(facts)
    assert f"> {night_report.CLAIM}" in words
    assert night_report.CERTIFICATE in words


@pytest.mark.parametrize("spoil", ["verdict", "claim of another data version", "a layer"])
def test_no_claim_is_shown_that_the_certificate_does_not_bear_out(spoil: str) -> None:
    facts = night_report.night()
    if spoil == "verdict":
        facts["certificate"]["verdict"] = "REFUSED"
    elif spoil == "a layer":
        facts["certificate"]["layers"].pop()
    else:
        facts["certificate"]["data_version"] = "e" * 32

    words = tables.certificate(facts)
    assert night_report.CLAIM not in words
    assert words.startswith("## Not proved")
