"""A workspace with a history in files is carried over into the stack, and forgets there too.

It does so where it lost its disk as well, and a backup and a copy of the register came back.

Every process is real, as in `tests/flows/test_stack.py`.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from lethe.desk.stack.addresses import addresses
from lethe.desk.stack.postgres import make_databases
from lethe.durable import read_json
from lethe.estate.stores import undeclared
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.register import Closure, Register
from tests import postgres
from tests.flows.stack import Stack
from tests.watched import BIN, Shop

FILES = ("register.db", "mlflow/mlflow.db", "optuna.db")


@pytest.fixture(scope="module")
def people(small_night: Shop) -> tuple[str, str]:
    """Two shoppers' ids: one who is erased at once, and one who is erased later."""
    with closing(sqlite3.connect(small_night.root / ".lethe" / "vault.db")) as link:
        first, second = link.execute("SELECT id FROM people ORDER BY id LIMIT 2").fetchall()
    return str(first[0]), str(second[0])


@pytest.fixture(scope="module")
def lived(
    small_night: Shop, people: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A workspace with one night and an open erasure in its files."""
    if why := postgres.missing():
        pytest.skip(why)
    tmp_path = tmp_path_factory.mktemp("lived")
    copy = small_night.copied(tmp_path / "shop")
    made = Stack(Workspace(copy.root), copy.connections)
    (tmp_path / "erase.txt").write_text(f"{people[0]}\n")
    made.lethe("erase", "--file", str(tmp_path / "erase.txt"))
    try:
        yield made
    finally:
        made.lethe("down")


def _seen(stack: Stack) -> dict[str, Any]:
    told = stack.lethe("status")
    names = ("champion", "versions", "data_versions", "register_position", "requests", "safe_set")
    return {name: told[name] for name in names}


def _rows(file: Path, table: str) -> int:
    with closing(sqlite3.connect(file)) as link:
        return int(link.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


@pytest.mark.timeout(600)  # most of it is four servers that start on two shared cores
def test_a_history_in_files_goes_over_whole_and_an_erasure_reaches_it_there(
    lived: Stack, people: tuple[str, str]
) -> None:
    state, before = lived.workspace.state, _seen(lived)
    runs, entries = _rows(state / "mlflow/mlflow.db", "runs"), before["register_position"]
    refused = subprocess.run(
        [str(BIN / "lethe"), "up"], cwd=lived.workspace.root, env=lived.environment(),
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "`lethe up --move` carries them over" in refused.stderr
    assert not lived.workspace.stack_environment.exists()
    assert all((state / name).is_file() for name in FILES)

    lived.lethe("up", "--move")

    assert _seen(lived) == before
    assert entries > 0
    assert [name for name in FILES if (state / name).exists()] == []
    assert not (lived.workspace.stack / "former").exists()
    known = lived.settings()
    login = f"{known['MLFLOW_TRACKING_USERNAME']}:{known['MLFLOW_TRACKING_PASSWORD']}"
    status, found = lived.ask(
        f"{known['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/runs/search", login, "POST",
        {"experiment_ids": ["1"], "max_results": 1000},
    )  # fmt: skip
    assert (status, len(found["runs"])) == (200, runs)
    assert lived.workspace.root.as_uri() not in json.dumps(found)

    night = lived.lethe("night")
    assert (night["outcome"], night["champion"]) == ("promoted", 2)
    assert night["retired"]["closed"] >= 1
    lists = [p.read_text() for p in (state / "mlflow").rglob("users.txt")]
    assert len(lists) == 1
    (lived.connections.parent / "erased").write_text(f"{people[0]}\n")
    assert lived.lethe("scan", "--file", str(lived.connections.parent / "erased"))["found"] == 0
    assert lived.lethe("verify")["verdict"] == "VERIFIED"
    assert undeclared(lived.workspace) == ()


def _lose_the_disk(stack: Stack) -> None:
    """All but the keys is gone, and the databases are as a new stack's; its servers go on."""
    root, state = stack.workspace.root, stack.workspace.state
    for path in (*root.iterdir(), *state.iterdir()):
        if path.name not in {".lethe", "keys", "stack"}:
            (shutil.rmtree if path.is_dir() else Path.unlink)(path)
    found = addresses(stack.workspace)
    for name in ("mlflow", "optuna", "register"):
        engine = sa.create_engine(found.database(name, owner=True), poolclass=sa.NullPool)
        with engine.begin() as link:
            link.execute(sa.text("DROP SCHEMA public CASCADE"))
            link.execute(sa.text("CREATE SCHEMA public"))
            link.execute(sa.text("GRANT ALL ON SCHEMA public TO PUBLIC"))
    make_databases(found)
    Register.open(found.database("register", owner=True)).initialise()


@pytest.mark.timeout(600)
def test_a_person_erased_after_the_backup_of_a_stack_is_nowhere_after_the_restore(
    lived: Stack, people: tuple[str, str], tmp_path: Path
) -> None:
    if not lived.workspace.stack_environment.exists():
        lived.lethe("up", "--move")
    backup, copy, erased = (tmp_path / name for name in ("b.tar.gz", "register.db", "erased"))
    lived.lethe("backup", str(backup))
    erased.write_text(f"{people[1]}\n")
    lived.lethe("erase", "--file", str(erased))
    register = Register.open(lived.settings()["LETHE_REGISTER_URL"])
    for state in register.requests():  # as a night did that the backup does not know
        register.close(Closure(state.entry.position, "closed", "e" * 64, 0, 0))
    lived.lethe("backup", "--register-only", str(copy))
    before = lived.lethe("status")
    _lose_the_disk(lived)

    done = lived.lethe("restore", str(backup), "--register", str(copy))

    assert (done["people"], done["champion"]) == (1, None)
    assert done["versions"] >= 1
    assert done["rows"] > 0
    after = lived.lethe("status")
    names = ("register_position", "requests")
    assert [after[name] for name in names] == [before[name] for name in names]
    assert (after["champion"], after["versions"]) == (None, [])
    assert lived.lethe("scan", "--file", str(erased))["found"] == 0
    assert list((lived.workspace.mlflow / "artifacts").rglob("users.txt")) == []
    assert undeclared(lived.workspace) == ()
    secrets = read_json(lived.workspace.keys / "stack.json")["secrets"].values()
    assert not any(secret in lived.logs() for secret in secrets)
