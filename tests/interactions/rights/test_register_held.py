"""A register that is absent, broken, held by somebody else, or cut off in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import sqlalchemy as sa

from lethe.errors import BadConfiguration, Busy, StoreUnavailable
from lethe.interactions.rights import ledger
from lethe.interactions.rights.register import (
    GENESIS,
    Action,
    Closure,
    Register,
)
from tests.interactions.rights.place import INTENT, A, Place, ask, url
from tests.postgres import fresh_schema


def test_an_absent_register_is_never_an_empty_one(place: Place) -> None:
    register = Register.open(place.url)
    for call in (register.head, register.standing, register.requests, register.check_chain):
        with pytest.raises(StoreUnavailable):
            call()
    with pytest.raises(StoreUnavailable):
        register.append([ask(Action.ERASE, A)])


def test_an_absent_file_is_not_made_and_an_empty_one_is_no_register(path: Path) -> None:
    register = Register.open(url(path))
    for call in (register.head, lambda: register.append([ask(Action.ERASE, A)])):
        with pytest.raises(StoreUnavailable):
            call()
    assert not path.exists()
    path.touch()
    with pytest.raises(StoreUnavailable):
        register.standing()


def test_a_server_that_is_not_there_is_an_outside_failure_and_its_address_is_not_told(
    tmp_path: Path,
) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StoreUnavailable) as caught:
        Register.open(f"postgresql+psycopg://lethe:secret@/postgres?host={tmp_path}")
    assert "secret" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"these bytes are not a database " * 200)
    with pytest.raises(StoreUnavailable):
        Register.open(url(path))


@pytest.mark.parametrize("text", ["sqlite://", "sqlite:///:memory:", "register", "nosuch://x/y"])
def test_a_url_that_cannot_be_used_is_bad_configuration(text: str) -> None:
    with pytest.raises(BadConfiguration):
        Register.open(text)


def test_the_file_is_private_and_keeps_no_deleted_byte(on_sqlite: Register, path: Path) -> None:
    assert os.stat(path).st_mode & 0o777 == 0o600
    with on_sqlite.engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("secure_delete", "journal_mode", "synchronous")
        }
    assert pragmas == {"secure_delete": 1, "journal_mode": "delete", "synchronous": 3}


def test_initialising_again_changes_nothing(register: Register) -> None:
    register.append([ask(Action.ERASE, A)])
    register.initialise()
    assert register.head().position == 1


def test_nothing_is_appended_while_somebody_holds_the_register(register: Register) -> None:
    with register.exclusive(0), pytest.raises(Busy):
        register.append([ask(Action.ERASE, A)])
    assert register.append([ask(Action.ERASE, A)]).entered == 1


def test_an_append_waits_for_its_turn(place: Place, register: Register) -> None:
    patient = Register.open(place.url, wait_seconds=10)
    worker = threading.Thread(target=patient.append, args=([ask(Action.ERASE, A)],))
    with register.exclusive(0):
        worker.start()
        assert register.head() == GENESIS
    worker.join(10)
    assert register.head().position == 1


def test_a_server_that_ends_idle_transactions_does_not_free_the_lock(postgres: str) -> None:
    schema = sa.make_url(fresh_schema(postgres))
    options = f"{schema.query['options']} -cidle_in_transaction_session_timeout=50"
    impatient = schema.update_query_dict({"options": options})
    register = Register.open(impatient.render_as_string(hide_password=False), wait_seconds=0)
    register.initialise()
    with register.exclusive(0):
        time.sleep(0.2)
        with pytest.raises(Busy):
            register.append([ask(Action.ERASE, A)])
    assert register.append([ask(Action.ERASE, A)]).entered == 1


_APPENDER = """
import sys
from lethe.interactions.rights.register import Action, Register, Request
register = Register.open(sys.argv[1], 20)
for number in range(15):
    register.append([Request(Action.ERASE, f"{int(sys.argv[2]) * 100 + number:064x}", 1)])
"""


def test_what_writes_takes_the_databases_write_lock_and_what_reads_does_not(
    on_sqlite: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bool] = []
    original = ledger.transaction

    def noted(engine: sa.Engine, write: bool) -> AbstractContextManager[sa.Connection]:
        taken.append(write)
        return original(engine, write)

    monkeypatch.setattr(ledger, "transaction", noted)
    calls: list[Callable[[], object]] = [
        lambda: on_sqlite.append([ask(Action.ERASE, A)]),
        lambda: on_sqlite.record_purge(1, 4),
        lambda: on_sqlite.intend(INTENT),
        lambda: on_sqlite.done(1, at=6),
        lambda: on_sqlite.close(Closure(1, "closed", "e" * 64, at=9, rows_removed=4)),
    ]
    for call in calls:
        taken.clear()
        call()
        assert taken.count(True) == 1, "one write, however much is read"
    taken.clear()
    assert (on_sqlite.head().position, len(on_sqlite.requests())) == (1, 1)
    assert taken
    assert not any(taken)


def test_the_repr_shows_no_address_and_a_register_waits_half_a_minute(path: Path) -> None:
    """An address can hold a password."""
    register = Register.open(url(path))
    assert register.wait_seconds == 30
    assert path.name not in repr(register)
    assert "sqlite" not in repr(register)


def test_two_processes_make_one_chain(register: Register, place: Place) -> None:
    command = [sys.executable, "-c", _APPENDER, place.url]
    workers = [subprocess.Popen([*command, str(number)]) for number in (1, 2)]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert register.check_chain().position == 30


def test_a_killed_appender_leaves_whole_entries_and_a_free_lock(
    register: Register, place: Place
) -> None:
    script = _APPENDER.replace("range(15)", "range(10**6)")
    worker = subprocess.Popen([sys.executable, "-c", script, place.url, "1"])
    patient = Register.open(place.url, wait_seconds=20)
    while patient.head().position < 5:
        assert worker.poll() is None
    worker.kill()
    worker.wait(10)
    position = register.check_chain().position
    assert register.append([ask(Action.ERASE, A)]).first == position + 1
