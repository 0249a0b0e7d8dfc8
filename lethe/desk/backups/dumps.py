"""MLflow's and Optuna's databases of the stack, as PostgreSQL's own dumps, and the way back.

Each is one snapshot as plain SQL, without owners or rights: those are the stack's to give. Two more
stay out: Prefect's, since runs that were due then must not start, and that of MLflow's users, whose
passwords are kept with the keys. A dump is loaded in one transaction, which takes every alias out.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from lethe.adapters import studies
from lethe.adapters.packing import database
from lethe.desk.stack import postgres
from lethe.desk.stack.addresses import HOST, USER, Addresses, addresses
from lethe.errors import BadConfiguration, BadFile, BadInput, StoreUnavailable
from lethe.estate.stores import DUMPS
from lethe.estate.workspace import Workspace

NAMES: Final = ("mlflow", "optuna")
_HISTORY: Final[Mapping[str, tuple[str, ...]]] = {
    "mlflow": database.HISTORY,
    "optuna": studies.HISTORY,
}
_FROM = re.compile(rb"-- Dumped from database version (\d+)")
_REVISION = b"COPY public.alembic_version (version_num) FROM stdin;"
_COMPLETE = b"\n-- PostgreSQL database dump complete\n"
_MAJOR = 10_000  # of PostgreSQL's version number
_TAIL, _LOCKS_SECONDS = 1024, 60


@dataclass(frozen=True)
class Dump:
    """A dump's database, PostgreSQL's major version, and the tool's own revision of its tables."""

    name: str
    file: Path
    major: int
    revision: str | None


def member(name: str) -> str:
    """Where a database's dump lies in a backup."""
    return f"{DUMPS}/{name}.sql"


def stack_of(workspace: Workspace) -> Addresses | None:
    """The stack that holds this workspace's databases; None where they are files.

    Raises:
        BadConfiguration: they lie somewhere else, which no backup of a folder holds.
    """
    if not workspace.stack_environment.exists():
        if not workspace.keeps_mlflow_itself():
            raise BadConfiguration("MLFLOW_TRACKING_URI names a server: back up and restore there")
        return None
    found = addresses(workspace)
    for name, value in found.environment().items():
        if name.endswith(("_URL", "_URI")) and os.environ.get(name, value) != value:
            raise BadConfiguration(
                f"{name} names another server than the stack of this workspace: back up and "
                "restore there"
            )
    return found


def write(found: Addresses, name: str, file: Path) -> None:
    """Dump a database as it is at one moment.

    Raises:
        BadConfiguration: pg_dump is missing, or not of the server's major version.
        StoreUnavailable: it failed, or wrote less than all.
    """
    tool, server = _tool("pg_dump"), _major_of(found, name)
    said = subprocess.run([tool, "--version"], capture_output=True, check=False).stdout
    told = re.search(rb"\(PostgreSQL\) (\d+)", said)
    if told is None or int(told[1]) != server:
        raise BadConfiguration(
            f"pg_dump is of PostgreSQL {told[1].decode() if told else '?'} and the server of "
            f"{server}: one cannot be trusted with the other"
        )
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _run(found, name, [
        tool, *_whom(found, name, name), "--format=plain", "--encoding=UTF8", "--no-owner",
        "--no-privileges", f"--lock-wait-timeout={_LOCKS_SECONDS * 1000}", f"--file={file}",
    ])  # fmt: skip
    try:
        examined(name, file)
    except BadFile:
        raise StoreUnavailable(f"pg_dump wrote less than all of database {name}") from None


def examined(name: str, file: Path) -> Dump:
    """What a dump says of itself.

    Raises:
        BadFile: it is none, or has no end.
    """
    major, revision, wanted = None, None, False
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - _TAIL))
        complete = _COMPLETE in stream.read()
        stream.seek(0)
        for line in stream:
            if wanted:
                revision, wanted = line.strip().decode("ascii", "replace"), False
            elif major is None and (told := _FROM.match(line)):
                major = int(told[1])
            elif line.startswith(_REVISION):
                wanted = True
    if major is None or not complete:
        raise BadFile(file.name, "it is no whole dump of a PostgreSQL database")
    return Dump(name, file, major, revision)


def fitting(found: Addresses, folder: Path, again: bool) -> tuple[Dump, ...]:
    """The dumps below `folder`, once they can be loaded and nothing would be lost by that.

    With `again` the databases hold what a restore that was killed brought; then that may go.

    Raises:
        BadFile: a dump is missing, or is not whole.
        BadInput: a database holds something already, or is of another version.
        StoreUnavailable: the stack does not answer.
    """
    dumps = []
    for name in NAMES:
        file = folder / member(name)
        if not file.is_file():
            raise BadFile(file.name, "the backup has no dump of this database")
        dump = examined(name, file)
        server = _major_of(found, name)
        if dump.major > server:
            raise BadInput(
                f"{file.name} is of PostgreSQL {dump.major}; the stack has {server}, which is older"
            )
        _refuse_another(found, dump, again)
        dumps.append(dump)
    _tool("psql")
    return tuple(dumps)


def _refuse_another(found: Addresses, dump: Dump, again: bool) -> None:
    with _linked(found, dump.name) as link:
        tables = set(sa.inspect(link).get_table_names())
        revision = (
            link.scalar(sa.text("SELECT version_num FROM alembic_version"))
            if "alembic_version" in tables
            else None
        )
        rows = sum(
            int(link.scalar(sa.select(sa.func.count()).select_from(sa.table(table))) or 0)
            for table in _HISTORY[dump.name]
            if table in tables
        )
    if rows and not again:
        raise BadInput(
            f"the stack's database {dump.name} holds a history already, which a restore would "
            "overwrite: restore into a new stack, beside keys and a copy of the register"
        )
    if revision is not None and dump.revision != revision:
        raise BadInput(
            f"{dump.file.name} has tables of another version of the tool than the stack: restore "
            "with the Lethe that made the backup"
        )


def load(found: Addresses, dump: Dump) -> str:
    """Put a dump in the place of what its database holds, in one transaction; what was told.

    Raises:
        StoreUnavailable: the database refused; it holds what it held before.
    """
    # The stack's owner makes the place, and the tool's own role everything in it.
    empty = (
        f"SET client_min_messages = warning; SET lock_timeout = '{_LOCKS_SECONDS}s'; "
        f"DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION {dump.name}; "
        f"GRANT USAGE ON SCHEMA public TO PUBLIC; SET ROLE {dump.name}"
    )
    last = ("-c", database.TAKE_ALIASES) if dump.name == "mlflow" else ()
    return _run(found, "postgres", [
        _tool("psql"), *_whom(found, USER, dump.name), "--no-psqlrc", "--quiet", "--no-align",
        "--tuples-only", "--single-transaction", "-v", "ON_ERROR_STOP=1",
        "-c", empty, "-f", dump.file, *last,
    ])  # fmt: skip


def _tool(name: str) -> Path:
    path = postgres.binaries() / name
    if not os.access(path, os.X_OK):
        raise BadConfiguration(
            f"PostgreSQL's {name} is not installed beside its server (Debian: apt-get install "
            "postgresql)"
        )
    return path


def _whom(found: Addresses, role: str, name: str) -> list[str]:
    port = str(found.ports["postgres"])
    return ["-h", HOST, "-p", port, "-U", role, "-d", name, "--no-password"]


def _run(found: Addresses, secret: str, command: list[str | Path]) -> str:
    # Nothing of the operator's own PG variables; the password is on no command line.
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "PGPASSWORD": found.secrets[secret],
        "PGPASSFILE": os.devnull,
        "PGCONNECT_TIMEOUT": "10",
    }
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:  # what it said could hold a row
        raise StoreUnavailable(f"PostgreSQL's {Path(command[0]).name} ended with {done.returncode}")
    return done.stdout.decode("utf-8", "replace")


def _major_of(found: Addresses, name: str) -> int:
    with _linked(found, name) as link:
        return int(link.scalar(sa.text("SHOW server_version_num")) or 0) // _MAJOR


@contextlib.contextmanager
def _linked(found: Addresses, name: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(found.database(name), poolclass=sa.NullPool, hide_parameters=True)
    try:
        with engine.connect() as link:
            yield link
    except sa.exc.SQLAlchemyError as error:
        kind = type(getattr(error, "orig", None) or error).__name__
        raise StoreUnavailable(f"the stack's database {name} refused: {kind}") from None
