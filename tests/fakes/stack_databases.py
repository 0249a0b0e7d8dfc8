"""The stack's real PostgreSQL without its other servers; tables as MLflow and Optuna have them."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lethe.desk.stack import postgres, processes
from lethe.desk.stack.addresses import Addresses, addresses, publish
from lethe.desk.stack.services import services
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.register import Register

AWKWARD = "a 'quoted' \\ text\n\\.\n\t$$ \u00e9\U0001f600 -- PostgreSQL database dump complete"
TABLES = {
    "mlflow": (
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "CREATE TABLE runs (id serial PRIMARY KEY, note text, raw bytea, value double precision)",
        "CREATE TABLE model_versions (version int REFERENCES runs (id), name text)",
        "CREATE TABLE registered_model_aliases (name text, alias text, version int)",
        "INSERT INTO alembic_version VALUES ('r1')",
    ),
    "optuna": (
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "CREATE TABLE studies (id serial PRIMARY KEY, name text UNIQUE)",
        "INSERT INTO alembic_version VALUES ('v5')",
    ),
}
RIGHTS = tuple(
    f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {rights} ON {kind} TO register"
    for kind, rights in (("TABLES", "SELECT, INSERT"), ("SEQUENCES", "USAGE"))
)
HISTORY = {
    "mlflow": (
        "INSERT INTO runs (note, raw, value) VALUES (:awkward, '\\x00ff0a', 0.1 + 0.2)",
        "INSERT INTO runs (note) SELECT 'run ' || n FROM generate_series(2, 50) AS n",
        "INSERT INTO model_versions VALUES (7, 'shop')",
        "INSERT INTO registered_model_aliases VALUES ('shop', 'challenger', 7)",
        "INSERT INTO registered_model_aliases VALUES ('shop', 'champion', 3)",
    ),
    "optuna": ("INSERT INTO studies (name) VALUES ('als'), (:awkward)",),
}


@dataclass(frozen=True)
class Databases:
    """A stack of which PostgreSQL alone runs."""

    workspace: Workspace
    found: Addresses

    def run(self, name: str, *statements: str, owner: bool = False) -> list[Any]:
        """Statements in a database, by its own role or the server's owner; the last one's rows."""
        engine = sa.create_engine(self.found.database(name, owner=owner), poolclass=sa.NullPool)
        with engine.begin() as link:
            rows: list[Any] = []
            for statement in statements:
                text = sa.text(statement)
                done = link.execute(text, {"awkward": AWKWARD} if ":awkward" in statement else {})
                rows = list(done) if done.returns_rows else []
            return rows

    def rows(self, name: str) -> dict[str, list[Any]]:
        """Every row of every table of a database."""
        tables = self.run(name, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {
            table: sorted(map(repr, self.run(name, f"SELECT * FROM {table}")))  # noqa: S608
            for (table,) in sorted(tables)
        }

    def fresh(self) -> None:
        """As `lethe up` leaves them the first time: the tools' tables, and an empty register."""
        for name, role in (("mlflow", "mlflow"), ("optuna", "optuna"), ("register", "lethe")):
            self.run(
                name,
                "DROP SCHEMA public CASCADE",
                f"CREATE SCHEMA public AUTHORIZATION {role}",
                "GRANT USAGE ON SCHEMA public TO PUBLIC",
                f"SET LOCAL ROLE {role}",
                *TABLES.get(name, RIGHTS),
                owner=True,
            )
        Register.open(self.found.database("register", owner=True)).initialise()

    def filled(self) -> None:
        """As nights leave them."""
        self.fresh()
        for name, statements in HISTORY.items():
            self.run(name, *statements)

    def lend(self, workspace: Workspace) -> None:
        """Let another workspace have the stack."""
        shutil.copy(self.workspace.keys / "stack.json", workspace.keys)
        publish(workspace, self.found)


@contextlib.contextmanager
def databases(folder: Path) -> Iterator[Databases]:
    """Start PostgreSQL as `lethe up` does, make the databases, and end it."""
    workspace = Workspace(folder)
    workspace.stack.mkdir(parents=True)
    found = addresses(workspace)
    service = services(workspace, found)[0]
    service.prepare()
    with service.line() as line:
        process, child = processes.start(
            [*line.command, "-c", "fsync=off"],
            {"PATH": "/usr/bin:/bin"},
            folder / "log",
            Path("/"),
            line.options,
        )
    try:
        while not service.ready():
            assert child.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        postgres.make_databases(found)
        yield Databases(workspace, found)
    finally:
        processes.end(process, signal.SIGINT, 20.0)
