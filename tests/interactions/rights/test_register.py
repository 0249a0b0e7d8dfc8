"""The register on a real database: all or none, chained, exclusive, and loud when it is gone.

On a SQLite file, and on a PostgreSQL server where its binaries and the driver are at hand.
"""

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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lethe.errors import ArtifactCorrupt, BadConfiguration, BadRequest, Busy, StoreUnavailable
from lethe.interactions.rights import ledger
from lethe.interactions.rights.register import (
    GENESIS,
    Action,
    Closure,
    Head,
    Intent,
    Receipt,
    Register,
    Request,
)
from lethe.interactions.rights.standing import CANARY
from tests.fakes.register import MemoryRegister
from tests.interactions.rights.place import Place, url
from tests.postgres import fresh_schema

A, B, C = (letter * 64 for letter in "abc")
INTENT = Intent(2, "f" * 64, "e" * 64, position=1, previous_champion=1, at=5)


def ask(action: Action, stone: str, received: int = 1_700_000_000) -> Request:
    return Request(action, stone, received)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "register.db"


@pytest.fixture
def register(place: Place) -> Register:
    register = Register.open(place.url, wait_seconds=0.2)
    register.initialise()
    return register


@pytest.fixture
def on_sqlite(path: Path) -> Register:
    register = Register.open(url(path), wait_seconds=0.2)
    register.initialise()
    return register


def test_an_empty_register_stands_at_genesis(register: Register) -> None:
    assert register.head() == register.check_chain() == GENESIS
    assert register.standing().excluded == frozenset()
    assert register.requests() == ()


def test_entries_are_numbered_chained_and_due(register: Register) -> None:
    receipt = register.append([ask(Action.ERASE, A), ask(Action.OBJECT, B)])
    assert receipt == Receipt(1, 2, entered=2, already=0)
    first, second = register.entries()
    assert (first.previous, second.previous) == (GENESIS.digest, first.digest)
    assert register.head() == Head(2, second.digest) == register.check_chain()
    assert register.entries(since=1) == (second,)
    assert register.entries(upto=1) == (first,)
    assert register.standing(upto=1).objecting == frozenset()
    assert first.due == 1_702_592_000


def test_a_repeat_is_counted_and_not_entered(register: Register) -> None:
    register.append([ask(Action.ERASE, A)])
    receipt = register.append([ask(Action.ERASE, A), ask(Action.OBJECT, B), ask(Action.OBJECT, B)])
    assert receipt == Receipt(2, 2, entered=1, already=2)
    assert register.append([ask(Action.ERASE, A)]) == Receipt(None, None, 0, 1)


def test_nothing_asked_for_is_an_error(register: Register) -> None:
    with pytest.raises(BadRequest, match="nothing was asked for"):
        register.append([])


@pytest.mark.parametrize(
    ("requests", "rule"),
    [
        ([ask(Action.WITHDRAW_OBJECTION, A)], "withdrawal without an objection"),
        ([ask(Action.RELEASE, A)], "release without a restriction"),
        ([ask(Action.RECONSENT, A)], "without an erasure in effect"),
        (
            [ask(Action.RESTRICT, A), ask(Action.ERASE, A), ask(Action.RECONSENT, A)],
            "without an erasure in effect",
        ),
        ([ask(Action.ERASE, A), ask(Action.RECONSENT, A, 1_600_000_000)], "dated before"),
        ([ask(Action.ERASE, A), ask(Action.RESTRICT, A)], "after the erasure took effect"),
        (
            [ask(Action.ERASE, A), ask(Action.RECONSENT, A), ask(Action.RECONSENT, A)],
            "without an erasure in effect",
        ),
    ],
    ids=["withdraw", "release", "reconsent", "blocked", "back-dated", "late hold", "twice"],
)
def test_a_request_that_makes_no_sense_keeps_the_whole_batch_out(
    register: Register, requests: list[Request], rule: str
) -> None:
    with pytest.raises(BadRequest, match=rule) as caught:
        register.append([ask(Action.OBJECT, B), *requests])
    assert "nothing was entered" in str(caught.value)
    assert A not in str(caught.value)
    assert register.head() == GENESIS


def test_what_makes_no_sense_is_counted_by_rule(register: Register) -> None:
    asked = [(Action.RELEASE, A), (Action.OBJECT, C), (Action.RELEASE, B)]
    asked.append((Action.WITHDRAW_OBJECTION, B))
    with pytest.raises(BadRequest) as caught:
        register.append([ask(action, stone) for action, stone in asked])
    assert str(caught.value) == (
        "nothing was entered; of 4 requests: 2 x a release without a restriction, "
        "1 x a withdrawal without an objection"
    )


def test_a_failure_in_the_middle_of_an_append_enters_nothing(
    register: Register, place: Place
) -> None:
    place.run(
        "CREATE TRIGGER filled BEFORE INSERT ON entries WHEN NEW.position = 3 "
        "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        if place.sqlite
        else "ALTER TABLE entries ADD CHECK (position <> 3)"
    )
    with pytest.raises(StoreUnavailable) as caught:
        register.append([ask(Action.ERASE, stone) for stone in (A, B, C)])
    assert register.head() == GENESIS
    assert A not in f"{caught.value} {caught.value.__cause__}"


# The chain


TAMPERINGS = {
    "action": "UPDATE entries SET action = 'OBJECT' WHERE position = 2",
    "unknown action": "UPDATE entries SET action = 'FORGIVE' WHERE position = 2",
    "tombstone": "UPDATE entries SET tombstone = previous WHERE position = 1",
    "received": "UPDATE entries SET received = received + 1 WHERE position = 3",
    "due": "UPDATE entries SET due = due + 86400 WHERE position = 1",
    "reason": "UPDATE entries SET reason = 'other' WHERE position = 1",
    "digest": "UPDATE entries SET digest = previous WHERE position = 3",
    "first dropped": "DELETE FROM entries WHERE position = 1",
    "middle dropped": "DELETE FROM entries WHERE position = 2",
    "reordered": "UPDATE entries SET position = 9 WHERE position = 1; "
    "UPDATE entries SET position = 1 WHERE position = 2; "
    "UPDATE entries SET position = 2 WHERE position = 9",
    "closed up": "DELETE FROM entries WHERE position = 2; "
    "UPDATE entries SET position = 2 WHERE position = 3",
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_an_edited_dropped_or_reordered_entry_breaks_the_chain(
    register: Register, place: Place, tampering: str
) -> None:
    register.append([ask(Action.ERASE, stone) for stone in (A, B, C)])
    place.tamper(*TAMPERINGS[tampering].split("; "))
    with pytest.raises(ArtifactCorrupt):
        register.check_chain()
    with pytest.raises(ArtifactCorrupt):
        register.append([ask(Action.OBJECT, "d" * 64)])


def test_a_lost_end_shows_against_a_remembered_head(register: Register, place: Place) -> None:
    register.append([ask(Action.ERASE, A), ask(Action.ERASE, B)])
    known = register.head()
    place.tamper("DELETE FROM entries WHERE position = 2")
    assert register.check_chain().position == 1
    with pytest.raises(ArtifactCorrupt, match="position 2 is known"):
        register.check_chain(known)
    with pytest.raises(ArtifactCorrupt, match="position 2 is known"):
        register.append([ask(Action.ERASE, C)], known)
    register.append([ask(Action.ERASE, C)])
    with pytest.raises(ArtifactCorrupt, match="not the one known at position 2"):
        register.check_chain(known)


@pytest.mark.parametrize("table", ["entries", "outcomes"])
def test_the_database_itself_refuses_to_change_or_delete(
    register: Register, place: Place, table: str
) -> None:
    register.append([ask(Action.ERASE, A)])
    register.done(register.intend(INTENT), at=6)
    column = {"entries": "received", "outcomes": "at"}[table]
    statements = [f"DELETE FROM {table}", f"UPDATE {table} SET {column} = 9"]  # noqa: S608
    for statement in [*statements, *[f"TRUNCATE {table}"] * (not place.sqlite)]:
        with pytest.raises(sa.exc.DBAPIError, match="append-only"):
            place.run(statement)


# Absent, broken, held


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


# What was done


def _states(register: Register) -> list[str]:
    return [request.state for request in register.requests()]


def test_a_request_goes_from_received_to_closed(register: Register) -> None:
    register.append([ask(Action.ERASE, A)])
    assert _states(register) == ["received"]
    register.record_purge(1, 40)
    register.record_purge(1, 0)  # the killed night's second run finds nothing left
    assert _states(register) == ["purged"]
    register.done(register.intend(INTENT), at=6)
    assert _states(register) == ["verified"]
    assert register.close(Closure(1, "closed", "e" * 64, at=9, rows_removed=0))
    [state] = register.requests()
    assert (state.state, state.rows_removed, state.closed_at) == ("closed", 40, 9)
    assert (state.evidence, state.open) == ("e" * 64, False)


def test_nothing_removed_is_told_as_nothing(register: Register) -> None:
    register.append([ask(Action.ERASE, A), ask(Action.OBJECT, B)])
    assert [(s.rows_removed, s.found) for s in register.requests()] == [(0, False), (0, False)]
    register.record_purge(1, 0)
    assert [(s.rows_removed, s.found) for s in register.requests()] == [(0, True), (0, False)]
    register.close(Closure(2, "closed", "e" * 64, at=9, rows_removed=0))
    assert register.requests()[1].rows_removed == 0
    register.close(Closure(1, "closed", "e" * 64, at=9, rows_removed=5))
    assert register.requests()[0].rows_removed == 5


def test_canaries_and_people_are_never_in_one_list(register: Register) -> None:
    register.append([ask(Action.ERASE, A), Request(Action.ERASE, B, 1_700_000_000, CANARY)])
    assert [state.entry.tombstone for state in register.requests()] == [A]
    assert [state.entry.tombstone for state in register.canaries()] == [B]
    assert register.standing().canaries == {B}
    assert register.standing().people().erased == {A}
    assert register.close(Closure(2, "closed", "e" * 64, at=9, rows_removed=0))
    assert [state.open for state in (*register.requests(), *register.canaries())] == [True, False]


def test_the_first_closure_stands(register: Register) -> None:
    register.append([ask(Action.ERASE, A)])
    assert register.close(Closure(1, "not_found", "e" * 64, at=9, rows_removed=0))
    assert not register.close(Closure(1, "closed", "f" * 64, at=10, rows_removed=3))
    assert [(s.state, s.evidence) for s in register.requests()] == [("not_found", "e" * 64)]


def test_an_erasure_under_a_legal_hold_cannot_be_closed(register: Register) -> None:
    register.append([ask(Action.RESTRICT, A), ask(Action.ERASE, A)])
    register.done(register.intend(INTENT), at=6)
    assert _states(register) == ["verified", "blocked"]
    with pytest.raises(BadRequest, match="legal hold"):
        register.close(Closure(2, "closed", "e" * 64, at=9, rows_removed=0))
    register.append([ask(Action.RELEASE, A)])
    assert _states(register) == ["verified", "received", "received"]


@pytest.mark.parametrize("position", [0, 7])
def test_a_position_without_an_entry_cannot_be_purged_or_closed(
    register: Register, position: int
) -> None:
    with pytest.raises(BadRequest, match="no entry"):
        register.record_purge(position, 1)
    with pytest.raises(BadRequest, match="no entry"):
        register.close(Closure(position, "closed", "e" * 64, at=9, rows_removed=0))


def test_an_intent_ends_once(register: Register) -> None:
    first, second = register.intend(INTENT), register.intend(INTENT)
    assert [item.id for item in register.open_intents()] == [first, second]
    register.done(first, at=6)
    register.done(first, at=7)
    register.abort(second, "the artifact changed", at=8)
    assert register.open_intents() == ()
    ends = [(item.state, item.reason, item.ended_at) for item in register.promotions()]
    assert ends == [("done", None, 6), ("aborted", "the artifact changed", 8)]
    with pytest.raises(BadRequest, match="cannot be aborted"):
        register.abort(first, "too late", at=9)
    with pytest.raises(BadRequest, match="unknown"):
        register.done(99, at=9)


# The fake and PostgreSQL


BATCHES = st.lists(
    st.lists(
        st.builds(ask, st.sampled_from(Action), st.sampled_from([A, B])), min_size=1, max_size=4
    ),
    max_size=6,
)
LAW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(batches=BATCHES)
@settings(LAW, max_examples=25)
def test_the_fake_answers_as_the_real_register(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Request]]
) -> None:
    _answers_alike(url(tmp_path_factory.mktemp("pair") / "r.db"), batches)


@given(batches=BATCHES)
@settings(LAW, max_examples=10)
def test_the_fake_answers_as_the_real_register_on_postgresql(
    postgres: str, batches: list[list[Request]]
) -> None:
    _answers_alike(fresh_schema(postgres), batches)


def _answers_alike(empty: str, batches: list[list[Request]]) -> None:
    real, fake = Register.open(empty), MemoryRegister()
    real.initialise()
    for batch in batches:
        answers: list[object] = []
        for side in (real, fake):
            try:
                answers.append(side.append(batch))
            except BadRequest:
                answers.append("refused")
        assert answers[0] == answers[1]
    assert (fake.entries(), fake.head()) == (real.entries(), real.head())
    assert fake.standing() == real.standing()
    for side in (real, fake):
        side.done(side.intend(INTENT), 6)
        side.abort(side.intend(INTENT), "why", 7)
        side.intend(INTENT)
    assert fake.promotions() == real.promotions()
    assert fake.open_intents() == real.open_intents()


# What a database of ours looks like for good: it can be added to and never changed.
SCHEMA = {
    "entries": "position BIGINT PK, action VARCHAR(24), tombstone VARCHAR(64), received BIGINT, "
    "due BIGINT, reason VARCHAR(64), previous VARCHAR(64), digest VARCHAR(64)",
    "extensions": "number BIGINT PK, position BIGINT UNIQUE, due BIGINT, reason VARCHAR(64), "
    "at BIGINT, previous VARCHAR(64), digest VARCHAR(64)",
    "merges": "number BIGINT PK, one VARCHAR(64), other VARCHAR(64), position BIGINT, at BIGINT, "
    "previous VARCHAR(64), digest VARCHAR(64)",
    "purges": "id INTEGER PK COUNTS, position BIGINT, rows BIGINT",
    "closures": "position BIGINT PK, outcome VARCHAR(16), evidence VARCHAR(128), at BIGINT, "
    "rows_removed BIGINT",
    "intents": "id INTEGER PK COUNTS, version BIGINT, artifact_digest VARCHAR(64), "
    "certificate_digest VARCHAR(64), position BIGINT, previous_champion BIGINT NULL, at BIGINT",
    "outcomes": "intent BIGINT PK, state VARCHAR(16), reason TEXT NULL, at BIGINT",
}


def _described(column: sa.Column[object]) -> str:
    words = [column.name, str(column.type)]
    words += ["PK"] * column.primary_key + ["NULL"] * bool(column.nullable)
    words += ["UNIQUE"] * bool(column.unique)
    counts = column.primary_key and column.autoincrement is not False
    return " ".join(words + ["COUNTS"] * counts)


def test_the_tables_are_these_and_no_others() -> None:
    found = {
        name: ", ".join(_described(column) for column in table.columns)
        for name, table in ledger.ENTRIES.metadata.tables.items()
    }
    assert found == SCHEMA


def test_the_tables_can_be_made_on_postgresql() -> None:
    dialect = sa.dialects.registry.load("postgresql")()
    made = [
        str(sa.schema.CreateTable(table).compile(dialect=dialect))
        for table in (ledger.ENTRIES, ledger.PURGES, ledger.CLOSURES, ledger.INTENTS)
    ]
    assert "position BIGINT NOT NULL" in made[0]
    assert "id SERIAL NOT NULL" in made[3]


def test_a_write_begins_at_once_and_a_read_does_not(on_sqlite: Register) -> None:
    """SQLite would otherwise let two writers begin, and refuse one of them in the middle."""
    said: list[str] = []

    def hear(*event: object) -> None:
        said.append(str(event[2]))

    sa.event.listen(on_sqlite.engine, "before_cursor_execute", hear)
    on_sqlite.head()
    assert [line for line in said if line.startswith("BEGIN")] == ["BEGIN"]
    said.clear()
    on_sqlite.record_purge(on_sqlite.append([ask(Action.ERASE, A)]).first or 0, 1)
    begun = [line for line in said if line.startswith("BEGIN")]
    written = [line for line in said if line.startswith("INSERT")]
    assert begun.count("BEGIN IMMEDIATE") == len(written) == 2
