"""The page of closed requests says what was done, once, however often the night was cut off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lethe.durable import read_json, write_json
from lethe.errors import StoreUnavailable
from lethe.estate.vault import Vault
from lethe.interactions.intake.quarantine import Quarantine
from lethe.interactions.rights.register import Action, Register, Request
from lethe.interactions.rights.standing import CANARY
from lethe.nights.forgetting import retiring, testifying
from lethe.nights.frame import Night
from lethe.reports.evidence import newest_page
from lethe.stages import opening
from tests.fakes.data_versions import FakeDataVersions
from tests.fakes.night_desk import World, name_of, stone_of
from tests.fakes.night_report import Page
from tests.fakes.solution_versions import FakeSolutionVersions
from tests.kills import Killed, dying_at
from tests.nights.forgotten import (
    ANN,
    BOB,
    CAT,
    EVE,
    PEOPLE,
    after_one_night,
    in_need,
)
from tests.nights.test_faults import Again

FIRST, SECOND, THIRD = (f"2026-03-0{day} 02:00:00" for day in (3, 4, 5))
TOLD: list[tuple[Any, str]] = [
    (Night, "note"),
    (FakeSolutionVersions, "destroy"),
    (FakeDataVersions, "destroy"),
    (Quarantine, "forget"),
    (retiring, "write_json"),
    (Vault, "forget"),
    (Register, "close"),
    (testifying, "write_bytes"),
    (testifying, "write_json"),
]


def known_here(world: World) -> World:
    write_json(world.workspace.fingerprints, {"signing": "0123456789abcdef"})
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return known_here(after_one_night(tmp_path / "shop"))


def told(world: World, name: str = FIRST, *, killed: bool = False) -> dict[str, Any]:
    """Step 10 of the night of that name; its journal goes when the night ends by itself."""
    journal = world.workspace.journal
    if not journal.is_file():
        run = world.versions.runs.open_night(name, {})
        write_json(journal, {"name": name, "started": world.clock, "run": run})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "open_data", lambda _: world.data)
        patch.setattr(opening, "now", lambda: world.clock)
        done = testifying.retired(world.desk, Night(str(world.root), name, world.clock, False))
    if not killed:
        journal.unlink()
    return done


def record(world: World, name: str) -> dict[str, Any]:
    place = world.workspace.evidence / f"{testifying.file_name(name)}.json"
    return dict(read_json(place)) if place.is_file() else {}


def page(world: World, name: str) -> Page:
    place = world.workspace.evidence / f"{testifying.file_name(name)}.html"
    return Page(place.read_text(encoding="utf-8"))


def test_the_page_says_what_was_asked_removed_and_searched_and_names_nobody(world: World) -> None:
    world.ask(Action.ERASE, ANN, "stranger-1")
    world.ask(Action.OBJECT, CAT)
    world.night()
    done = told(world)

    evidence = done["evidence"]
    assert (evidence["page"], evidence["requests"]) == ("night-2026-03-03-020000.html", 3)
    path = world.workspace.evidence / evidence["page"]
    assert newest_page(world.workspace) == str(path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == evidence["digest"]
    assert record(world, FIRST)["page"] == evidence["digest"]
    text = page(world, FIRST).text()
    for line in (
        "3 requests closed",
        "1 erasure was of somebody never known here",
        "found nobody",
        "Trained models destroyed that held somebody MLflow 1",
        "Older data versions rewritten without the people DVC 1",
        "People forgotten the vault, the one place that knew id and pseudonym 1",
        "0123456789abcdef",
        world.desk.register.head().digest,
        *(state.evidence for state in world.desk.register.requests() if state.evidence),
    ):
        assert line in text, line
    said = path.read_text() + str(record(world, FIRST))
    for raw in (*PEOPLE, "stranger-1"):
        assert not any(name in said for name in (raw, name_of(raw), stone_of(raw)))


def test_what_an_earlier_night_removed_for_the_same_requests_is_on_the_page(world: World) -> None:
    world.take_in(*PEOPLE)
    world.night()
    world.ask(Action.ERASE, ANN)
    world.night(promoted=False)
    first = told(world, FIRST)
    assert (first["evidence"], first["versions"]) == (None, 1)
    assert record(world, FIRST)["removed"]["versions"] == 1
    world.night()
    assert told(world, SECOND)["evidence"]["requests"] == 1

    text = page(world, SECOND).text()
    assert "These requests were carried out in 2 nights" in text
    assert "Trained models destroyed that held somebody MLflow 2" in text
    world.ask(Action.ERASE, BOB)
    world.night()
    told(world, THIRD)
    assert "carried out in one night" in page(world, THIRD).text()
    assert newest_page(world.workspace) is not None


def test_each_notice_to_a_recipient_is_told_once_with_how_many_requests_it_names() -> None:
    notice = {"recipient": "a printer", "asked": "erasure", "delivered": 7, "notice": "b" * 64}
    told_of = {1: {"recipients_told": [notice]}, 2: {"recipients_told": [notice]}, 3: {}}
    assert testifying._recipients(told_of) == [{**notice, "requests": 2}]


def test_a_night_without_requests_of_people_leaves_no_record(world: World) -> None:
    assert told(world)["evidence"] is None
    world.desk.register.append([Request(Action.ERASE, stone_of(EVE), world.clock, CANARY)])
    world.night()
    assert told(world, SECOND)["evidence"] is None
    assert list(world.workspace.evidence.glob("*")) == []


def test_a_store_that_fails_leaves_what_went_before_it_on_record(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise StoreUnavailable("the remote does not answer")

    world.ask(Action.ERASE, ANN)
    world.night()
    with monkeypatch.context() as patch:
        patch.setattr(retiring, "forget_history", fail)
        with pytest.raises(StoreUnavailable, match="does not answer"):
            told(world)
    world.workspace.journal.unlink()
    assert record(world, FIRST)["removed"]["versions"] == 1
    told(world, SECOND)
    assert "Trained models destroyed that held somebody MLflow 1" in page(world, SECOND).text()


def test_requests_that_were_closed_before_a_restored_backup_get_their_page_afterwards(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal of a killed night is in no backup."""

    def killed(_: Any) -> str:
        raise Killed

    world.ask(Action.ERASE, ANN)
    world.night()
    with monkeypatch.context() as patch:
        patch.setattr(testifying, "render", killed)
        with pytest.raises(Killed):
            told(world)
    world.workspace.journal.unlink()
    assert newest_page(world.workspace) is None
    told(world, SECOND)
    assert "1 request closed" in page(world, FIRST).text()
    assert "ended before it could write down what it removed" in page(world, FIRST).text()
    assert record(world, SECOND) == {}


# --- kills --------------------------------------------------------------------------------------


def killing(world: World, at: int | None) -> int:
    """Step 10, killed right before call number `at` of what a page tells; how many calls came."""
    return dying_at(at, TOLD, lambda: told(world, killed=True))


def ends_as(world: World) -> dict[str, Any]:
    """Record and page, without how often it took, and what only a whole attempt can count."""
    facts = record(world, FIRST)
    shown = page(world, FIRST).text()
    assert (
        hashlib.sha256(Path(newest_page(world.workspace) or "").read_bytes()).hexdigest()
        == (facts["page"])
    )
    counted = {name: facts["removed"][name] for name in facts["removed"] if name != "objects"}
    asked = shown[shown.index("What was asked, and when") : shown.index("What was removed, and")]
    return {
        "closed": facts["closed"],
        "removed": counted,
        "asked": asked,
        "pages": sorted(path.name for path in world.workspace.evidence.glob("*.html")),
    }


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Again, dict[str, Any]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LETHE_REGISTER_URL", raising=False)
        start = Again.of(known_here(in_need(tmp_path_factory.mktemp("told") / "shop")))
        killing(start.world, None)
        yield start, ends_as(start.world)


def all_kills(again: tuple[Again, dict[str, Any]], *, last_first: bool = False) -> None:
    start, expected = again
    calls = killing(start.back(), None)
    assert calls > len(TOLD)
    for at in reversed(range(calls)) if last_first else range(calls):
        world = start.back()
        killing(world, at)
        told(world)
        assert ends_as(world) == expected, f"call {at}"


def test_a_kill_before_any_call_that_the_page_tells_of_neither_loses_nor_doubles_anything(
    again: tuple[Again, dict[str, Any]],
) -> None:
    assert again[1]["removed"]["versions"] == 1
    assert again[1]["removed"]["vault_rows"] == 2
    assert again[1]["removed"]["quarantine_lines"] == 1
    all_kills(again)


def what_is_there_is_noted_afterwards(patch: pytest.MonkeyPatch) -> None:
    """As if each attempt looked only for itself."""
    original = Night.noted
    patch.setattr(
        Night, "noted", lambda night, name: None if name == "stood" else original(night, name)
    )


def only_what_this_attempt_closed_is_told(patch: pytest.MonkeyPatch) -> None:
    original = retiring._write_evidence
    fresh: set[int] = set()

    def write(desk: Any, state: Any, *others: Any) -> str:
        fresh.add(state.entry.position)
        return original(desk, state, *others)

    def evidence(desk: Any) -> dict[int, Any]:
        folder = desk.workspace.evidence
        return {at: read_json(folder / f"request-{at}.json") for at in fresh}

    def retire(desk: Any, night: str) -> Any:
        fresh.clear()
        return retiring.retire(desk, night)

    patch.setattr(retiring, "_write_evidence", write)
    patch.setattr(testifying, "retire", retire)
    patch.setattr(testifying, "_evidence", evidence)


@pytest.mark.parametrize(
    "mutant",
    [what_is_there_is_noted_afterwards, only_what_this_attempt_closed_is_told],
    ids=lambda mutant: mutant.__name__,
)
def test_a_page_that_knows_only_the_last_attempt_is_found_out(
    again: tuple[Again, dict[str, Any]],
    mutant: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutant(monkeypatch)
    with pytest.raises((AssertionError, ValueError, KeyError)):
        all_kills(again, last_first=True)
