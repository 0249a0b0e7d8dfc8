"""The register's database: its records, tables, transactions, and one lock between processes.

SQLite keeps no deleted byte (`secure_delete`) and no write-ahead log. Statements never show their
parameters in an error (`hide_parameters`): those are tombstones. Triggers refuse to change or
delete a row, on SQLite and on PostgreSQL; whoever owns the tables could drop them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from lethe.durable import locked
from lethe.errors import BadConfiguration, Busy, StoreUnavailable


@dataclass(frozen=True)
class Intent:
    """A promotion about to happen, certified at `position` of the register."""

    version: int
    artifact_digest: str
    certificate_digest: str
    position: int
    previous_champion: int | None
    at: int


@dataclass(frozen=True)
class Promotion:
    """An intent and how it ended; `reason` tells why it was aborted."""

    id: int
    intent: Intent
    state: Literal["intended", "done", "aborted"]
    reason: str | None
    ended_at: int | None


_METADATA: Final = sa.MetaData()
_LOCK_KEY: Final = 0x4C65746865  # "Lethe": the number of PostgreSQL's advisory lock


def _number(name: str, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, **options)


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


ENTRIES: Final = sa.Table(
    "entries",
    _METADATA,
    _number("position", primary_key=True, autoincrement=False),
    _text("action", 24),
    _text("tombstone", 64),
    _number("received"),
    _number("due"),
    _text("reason", 64),
    _text("previous", 64),
    _text("digest", 64),
)
PURGES: Final = sa.Table(
    "purges",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    _number("position"),
    _number("rows"),
)
CLOSURES: Final = sa.Table(
    "closures",
    _METADATA,
    _number("position", primary_key=True, autoincrement=False),
    _text("outcome", 16),
    _text("evidence", 128),
    _number("at"),
    _number("rows_removed"),
)
INTENTS: Final = sa.Table(
    "intents",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    _number("version"),
    _text("artifact_digest", 64),
    _text("certificate_digest", 64),
    _number("position"),
    sa.Column("previous_champion", sa.BigInteger),
    _number("at"),
)
OUTCOMES: Final = sa.Table(
    "outcomes",
    _METADATA,
    _number("intent", primary_key=True, autoincrement=False),
    _text("state", 16),
    sa.Column("reason", sa.Text),
    _number("at"),
)
EXTENSIONS: Final = sa.Table(
    "extensions",
    _METADATA,
    _number("number", primary_key=True, autoincrement=False),
    _number("position", unique=True),
    _number("due"),
    _text("reason", 64),
    _number("at"),
    _text("previous", 64),
    _text("digest", 64),
)
MERGES: Final = sa.Table(
    "merges",
    _METADATA,
    _number("number", primary_key=True, autoincrement=False),
    _text("one", 64),
    _text("other", 64),
    _number("position"),
    _number("at"),
    _text("previous", 64),
    _text("digest", 64),
)


_ON_SQLITE: Final = (
    "CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END"
)
_FUNCTION: Final = (
    "CREATE OR REPLACE FUNCTION lethe_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the register is append-only'; END $$"
)
_ON_POSTGRESQL: Final = (
    "CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION lethe_append_only()"
)


def _append_only(table: sa.Table) -> None:
    made = [("sqlite", _ON_SQLITE.format(table=table, verb=verb)) for verb in ("update", "delete")]
    made += [("postgresql", text) for text in (_FUNCTION, _ON_POSTGRESQL.format(table=table))]
    for dialect, statement in made:
        ddl = sa.DDL(statement)  # type: ignore[no-untyped-call]
        sa.event.listen(table, "after_create", ddl.execute_if(dialect=dialect))


for _table in _METADATA.sorted_tables:
    _append_only(_table)


def engine_for(url: str, wait_seconds: float) -> sa.Engine:
    """An engine that opens one connection per transaction; connects to nothing yet.

    Raises:
        BadConfiguration: not a database URL, no driver for it, or a SQLite URL without a file.
    """
    try:
        parsed = sa.make_url(url)
        sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"connect_args": {"timeout": wait_seconds}} if sqlite else {}
        engine = sa.create_engine(parsed, poolclass=NullPool, hide_parameters=True, **options)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        kind = type(error).__name__
        raise BadConfiguration(f"the register's URL cannot be used: {kind}") from None
    if sqlite:
        if parsed.database in (None, "", ":memory:"):
            raise BadConfiguration("the register's SQLite URL names no file")
        sa.event.listen(engine, "connect", _harden)
        sa.event.listen(engine, "begin", _begin)
    return engine


def _harden(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin in `_begin`, not behind our back
    for pragma in ("secure_delete=ON", "journal_mode=DELETE", "synchronous=EXTRA"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("lethe_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _sqlite_file(engine: sa.Engine) -> Path | None:
    return Path(engine.url.database or "") if engine.dialect.name == "sqlite" else None


@contextlib.contextmanager
def transaction(engine: sa.Engine, write: bool) -> Iterator[sa.Connection]:
    """One transaction, committed at the end of the block, rolled back on any exception.

    Raises:
        StoreUnavailable: the file is absent, or the database refused.
    """
    file = _sqlite_file(engine)
    if file is not None and not file.exists():
        raise StoreUnavailable(f"there is no register at {file.name}")
    try:
        options = engine.execution_options(lethe_write=write)
        with options.begin() as connection:
            yield connection
    except (SQLAlchemyError, sqlite3.Error) as error:
        kind = type(getattr(error, "orig", None) or error).__name__
        raise StoreUnavailable(f"the register's database refused a transaction: {kind}") from error


def numbered(engine: sa.Engine, table: sa.Table) -> list[dict[str, Any]]:
    """The rows of a chain of its own, in order; none if an older Lethe made no such table."""
    with transaction(engine, write=False) as connection:
        if not sa.inspect(connection).has_table(table.name):
            return []
        query = sa.select(table).order_by(table.c.number)
        return [row._asdict() for row in connection.execute(query)]


def promotions(engine: sa.Engine) -> tuple[Promotion, ...]:
    """Every intent with its end, oldest first."""
    with transaction(engine, write=False) as connection:
        begun = connection.execute(sa.select(INTENTS).order_by(INTENTS.c.id)).all()
        ends = {row.intent: row for row in connection.execute(sa.select(OUTCOMES))}
    found = []
    for row in begun:
        fields, end = row._asdict(), ends.get(row.id)
        number = int(fields.pop("id"))
        outcome = ("intended", None, None) if end is None else (end.state, end.reason, end.at)
        found.append(Promotion(number, Intent(**fields), *outcome))
    return tuple(found)


def probe(engine: sa.Engine) -> None:
    """Reach the database and read from it, unless it is a SQLite file still to be made."""
    file = _sqlite_file(engine)
    if file is None or file.exists():
        with transaction(engine, write=False) as connection:
            sa.inspect(connection).get_table_names()


def create(engine: sa.Engine, wait_seconds: float) -> None:
    """Make what is missing, a SQLite file with mode 0600; leave what exists as it is."""
    file = _sqlite_file(engine)
    try:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"the register's file cannot be made: {error.strerror}") from error
    with exclusive(engine, wait_seconds), transaction(engine, write=True) as connection:
        _METADATA.create_all(connection)


@contextlib.contextmanager
def exclusive(engine: sa.Engine, wait_seconds: float) -> Iterator[None]:
    """Hold the one lock of this register; the kernel or the server frees it at death.

    Raises:
        Busy: it was held elsewhere for longer than `wait_seconds`.
    """
    file = _sqlite_file(engine)
    if file is not None:
        if not file.exists():
            raise StoreUnavailable(f"there is no register at {file.name}")
        with locked(file.with_name(file.name + ".lock"), wait_seconds):
            yield
        return
    with transaction(engine, write=True) as connection:
        deadline = time.monotonic() + wait_seconds
        # A server that ends idle transactions would free the lock in the middle of a promotion.
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        # A transaction-level lock: it ends with this connection's transaction, come what may.
        query = sa.select(sa.func.pg_try_advisory_xact_lock(_LOCK_KEY))
        while not connection.execute(query).scalar_one():
            if time.monotonic() >= deadline:
                raise Busy(f"the register is held by another process; waited {wait_seconds:g} s")
            time.sleep(0.05)
        yield
