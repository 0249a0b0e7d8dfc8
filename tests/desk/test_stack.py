"""The stack's own rules, with plain processes in the place of its servers."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lethe.desk.stack import processes, running
from lethe.desk.stack.addresses import addresses, publish, withdraw_lost
from lethe.desk.stack.deployments import written
from lethe.desk.stack.running import Deploying, bring_up, take_down
from lethe.desk.stack.services import Line, Service
from lethe.errors import BadConfiguration, OutsideFailure
from lethe.estate import process
from lethe.estate.stores import undeclared
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.standing import Head
from lethe.stages import opening

NOTHING = Deploying(lambda: None, lambda: None)
WAITS = [sys.executable, "-c", "import time; time.sleep(60)"]
PROGRAM = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(60)
"""
STUBBORN = [sys.executable, "-c", PROGRAM]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    made.stack.mkdir(parents=True)
    made.keys.mkdir()
    made.stack_environment.touch()
    return made


def service(name: str, command: list[str], ready: Callable[[], bool] = lambda: True) -> Service:
    @contextmanager
    def line() -> Iterator[Line]:
        yield Line(list(command))

    return Service(name, line, ready)


def given(monkeypatch: pytest.MonkeyPatch, *chosen: Service) -> None:
    monkeypatch.setattr(running, "services", lambda *_: chosen)


def pids(workspace: Workspace) -> list[int]:
    written_down = processes.written(workspace.stack / "processes.json")
    return [one.pid for one in written_down.values()]


def test_a_service_that_dies_at_its_start_is_named_and_takes_the_others_down(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    dies = [sys.executable, "-c", "import sys; print('no room', flush=True); sys.exit(7)"]

    def ready() -> bool:
        begun.extend(pids(workspace))
        return False

    given(monkeypatch, service("first", WAITS), service("second", dies, ready))
    with pytest.raises(OutsideFailure, match=r"second ended with 7; its log is .*second\.log"):
        bring_up(workspace, NOTHING)
    assert "no room" in (workspace.stack / "logs" / "second.log").read_text()
    assert len(set(begun)) == 2
    assert [processes.known(pid).lives() for pid in begun] == [False] * len(begun)
    assert pids(workspace) == []


def test_what_runs_is_left_alone_and_what_died_is_started_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, service("first", WAITS), service("second", WAITS))
    try:
        assert bring_up(workspace, NOTHING)["started"] == ["first", "second"]
        again = bring_up(workspace, NOTHING)
        assert again["started"] == []
        assert again["text"].startswith("the stack is up")
        os.kill(again["processes"]["second"], signal.SIGKILL)
        while processes.known(again["processes"]["second"]).lives():
            time.sleep(0.01)
        mended = bring_up(workspace, NOTHING)
        assert mended["started"] == ["second"]
        assert mended["processes"]["first"] == again["processes"]["first"]
    finally:
        ended = take_down(workspace, list)
    assert ended["ended"] == ["second", "first"]
    assert not any(processes.known(pid).lives() for pid in mended["processes"].values())
    assert take_down(workspace, list)["ended"] == []
    assert undeclared(workspace) == ()


def test_a_process_that_will_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "child"
    started, child = processes.start(
        [*STUBBORN, str(note)], os.environ, tmp_path / "log", tmp_path, {}
    )
    while not (note.exists() and note.read_text()):
        assert child.poll() is None
        time.sleep(0.02)
    below = processes.known(int(note.read_text()))
    assert below in processes.family(started)
    processes.end(started, signal.SIGTERM, 0.3)
    assert not started.lives()
    assert not below.lives()


def test_an_id_that_belongs_to_somebody_else_by_now_is_left_alone(tmp_path: Path) -> None:
    started, child = processes.start(WAITS, os.environ, tmp_path / "log", tmp_path, {})
    try:
        earlier = processes.Process(started.pid, started.born - 1)
        assert not earlier.lives()
        processes.end(earlier, signal.SIGKILL, 0.1)
        assert child.poll() is None
    finally:
        processes.end(started, signal.SIGKILL, 5)


def test_flow_runs_that_lost_their_worker_end_with_the_stack(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = service("worker", WAITS)
    given(monkeypatch, worker)
    orphan, _ = processes.start(WAITS, os.environ, workspace.root / "log", workspace.root, {})
    take_down(workspace, lambda: [orphan.pid])
    assert not orphan.lives()


@pytest.mark.parametrize("position", [0, 3])
def test_a_workspace_with_a_history_of_its_own_gets_no_empty_register(
    workspace: Workspace, position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch)
    workspace.stack_environment.unlink()
    opening.write_position(workspace.register_anchor, Head(position, "a" * 64))
    if position == 0:
        assert bring_up(workspace, NOTHING)["started"] == []
        return
    with pytest.raises(BadConfiguration, match="`lethe up --move` carries them"):
        bring_up(workspace, NOTHING)


def test_secrets_are_made_once_and_kept_from_others(workspace: Workspace) -> None:
    first, second = addresses(workspace), addresses(workspace)
    publish(workspace, first)
    assert first == second
    assert len(set(first.secrets.values())) == len(first.secrets)
    assert not any(secret in repr(first) for secret in first.secrets.values())
    kept = [file for file in workspace.keys.iterdir() if file.name.startswith("stack")]
    assert len(kept) == 2
    assert {file.stat().st_mode & 0o777 for file in kept} == {0o600}


def test_a_port_can_be_chosen_and_nonsense_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("LETHE_PREFECT_PORT", str(port))
    assert addresses(workspace).http("prefect") == f"http://127.0.0.1:{port}"
    monkeypatch.delenv("LETHE_PREFECT_PORT")
    assert addresses(workspace).ports["prefect"] == port
    for wrong in ("80a", "0", "65536", "-1"):
        monkeypatch.setenv("LETHE_MLFLOW_PORT", wrong)
        with pytest.raises(BadConfiguration, match="LETHE_MLFLOW_PORT is no port"):
            addresses(workspace)


def test_every_command_of_the_workspace_uses_its_stack_unless_told_otherwise(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = addresses(workspace)
    publish(workspace, found)
    for name in found.environment():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LETHE_STUDIES_URL", "postgresql+psycopg://elsewhere/optuna")
    for name in (*process.TELEMETRY_OFF, *process._DEFAULTS, "PREFECT_HOME", "TMPDIR"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    for name, value in process._stack(workspace):
        monkeypatch.setenv(name, os.environ.get(name) or value)
    assert workspace.register_url() == found.database("register")
    assert workspace.tracking_uri() == found.http("mlflow")
    assert workspace.studies_at() == "postgresql+psycopg://elsewhere/optuna"
    assert not workspace.keeps_mlflow_itself()


def test_keys_in_an_empty_folder_lead_to_no_stack_that_is_gone_and_a_loss_still_shows(
    workspace: Workspace,
) -> None:
    made = workspace.stack / "postgres" / "made"
    publish(workspace, addresses(workspace))
    for remembers in (made, workspace.catalogue, workspace.register_anchor):
        remembers.parent.mkdir(parents=True, exist_ok=True)
        remembers.touch()
        withdraw_lost(workspace)
        assert workspace.stack_environment.exists()
        remembers.unlink()
    before = addresses(workspace)
    withdraw_lost(workspace)
    assert not workspace.stack_environment.exists()
    assert addresses(workspace) == before


def test_the_deployments_are_written_once_and_are_those_of_the_repository(
    workspace: Workspace,
) -> None:
    file = written(workspace)
    assert file.read_bytes() == (Path(__file__).parents[2] / "prefect.yaml").read_bytes()
    file.write_text("changed")
    assert written(workspace).read_text() == "changed"
