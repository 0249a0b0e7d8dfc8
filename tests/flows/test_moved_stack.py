"""A workspace with a history in files is carried over into the stack, and forgets there too.

Every process is real, as in `tests/flows/test_stack.py`.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lethe.estate.stores import undeclared
from lethe.estate.workspace import Workspace
from tests import postgres
from tests.flows.stack import Stack
from tests.flows.test_stack import PARAMS
from tests.nights import shop
from tests.watched import BIN

FILES = ("register.db", "mlflow/mlflow.db", "optuna.db")


@pytest.fixture
def lived(tmp_path: Path) -> Iterator[Stack]:
    """A workspace with one night and an open erasure in its files."""
    if why := postgres.missing():
        pytest.skip(why)
    workspace = Workspace(tmp_path / "shop")
    made = Stack(workspace, tmp_path / "connections")
    (tmp_path / "params.yaml").write_text(f"{PARAMS}promotion: {{must_beat: []}}\n")
    workspace.root.mkdir()
    made.lethe("init", "--params", str(tmp_path / "params.yaml"))
    shop.catalogue(workspace.landing)
    shop.export(workspace.landing / "day-30.csv.gz", shop.history())
    made.lethe("night")
    (tmp_path / "erase.txt").write_text(f"{shop.ERASED}\n")
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
def test_a_history_in_files_goes_over_whole_and_an_erasure_reaches_it_there(lived: Stack) -> None:
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
    (lived.connections.parent / "erased").write_text(f"{shop.ERASED}\n")
    assert lived.lethe("scan", "--file", str(lived.connections.parent / "erased"))["found"] == 0
    assert lived.lethe("verify")["verdict"] == "VERIFIED"
    assert undeclared(lived.workspace) == ()
