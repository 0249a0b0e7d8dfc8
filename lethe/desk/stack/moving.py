"""What a workspace kept in SQLite files, carried over into the stack's databases row by row.

Register, MLflow and studies are copied, compared and only then used; the files go, since no
erasure would reach them any more. A kill anywhere leaves the files in use, or the databases whole.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lethe.adapters import studies
from lethe.desk.stack.addresses import Addresses, publish
from lethe.durable import locked
from lethe.errors import ArtifactCorrupt, Busy, LetheError, RefusedByGate, StoreUnavailable
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.register import Register
from lethe.stages import opening

_AT_ONCE = 1000
_WAIT = 5.0  # for a night or an experiment
_REVISION = "alembic_version"  # of the tables themselves: compared, not copied


def settle_former(workspace: Workspace) -> None:
    """End what a killed `move` began: files of a stack in use go, others come back."""
    former = _former(workspace)
    if not former.exists():
        return
    if not workspace.stack_environment.exists():
        for path in former.iterdir():
            path.replace(_home(workspace, path.name))
    shutil.rmtree(former)


def move(workspace: Workspace, found: Addresses) -> dict[str, int]:
    """Copy everything into running servers, compare, and let the workspace use them from now on.

    How many rows were carried over, by database. Requests that come meanwhile wait, or fail with
    exit code 3 and are entered nowhere.

    Raises:
        Busy: a night or an experiment is running, or a night was cut off and has not ended.
        RefusedByGate: the register does not pass, or a promotion in it was cut off.
        StoreUnavailable: a database refused, or what it holds now is not what the file holds.
    """
    params = opening.open_params(workspace)
    with _at_rest(workspace):
        kept = Register.open(_sqlite(workspace.state / "register.db"))
        with kept.exclusive(params.night.lock_seconds):
            head = kept.check_chain(opening.newest_known(workspace))
            if kept.open_intents():
                raise RefusedByGate("a promotion was cut off; `lethe night` ends it, then move")
            counts = _copied(workspace, found)
            moved = Register.open(found.database("register"))
            if moved.check_chain(opening.newest_known(workspace)) != head:
                raise ArtifactCorrupt("the register that was carried over is not the former one")
            _commit(workspace, found)
    return counts


@contextlib.contextmanager
def _at_rest(workspace: Workspace) -> Iterator[None]:
    experiments = workspace.state / "experiments" / "lock"
    with locked(workspace.night_lock, _WAIT), locked(experiments, _WAIT):
        if workspace.journal.is_file():
            raise Busy("a night was cut off; `lethe night` ends it, then the stack can take over")
        yield


def _copied(workspace: Workspace, found: Addresses) -> dict[str, int]:
    counts = {}
    try:
        Register.open(found.database("register", owner=True)).initialise()
        studies.forget(found.database("optuna"), "")  # opening it makes the tables
        # The server's folder is the one that the files named: the same place by another name.
        place = (workspace.mlflow / "artifacts").resolve().as_uri()
        for name, database in _files(workspace).items():
            if database.is_file():
                owner = name == "register"
                counts[name] = copy_rows(
                    sa.create_engine(_sqlite(database), poolclass=sa.NullPool),
                    sa.create_engine(
                        found.database(name, owner=owner), poolclass=sa.NullPool,
                        hide_parameters=True,
                    ),
                    {place: "mlflow-artifacts:"} if name == "mlflow" else {},
                    append_only=owner,
                )  # fmt: skip
    except LetheError:
        raise
    except Exception as error:  # a message could hold a row
        raise StoreUnavailable(f"nothing was carried over: {type(error).__name__}") from None
    return counts


def copy_rows(
    source: sa.Engine, target: sa.Engine, renamed: dict[str, str], append_only: bool = False
) -> int:
    """Copy every table in one transaction and compare; how many rows there are.

    `renamed` maps the places that texts may name to what they are called in the target.

    What a tool, or a copy that was killed, put there goes before. An append-only ledger keeps it:
    its file can only have grown since.

    Raises:
        StoreUnavailable: the target lacks a table, or holds other rows afterwards; none stay.
    """
    there, here = sa.MetaData(), sa.MetaData()
    there.reflect(source)
    here.reflect(target)
    with source.connect() as reading, target.begin() as writing:
        tables = [table for table in here.sorted_tables if table.name in there.tables]
        if lacking := there.tables.keys() - here.tables.keys():
            raise StoreUnavailable(f"the stack has no tables {', '.join(sorted(lacking))}")
        rows = {table.name: _read(reading, there.tables[table.name], renamed) for table in tables}
        for table in reversed(tables):
            if not append_only and table.name != _REVISION:
                writing.execute(table.delete())
        for table in tables:
            wanted, kept = rows[table.name], {_key(row) for row in _read(writing, table, {})}
            new = [row for row in wanted if table.name != _REVISION and _key(row) not in kept]
            for first in range(0, len(new), _AT_ONCE):
                writing.execute(table.insert(), new[first : first + _AT_ONCE])
            if target.dialect.name == "postgresql":
                _number_on(writing, table)
            if _read(writing, table, {}) != wanted:
                raise StoreUnavailable(f"table {table.name} is not what it was in the file")
    return sum(len(found) for name, found in rows.items() if name != _REVISION)


def _read(
    connection: sa.Connection, table: sa.Table, renamed: dict[str, str]
) -> list[dict[str, Any]]:
    """All rows in one order, texts with `renamed` places."""

    def said(value: Any) -> Any:
        if isinstance(value, str):
            for place, name in renamed.items():
                value = name + "/" if value == place else value.replace(f"{place}/", f"{name}/")
        return value

    rows = [
        {name: said(value) for name, value in row.items()}
        for row in connection.execute(sa.select(table)).mappings()
    ]
    return sorted(rows, key=_key)


def _key(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(value)) for name, value in row.items()))


def _number_on(writing: sa.Connection, table: sa.Table) -> None:
    """Let the next row's number follow the highest."""
    for column in table.primary_key.columns:
        named = sa.select(sa.func.pg_get_serial_sequence(f'"{table.name}"', column.name))
        if isinstance(column.type, sa.Integer) and (sequence := writing.scalar(named)):
            highest = writing.scalar(sa.select(sa.func.max(column)))
            if highest is not None:
                writing.execute(sa.select(sa.func.setval(sequence, highest)))


def _commit(workspace: Workspace, found: Addresses) -> None:
    """Files aside, then the address of the databases for every command, then the files for good."""
    former = _former(workspace)
    former.mkdir(parents=True, mode=0o700)
    for database in _files(workspace).values():
        for path in database.parent.glob(f"{database.name}*"):
            if path.suffix != ".lock":
                path.replace(former / path.name)
    publish(workspace, found)
    shutil.rmtree(former)


def _files(workspace: Workspace) -> dict[str, Path]:
    return {
        "register": workspace.state / "register.db",
        "mlflow": workspace.mlflow / "mlflow.db",
        "optuna": workspace.studies,
    }


def _home(workspace: Workspace, name: str) -> Path:
    homes = {database.name: database for database in _files(workspace).values()}
    return next(home.with_name(name) for known, home in homes.items() if name.startswith(known))


def _former(workspace: Workspace) -> Path:
    return workspace.stack / "former"


def _sqlite(database: Path) -> str:
    return f"sqlite:///{database}"
