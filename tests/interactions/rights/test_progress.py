"""Deadlines: two further months, once, in time, for a reason, and never changed afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.errors import ArtifactCorrupt, BadRequest, StoreUnavailable
from lethe.interactions.rights.deadlines import EXTENDED_MONTHS, due_date
from lethe.interactions.rights.register import Action, Closure, Register, Request

A, B, C = (frozenset({letter * 64}) for letter in "abc")
RECEIVED = int(datetime(2025, 1, 31, 12, tzinfo=UTC).timestamp())
DAY = 86_400


def ask(action: Action, who: frozenset[str], received: int = RECEIVED) -> Request:
    return Request(action, *who, received)


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
