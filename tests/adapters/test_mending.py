"""What a killed dvc leaves in its own notes, and would refuse for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lethe.adapters.data_versions import DataVersions
from lethe.adapters.object_stores import mend
from lethe.durable import locked, write_json

DVC_YAML = """
stages:
  copy:
    cmd: cp -r source data
    deps: [source]
    outs: [data]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which one stage ran."""
    root = tmp_path_factory.mktemp("mending")
    DataVersions(root).init()
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "source").mkdir()
    (root / "source" / "rows.txt").write_text("rows")
    DataVersions(root).reproduce("copy")
    return root


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A live process; its first argument says `dvc` where a test asks for it."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "dvc"])
    yield process
    process.kill()
    process.wait()


def held_by(root: Path, pid: int) -> dict[str, object]:
    """Say that a process locks the stage's output and dependency; what is left of it."""
    holder = {"pid": pid, "cmd": "dvc repro copy"}
    locks = {"write": {str(root / "data"): holder}, "read": {str(root / "source"): [holder]}}
    write_json(root / ".dvc/tmp/rwlock", locks)
    mend(root)
    return dict(json.loads((root / ".dvc/tmp/rwlock").read_text()))


def test_a_lock_file_cut_short_anywhere_is_dropped_or_readable(root: Path) -> None:
    path = root / "dvc.lock"
    whole = path.read_bytes()
    before, dropped = DataVersions(root).digest("data"), 0
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        mend(root)
        dropped += not path.exists()
        assert not path.exists() or yaml.safe_load(path.read_bytes())["schema"] == "2.0"
        assert str(before).startswith(DataVersions(root).digest("data") or "")
    path.write_bytes(whole)
    mend(root)
    assert path.read_bytes() == whole
    assert dropped > 0


@pytest.mark.parametrize("left", [b"", b"schema: '2.0'\nstages:\n  copy:\n    cmd"])
def test_after_a_lock_file_cut_short_the_stage_reproduces_the_same(root: Path, left: bytes) -> None:
    before = DataVersions(root).digest("data")
    (root / "dvc.lock").write_bytes(left)
    (root / ".dvc/tmp/rwlock").write_text('{"write": {"da')
    assert DataVersions(root).reproduce("copy").digest == before


def test_locks_of_the_dead_and_of_others_that_got_their_number_are_released(root: Path) -> None:
    """The second is this very test: in a container numbers repeat, and dvc would wait for it."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    nothing: dict[str, object] = {"write": {}, "read": {}}
    assert held_by(root, ended.pid) == nothing
    assert held_by(root, os.getpid()) == nothing


def test_the_lock_of_a_living_dvc_stays(root: Path, sleeper: subprocess.Popen[bytes]) -> None:
    held = held_by(root, sleeper.pid)
    assert [bool(held[kind]) for kind in ("write", "read")] == [True, True]
    (root / ".dvc/tmp/rwlock").unlink()


def test_nothing_is_mended_while_a_dvc_command_holds_the_repository(root: Path) -> None:
    (root / ".dvc/tmp/rwlock").write_text('{"write": {"da')
    with locked(root / ".dvc/tmp/lock", 0):
        mend(root)
        assert (root / ".dvc/tmp/rwlock").read_text() == '{"write": {"da'
    mend(root)
    assert json.loads((root / ".dvc/tmp/rwlock").read_text()) == {"write": {}, "read": {}}
