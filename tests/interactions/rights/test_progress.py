"""Deadlines: two further months, once, in time, for a reason, and never changed afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.errors import ArtifactCorrupt, BadRequest, StoreUnavailable
from lethe.interactions.rights.deadlines import EXTENDED_MONTHS, due_date
from lethe.interactions.rights.merges import Links
from lethe.interactions.rights.progress import (
    Extension,
    RequestState,
    checked_extensions,
    extended,
    sift,
    state_of,
)
from lethe.interactions.rights.register import Action, Closure, Entry, Register, Request
from lethe.interactions.rights.standing import Fold

A, B, C = (frozenset({letter * 64}) for letter in "abc")
RECEIVED = int(datetime(2025, 1, 31, 12, tzinfo=UTC).timestamp())
DAY = 86_400
GENESIS_OF_EXTENSIONS = "88db6cf4d1542569924a0c92a09606f383e7f26a0f2277448f2ea6acccef52a9"


def ask(action: Action, who: frozenset[str], received: int = RECEIVED) -> Request:
    [person] = who
    return Request(action, person, received)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "register.db"


@pytest.fixture
def register(path: Path) -> Iterator[Register]:
    register = Register.open(f"sqlite:///{path}", wait_seconds=0.2)
    register.initialise()
    register.append([ask(Action.ERASE, A), ask(Action.OBJECT, B)])
    yield register
    register.engine.dispose()


@given(st.integers(0, 4_000_000_000))
def test_an_extended_request_is_due_on_the_same_day_three_months_later_or_a_months_last(
    received: int,
) -> None:
    start = datetime.fromtimestamp(received, UTC)
    end = datetime.fromtimestamp(due_date(received, EXTENDED_MONTHS), UTC)
    next_day = datetime.fromtimestamp(due_date(received, EXTENDED_MONTHS) + DAY, UTC)

    assert (end.year * 12 + end.month) - (start.year * 12 + start.month) == 3
    assert end.day == start.day or (end.day < start.day and next_day.month != end.month)
    assert (end.hour, end.minute, end.second) == (start.hour, start.minute, start.second)


def test_an_extension_moves_the_due_date_and_tells_its_reason(register: Register) -> None:
    made = register.extend([A], "many-requests", RECEIVED + DAY)
    erased, objecting = register.requests()

    assert [one.position for one in made] == [1]
    assert erased.extension == made[0]
    assert datetime.fromtimestamp(erased.due, UTC).date().isoformat() == "2025-04-30"
    assert (erased.extension.reason, objecting.extension) == ("many-requests", None)
    assert not erased.overdue(erased.entry.due + 1)
    assert erased.overdue(erased.due + 1)
    assert register.check_chain() == register.head()
    assert register.head().position == 2  # the chain of requests stays as it is


@pytest.mark.parametrize(
    ("people", "at", "rule"),
    [
        ([A, C], RECEIVED + DAY, "1 x no request is open"),
        ([A], due_date(RECEIVED) + 1, "1 x the first month is over"),
        ([A, B], RECEIVED + 2 * DAY, "1 x it was extended before"),
    ],
    ids=["nothing open", "late", "twice"],
)
def test_one_extension_that_may_not_be_keeps_all_of_them_out(
    register: Register, people: list[frozenset[str]], at: int, rule: str
) -> None:
    if "before" in rule:
        register.extend([B], "complex", RECEIVED + DAY)
    before = [state.extension for state in register.requests()]
    with pytest.raises(BadRequest, match=rule) as caught:
        register.extend(people, "complex", at)
    assert "nothing was extended" in str(caught.value)
    assert not any(stone in str(caught.value) for who in people for stone in who)
    assert [state.extension for state in register.requests()] == before


def test_the_last_second_of_the_first_month_is_in_time(register: Register) -> None:
    assert len(register.extend([A, B], "complex", due_date(RECEIVED))) == 2


def test_a_reason_with_words_is_refused(register: Register) -> None:
    with pytest.raises(BadRequest, match="reason code"):
        register.extend([A], "she wrote on Monday", RECEIVED)


def test_a_closed_request_has_nothing_to_extend_and_keeps_what_it_had(register: Register) -> None:
    register.extend([A], "complex", RECEIVED + DAY)
    register.close(Closure(1, "closed", "e" * 64, RECEIVED + 2 * DAY, 3))

    assert register.requests()[0].extension is not None
    with pytest.raises(BadRequest, match="no request is open"):
        register.extend([A], "complex", RECEIVED + 2 * DAY)


TAMPERINGS = {
    "due": "UPDATE extensions SET due = due + 86400 WHERE number = 1",
    "reason": "UPDATE extensions SET reason = 'other' WHERE number = 2",
    "at": "UPDATE extensions SET at = at - 1 WHERE number = 1",
    "position": "UPDATE extensions SET position = 3 WHERE number = 2",
    "no such request": "UPDATE extensions SET position = 9 WHERE number = 2",
    "first dropped": "DELETE FROM extensions WHERE number = 1",
    "closed up": "DELETE FROM extensions WHERE number = 1; UPDATE extensions SET number = 1",
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_an_edited_or_dropped_extension_is_noticed(
    register: Register, path: Path, tampering: str
) -> None:
    register.append([ask(Action.OBJECT, C)])
    register.extend([A], "complex", RECEIVED + DAY)
    register.extend([B], "complex", RECEIVED + DAY)
    with closing(sqlite3.connect(path)) as raw:
        with pytest.raises(sqlite3.IntegrityError):
            raw.execute(TAMPERINGS[tampering].split(";")[0])
        raw.execute("DROP TRIGGER extensions_no_update")
        raw.execute("DROP TRIGGER extensions_no_delete")
        raw.executescript(TAMPERINGS[tampering])
    for look in (register.check_chain, register.requests):
        with pytest.raises(ArtifactCorrupt, match="extension"):
            look()


def test_a_register_of_an_older_lethe_is_read_and_gets_the_table_with_its_first_extension(
    register: Register, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript("DROP TABLE extensions")
    assert [state.extension for state in register.requests()] == [None, None]
    assert register.check_chain().position == 2

    register.extend([A], "complex", RECEIVED + DAY)

    assert register.requests()[0].extension is not None
    with closing(sqlite3.connect(path)) as raw, pytest.raises(sqlite3.IntegrityError):
        raw.execute("DELETE FROM extensions")


def test_an_absent_register_is_not_made_by_an_extension(tmp_path: Path) -> None:
    absent = Register.open(f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(StoreUnavailable):
        absent.extend([A], "complex", RECEIVED)
    assert not (tmp_path / "none.db").exists()


def test_a_request_is_overdue_a_second_after_its_due_date_while_it_is_open(
    register: Register,
) -> None:
    erased = register.requests()[0]
    assert [erased.overdue(erased.due + more) for more in (-1, 0, 1)] == [False, False, True]
    closed = replace(erased, state="closed", closed_at=RECEIVED)
    assert [closed.overdue(closed.due + more) for more in (-1, 0, 1)] == [False] * 3


def test_extensions_made_one_after_another_are_one_chain_whatever_their_order(
    register: Register,
) -> None:
    register.append([ask(Action.OBJECT, C)])
    made = [register.extend([who], "complex", RECEIVED + DAY)[0] for who in (B, A, C)]
    assert [(one.number, one.position) for one in made] == [(1, 2), (2, 1), (3, 3)]
    assert [one.previous for one in made[1:]] == [one.digest for one in made[:2]]
    assert [state.extension for state in register.requests()] == [made[1], made[0], made[2]]


def test_extensions_made_at_once_are_one_chain_too(register: Register) -> None:
    made = register.extend([B, A], "complex", RECEIVED + DAY)
    assert [(one.number, one.position) for one in made] == [(1, 1), (2, 2)]
    assert made[1].previous == made[0].digest
    assert tuple(state.extension for state in register.requests()) == made


def _chain(count: int) -> list[Entry]:
    requests = [Request(Action.OBJECT, f"{number:064x}", RECEIVED) for number in range(count)]
    return sift(requests, [], Links())[0]


def _states(chain: list[Entry]) -> list[RequestState]:
    standing = Fold(chain).standing()
    return [RequestState(one, *state_of(one, standing, {}, None, 0)) for one in chain]


def _extended(chain: list[Entry]) -> list[Extension]:
    people = [frozenset({entry.tombstone}) for entry in chain]
    return extended(people, "complex", RECEIVED, _states(chain))


def test_three_hundred_extensions_are_one_chain() -> None:
    chain = _chain(300)
    made = _extended(chain)
    copied = [replace(one, number=int(str(one.number))) for one in made]
    assert list(checked_extensions(copied, chain).values()) == made


@pytest.mark.parametrize(
    "changes",
    [{"number": 1}, {"number": 3}, {"previous": "0" * 64}, {"previous": "f" * 64}, {"position": 1}],
    ids=["lower number", "higher number", "lower digest", "higher digest", "same request"],
)
def test_an_extension_that_does_not_follow_the_one_before_breaks_their_chain(
    changes: dict[str, Any],
) -> None:
    chain = _chain(3)
    first, second, _ = _extended(chain)
    with pytest.raises(ArtifactCorrupt, match="chain of extensions is broken at 2"):
        checked_extensions([first, replace(second, **changes)], chain)


@pytest.mark.parametrize("position", [-1, 0, 4, 9])
def test_an_extension_of_no_request_was_edited(position: int) -> None:
    chain = _chain(3)
    first, second, _ = _extended(chain)
    with pytest.raises(ArtifactCorrupt, match="extension 2 was edited"):
        checked_extensions([first, replace(second, position=position)], chain)


def test_the_chain_of_extensions_begins_where_every_one_begins() -> None:
    assert _extended(_chain(1))[0].previous == GENESIS_OF_EXTENSIONS


def test_a_request_is_verified_by_a_version_certified_at_its_place_or_later() -> None:
    entry = _chain(2)[1]
    standing = Fold([entry]).standing()
    found = [state_of(entry, standing, {2: 7}, None, at)[0] for at in (0, 1, 2, 3)]
    assert found == ["purged", "purged", "verified", "verified"]


def test_of_what_was_removed_the_larger_count_is_told() -> None:
    [entry] = _chain(1)
    standing = Fold([entry]).standing()
    assert state_of(entry, standing, {}, None, 0) == ("received", 0, False, None, None)
    for purged, closed in ((3, 9), (9, 3)):
        closure = Closure(1, "closed", "e" * 64, 5, closed)
        told = state_of(entry, standing, {1: purged}, closure, 0)
        assert told == ("closed", 9, True, 5, "e" * 64)
