"""A dump brings a database of the stack back row by row, or is refused and changes nothing."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lethe.adapters.packing import database
from lethe.desk.backups import dumps
from lethe.desk.stack import postgres
from lethe.errors import BadConfiguration, BadFile, BadInput, LetheError, StoreUnavailable
from lethe.estate.workspace import Workspace
from tests.desk.conftest import Dumped
from tests.fakes.stack_databases import Databases


@pytest.fixture
def folder(stack: Databases, dumped: Dumped, tmp_path: Path) -> Path:
    """A backup's dumps of databases with a history, which are fresh again now."""
    for name, content in dumped.files.items():
        (file := tmp_path / dumps.member(name)).parent.mkdir(exist_ok=True, parents=True)
        file.write_bytes(content)
    stack.fresh()
    return tmp_path


def test_every_row_comes_back_and_the_next_number_follows_and_no_alias_names_a_version(
    stack: Databases, folder: Path
) -> None:
    stack.filled()
    before = {name: stack.rows(name) for name in dumps.NAMES}
    before["mlflow"]["registered_model_aliases"] = []
    stack.fresh()
    for again in (False, True):  # a restore that was killed is repeated
        told = [
            database.taken(dumps.load(stack.found, dump))
            for dump in dumps.fitting(stack.found, folder, again)
        ]
        assert told == [{"champion": 3, "challenger": 7}, {}]
        assert {name: stack.rows(name) for name in dumps.NAMES} == before
    assert stack.run("mlflow", "INSERT INTO runs (note) VALUES ('new') RETURNING id") == [(51,)]
    stack.run("mlflow", "DROP TABLE runs CASCADE")  # the tool owns its tables, as before
    owners = stack.run("optuna", "SELECT DISTINCT tableowner FROM pg_tables "
                       "WHERE schemaname = 'public'")  # fmt: skip
    assert owners == [("optuna",)]


def test_what_was_loaded_can_be_dumped_and_loaded_again(stack: Databases, folder: Path) -> None:
    for dump in dumps.fitting(stack.found, folder, again=False):
        dumps.load(stack.found, dump)
    once = stack.rows("mlflow")
    dumps.write(stack.found, "mlflow", folder / dumps.member("mlflow"))
    for dump in dumps.fitting(stack.found, folder, again=True):
        dumps.load(stack.found, dump)
    assert stack.rows("mlflow") == once


def test_a_load_that_fails_in_its_last_line_leaves_the_database_as_it_was(
    stack: Databases, folder: Path
) -> None:
    file, before = folder / dumps.member("mlflow"), stack.rows("mlflow")
    said = file.read_text()
    head, end = said.rsplit("-- PostgreSQL database dump complete\n", 1)
    file.write_text(f"{head}SELECT 1 / 0;\n\n-- PostgreSQL database dump complete\n{end}")
    dump, _ = dumps.fitting(stack.found, folder, again=False)
    with pytest.raises(StoreUnavailable, match=r"^PostgreSQL's psql ended with 3$"):
        dumps.load(stack.found, dump)
    assert stack.rows("mlflow") == before


def cut_short(folder: Path, _: Databases) -> None:
    file = folder / dumps.member("mlflow")
    file.write_bytes(file.read_bytes()[:-200])


def something_else(folder: Path, _: Databases) -> None:
    (folder / dumps.member("optuna")).write_text("\n-- PostgreSQL database dump complete\n")


def one_missing(folder: Path, _: Databases) -> None:
    (folder / dumps.member("optuna")).unlink()


def of_a_newer_server(folder: Path, _: Databases) -> None:
    file = folder / dumps.member("mlflow")
    text = file.read_text()
    file.write_text(re.sub(r"Dumped from database version \d+", r"\g<0>0", text))


def of_another_mlflow(folder: Path, _: Databases) -> None:
    file = folder / dumps.member("mlflow")
    file.write_text(file.read_text().replace("\nr1\n", "\nr0\n"))


def over_a_history(_: Path, stack: Databases) -> None:
    stack.run("mlflow", "INSERT INTO runs (note) VALUES ('a night')")


def over_a_study(_: Path, stack: Databases) -> None:
    stack.run("optuna", "INSERT INTO studies (name) VALUES ('als')")


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (cut_short, BadFile, r"mlflow\.sql: it is no whole dump"),
        (something_else, BadFile, r"optuna\.sql: it is no whole dump"),
        (one_missing, BadFile, r"optuna\.sql: the backup has no dump of this database"),
        (of_a_newer_server, BadInput, r"mlflow\.sql is of PostgreSQL \d+0; the stack has \d+"),
        (of_another_mlflow, BadInput, r"mlflow\.sql has tables of another version"),
        (over_a_history, BadInput, "database mlflow holds a history already"),
        (over_a_study, BadInput, "database optuna holds a history already"),
    ],
)
def test_a_dump_that_cannot_or_must_not_be_loaded_is_refused_before_anything_is_changed(
    stack: Databases,
    folder: Path,
    spoil: Callable[[Path, Databases], None],
    error: type[LetheError],
    says: str,
) -> None:
    spoil(folder, stack)
    before = [stack.rows(name) for name in dumps.NAMES]
    with pytest.raises(error, match=says) as refusal:
        dumps.fitting(stack.found, folder, again=False)
    assert refusal.value.exit_code == 2
    assert [stack.rows(name) for name in dumps.NAMES] == before


def tools(folder: Path, monkeypatch: pytest.MonkeyPatch, **instead: str | None) -> None:
    """The server's tools, some of them replaced by a script, or missing."""
    there = postgres.binaries()
    (place := folder / "bin").mkdir()
    for name in ("pg_dump", "psql", "initdb"):
        if name not in instead:
            (place / name).symlink_to(there / name)
        elif script := instead[name]:
            (place / name).write_text(f"#!/bin/sh\n{script}\n")
            (place / name).chmod(0o755)
    monkeypatch.setattr(postgres, "binaries", lambda: place)


OTHER = 'echo "pg_dump (PostgreSQL) 9.6.1"'
HALF = 'case "$1" in --version) exec {0} --version;; esac; for a; do case "$a" in --file=*) \
    echo "-- PostgreSQL database dump" > "${a#--file=}";; esac; done'


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        (None, BadConfiguration, "pg_dump is not installed beside its server"),
        (OTHER, BadConfiguration, r"pg_dump is of PostgreSQL 9 and the server of \d+"),
        ("echo nothing", BadConfiguration, r"pg_dump is of PostgreSQL \?"),
        (HALF, StoreUnavailable, "pg_dump wrote less than all of database mlflow"),
        ("exit 1", BadConfiguration, "pg_dump is of"),
    ],
)
def test_no_dump_is_taken_by_a_tool_that_cannot_be_trusted(
    stack: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    script: str | None, error: type[LetheError], says: str,
) -> None:  # fmt: skip
    stack.filled()
    real = postgres.binaries() / "pg_dump"
    tools(tmp_path, monkeypatch, pg_dump=script and script.replace("{0}", str(real)))
    with pytest.raises(error, match=says):
        dumps.write(stack.found, "mlflow", tmp_path / "mlflow.sql")


def test_a_missing_psql_is_told_before_anything_is_changed(
    stack: Databases, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools(folder, monkeypatch, psql=None)
    with pytest.raises(BadConfiguration, match="psql is not installed beside its server"):
        dumps.fitting(stack.found, folder, again=False)


def test_no_password_is_on_a_command_line_and_no_variable_of_the_operators_leads_elsewhere(
    stack: Databases, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = subprocess.run

    def run(command: list[Any], **options: Any) -> Any:
        seen.extend(map(str, command))
        return real(command, **options)

    monkeypatch.setattr(subprocess, "run", run)
    for name in ("PGHOST", "PGUSER", "PGPORT", "PGDATABASE"):
        monkeypatch.setenv(name, "elsewhere")
    dumps.write(stack.found, "mlflow", folder / dumps.member("mlflow"))
    for dump in dumps.fitting(stack.found, folder, again=False):
        dumps.load(stack.found, dump)
    assert len(seen) > 30
    assert not any(secret in word for secret in stack.found.secrets.values() for word in seen)


def test_databases_elsewhere_and_a_stack_that_is_down_are_told_without_a_password(
    stack: Databases, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in stack.found.environment():
        monkeypatch.delenv(name, raising=False)
    (place := Workspace(folder / "shop")).keys.mkdir(parents=True)
    assert dumps.stack_of(place) is None
    stack.lend(place)
    assert dumps.stack_of(place) == stack.found
    for name in ("LETHE_REGISTER_URL", "MLFLOW_TRACKING_URI"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "postgresql+psycopg://me:secret@elsewhere/x")
            with pytest.raises(BadConfiguration, match=f"^{name} names another server") as told:
                dumps.stack_of(place)
            assert "secret" not in str(told.value)
    ports = {**stack.found.ports, "postgres": 1}
    down = type(stack.found)(ports, stack.found.secrets)
    refused = "database mlflow refused: OperationalError"
    with pytest.raises(StoreUnavailable, match=refused) as unreached:
        dumps.fitting(down, folder, again=False)
    assert not any(secret in str(unreached.value) for secret in down.secrets.values())
    assert os.environ.get("PGPASSWORD") is None
