"""Runs that were killed are known by the lock that the kernel took from them."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from flows import killed
from lethe.estate.workspace import Workspace

HOLDS = """
import fcntl, os, sys, time
handle = open(sys.argv[1], "w")
fcntl.flock(handle, fcntl.LOCK_EX)
handle.write(str(os.getpid()))
handle.flush()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    found = Workspace(tmp_path)
    monkeypatch.setattr(Workspace, "find", classmethod(lambda *_: found))
    return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    numbers: list[str] = []

    def crashed(number: str) -> bool:
        numbers.append(number)
        return True

    monkeypatch.setattr(killed, "_crashed", crashed)
    return numbers


def runs(monkeypatch: pytest.MonkeyPatch, number: str | None) -> None:
    monkeypatch.setattr("prefect.runtime.flow_run.get_id", lambda: number, raising=False)


def places(workspace: Workspace) -> list[str]:
    return sorted(p.name for p in (workspace.state / "prefect" / "runs").iterdir())


def test_a_run_is_known_by_its_process_while_it_lives_and_not_after(
    workspace: Workspace, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(monkeypatch, number := str(uuid.uuid4()))
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", number)
    with killed.living(str(workspace.root)):
        assert killed.processes(workspace) == [os.getpid()]
        assert killed.clear(workspace) == 0
        assert places(workspace) == [number, "lock"]
    assert killed.processes(workspace) == []
    assert places(workspace) == ["lock"]
    assert told == []


def test_a_run_that_somebody_started_by_hand_does_not_end_with_the_stack(
    workspace: Workspace, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(monkeypatch, str(uuid.uuid4()))
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID", raising=False)
    with killed.living(str(workspace.root)):
        assert killed.processes(workspace) == []
        assert killed.clear(workspace) == 0
    assert told == []


def test_a_run_that_was_killed_is_told_once_and_one_that_lives_never(
    workspace: Workspace, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(monkeypatch, None)
    assert killed.clear(workspace) == 0
    folder = workspace.state / "prefect" / "runs"
    files = [folder / str(uuid.uuid4()) for _ in range(2)]
    children = [
        subprocess.Popen([sys.executable, "-c", HOLDS, str(file)], stdout=subprocess.PIPE)
        for file in files
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"held\n"
        assert sorted(killed.processes(workspace)) == sorted(child.pid for child in children)
        children[0].kill()
        children[0].wait()
        runs(monkeypatch, str(uuid.uuid4()))
        with killed.living(str(workspace.root)):
            assert told == [files[0].name]
        assert killed.clear(workspace) == 0
        assert places(workspace) == sorted([files[1].name, "lock"])
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert killed.clear(workspace) == 1
    assert told == [file.name for file in files]


def test_a_run_of_which_the_server_cannot_be_told_is_told_next_time(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[bool] = [False, True]
    monkeypatch.setattr(killed, "_crashed", lambda _: answers.pop(0))
    folder = killed._places(workspace)
    (folder / str(uuid.uuid4())).touch()
    assert killed.clear(workspace) == 0
    assert killed.clear(workspace) == 1
    assert places(workspace) == ["lock"]


def test_a_server_that_does_not_answer_ends_no_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(**_: object) -> None:
        raise ConnectionError("secret")

    monkeypatch.setattr("prefect.client.orchestration.get_client", refuses)
    assert not killed._crashed(str(uuid.uuid4()))
    said = capsys.readouterr().err
    assert "not marked: ConnectionError" in said
    assert "secret" not in said


def test_a_plain_call_needs_no_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    runs(monkeypatch, None)
    with killed.living(str(tmp_path)):
        assert list(tmp_path.iterdir()) == []
    assert told == []
