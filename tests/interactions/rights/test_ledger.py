"""The register's database, quickly: what is read, written, waited for and told."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from lethe.errors import BadConfiguration, BadRequest, Busy, StoreUnavailable
from lethe.interactions.rights import ledger
from lethe.interactions.rights.register import (
    Action,
    Closure,
    Intent,
    Register,
    Request,
)
from tests.postgres import fresh_schema

A, B, C = (letter * 64 for letter in "abc")
INTENT = Intent(2, "f" * 64, "e" * 64, position=1, previous_champion=1, at=5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "register.db"


@pytest.fixture
def register(path: Path) -> Register:
    register = Register.open(f"sqlite:///{path}", wait_seconds=0.2)
    register.initialise()
    return register


def _filled(register: Register) -> Register:
    register.append([Request(Action.ERASE, stone, 10) for stone in (A, B, C)])
    return register


def test_entries_are_cut_after_one_place_and_up_to_another(register: Register) -> None:
    first, second, third = _filled(register).entries()
    assert register.entries(since=1) == (second, third)
    assert register.entries(since=2) == (third,)
    assert register.entries(since=3) == ()
    assert register.entries(upto=2) == (first, second)
    assert register.entries(since=1, upto=2) == (second,)
    assert register.entries(upto=0) == ()


def test_a_purge_is_recorded_for_entries_that_are_there_and_no_others(register: Register) -> None:
    _filled(register)
    for position in (1, 2, 3):
        register.record_purge(position, 0)
    for position in (-1, 0, 4, 5):
        with pytest.raises(BadRequest, match=f"no entry at position {position}"):
            register.record_purge(position, 1)
    states = [(state.state, state.rows_removed) for state in register.requests()]
    assert states == [("purged", 0)] * 3


def test_neither_an_open_nor_an_undone_promotion_verifies_a_request(register: Register) -> None:
    _filled(register)
    number = register.intend(INTENT)
    assert [state.state for state in register.requests()] == ["received"] * 3
    register.abort(number, "why", at=6)
    assert [state.state for state in register.requests()] == ["received"] * 3
    register.done(register.intend(INTENT), at=7)
    assert [state.state for state in register.requests()] == ["verified", "received", "received"]


@pytest.mark.parametrize("reason", ["art17", "canaries", "data-subject-request"])
def test_whatever_its_reason_a_persons_request_is_in_the_list_of_requests(
    register: Register, reason: str
) -> None:
    register.append([Request(Action.ERASE, A, 10, reason)])
    assert (len(register.requests()), register.canaries()) == (1, ())


def test_what_was_undone_cannot_be_done_and_nothing_ends_that_never_began(
    register: Register,
) -> None:
    number = register.intend(INTENT)
    assert number == 1
    register.abort(number, "why", at=6)
    register.abort(number, "another", at=7)
    with pytest.raises(BadRequest, match="intent 1 is aborted, it cannot be done"):
        register.done(number, at=8)
    for unknown in (0, 2):
        with pytest.raises(BadRequest, match=f"intent {unknown} is unknown"):
            register.done(unknown, at=8)
    [record] = register.promotions()
    assert (record.state, record.reason, record.ended_at) == ("aborted", "why", 6)


def test_of_several_open_intents_each_is_open_until_its_own_end(register: Register) -> None:
    numbers = [register.intend(INTENT) for _ in range(3)]
    register.done(numbers[0], at=6)
    register.abort(numbers[2], "why", at=7)
    assert [item.id for item in register.open_intents()] == [numbers[1]]
    assert [item.state for item in register.promotions()] == ["done", "intended", "aborted"]


@pytest.mark.parametrize("state", ["closed", "not_found"])
def test_what_has_ended_cannot_end_again(register: Register, state: str) -> None:
    _filled(register)
    closure = Closure(2, state, "e" * 64, at=9, rows_removed=0)  # type: ignore[arg-type]
    assert register.close(closure) is True
    assert register.close(closure) is False
    assert [one.state for one in register.requests()] == ["received", state, "received"]


def test_the_lock_of_a_server_is_a_number_that_no_version_may_change() -> None:
    """Two versions with two numbers would each hold a lock of their own."""
    assert ledger._LOCK_KEY.to_bytes(5, "big") == b"Lethe"


def test_a_folder_that_is_not_there_is_made_and_one_that_cannot_be_is_an_outside_failure(
    path: Path,
) -> None:
    nested = path / "of" / "registers" / "register.db"
    for _ in "ab":
        Register.open(f"sqlite:///{nested}").initialise()
    assert nested.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreUnavailable, match="the register's file cannot be made"):
        Register.open(f"sqlite:///{nested / 'below-a-file.db'}").initialise()


def test_a_database_whose_driver_is_not_installed_is_bad_configuration() -> None:
    with pytest.raises(BadConfiguration, match="NoSuchModuleError"):
        ledger.engine_for("sqlite+nosuchdriver:///x", 1)
    with pytest.raises(BadConfiguration, match="ModuleNotFoundError"):
        ledger.engine_for("oracle+cx_oracle://x/y", 1)


def test_a_write_waits_as_long_as_it_was_told_for_a_lock_of_the_database(
    register: Register, path: Path
) -> None:
    _filled(register)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="OperationalError"):
            register.record_purge(1, 1)
        assert 0.15 < time.monotonic() - began < 4.5
        assert register.head().position == 3, "what only reads does not wait"
        assert Register.open(f"sqlite:///{path}").head().position == 3
        other.execute("ROLLBACK")
    register.record_purge(1, 1)


def test_an_error_that_the_database_did_not_raise_is_told_by_its_own_name(
    register: Register,
) -> None:
    fault = sa.exc.InvalidRequestError("not told")
    with (
        pytest.raises(StoreUnavailable, match=r"refused a transaction: InvalidRequestError$"),
        ledger.transaction(register.engine, write=False),
    ):
        raise fault


def test_what_makes_tables_writes_and_what_only_looks_reads(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    sa.event.listen(register.engine, "before_cursor_execute", lambda *event: said.append(event[2]))
    calls: list[tuple[Callable[[], object], str]] = [
        (register.initialise, "BEGIN IMMEDIATE"),
        (lambda: ledger.probe(register.engine), "BEGIN"),
        (lambda: ledger.numbered(register.engine, ledger.EXTENSIONS), "BEGIN"),
        (lambda: _bare(register.engine), "BEGIN"),
    ]
    for call, expected in calls:
        said.clear()
        call()
        assert [line for line in said if line.startswith("BEGIN")] == [expected]


def _bare(engine: sa.Engine) -> None:
    """A connection of nobody's: what does not say that it writes does not."""
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))


@pytest.mark.parametrize(("step", "asked"), [(0.5, 6), (0.75, 4), (2.0, 2), (9.0, 1)])
def test_the_lock_of_a_server_is_asked_for_until_the_wait_is_over(
    postgres: str, monkeypatch: pytest.MonkeyPatch, step: float, asked: int
) -> None:
    register = Register.open(fresh_schema(postgres))
    register.initialise()
    now, slept = [100.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += step
        assert len(slept) < 50

    monkeypatch.setattr(ledger, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    with (
        register.exclusive(0),
        pytest.raises(Busy, match=r"waited 3 s"),
        register.exclusive(3.0),
    ):
        raise AssertionError
    assert slept == [0.05] * asked
