"""Up and down: every service by its id, in order, and none left when one does not start."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from lethe.adapters.catalogue import Catalogue
from lethe.desk.stack import moving as moved
from lethe.desk.stack import processes
from lethe.desk.stack.addresses import Addresses, addresses, publish
from lethe.desk.stack.processes import Process
from lethe.desk.stack.services import Service, environment, services
from lethe.durable import locked
from lethe.errors import BadConfiguration, OutsideFailure
from lethe.estate.workspace import Workspace
from lethe.stages import opening

STARTS_WITHIN = 180.0
_ENDS_WITHIN = 30.0
_WAIT = 300.0  # for another `lethe up` or `lethe down`


@dataclass(frozen=True)
class Deploying:
    """What the flows do once Prefect's server is up: before the worker starts, and beside it."""

    before: Callable[[], None]
    beside: Callable[[], None]


def bring_up(workspace: Workspace, deploying: Deploying, moving: bool = False) -> dict[str, Any]:
    """Start what does not run, in waves; with `moving` a history outside the stack is carried over.

    Raises:
        BadConfiguration: the workspace has a history outside the stack, or a port is none.
        LetheError: see `lethe.desk.stack.moving.move`.
        OutsideFailure: a service did not start; all that this call started is ended again.
    """
    with locked(workspace.stack / "lock", _WAIT):
        moved.settle_former(workspace)
        if not workspace.stack_environment.exists() and not moving:
            _refuse_a_history(workspace)
        found = addresses(workspace)
        running = _running(workspace)
        started: list[str] = []
        missing = [s for s in services(workspace, found) if s.name not in running]
        with contextlib.ExitStack() as unless_all_start:
            unless_all_start.callback(_end, workspace, found, running, started)
            for _, wave in groupby(missing, key=lambda service: service.wave):
                _start_wave(list(wave), workspace, found, running, started, deploying)
            unless_all_start.pop_all()
    return _told(workspace, found, running, started)


def _start_wave(  # noqa: PLR0913
    wave: list[Service],
    workspace: Workspace,
    found: Addresses,
    running: dict[str, Process],
    started: list[str],
    deploying: Deploying,
) -> None:
    """Start some services side by side; `running` and `started` are added to."""
    worker = wave[0].name == "worker"
    if worker:
        _settled(workspace, found)
        deploying.before()
    children = []
    for service in wave:
        started.append(service.name)
        children.append(_start(service, workspace, running))
    if worker:
        deploying.beside()
    for service, child in zip(wave, children, strict=True):
        _await(service, child, _log(workspace, service))


def take_down(workspace: Workspace, orphans: Callable[[], list[int]]) -> dict[str, Any]:
    """End every service that was written down, the last first, and wait for each.

    `orphans` gives the ids of flow runs that go on without their worker; they end after it.
    """
    with locked(workspace.stack / "lock", _WAIT):
        running = _running(workspace)
        if not running and not workspace.stack_environment.exists():
            return {"ended": [], "text": "there is no stack"}
        ended = _end(workspace, addresses(workspace), running, list(running), orphans)
    text = f"ended: {', '.join(ended)}" if ended else "the stack is down"
    return {"ended": ended, "text": text}


def _refuse_a_history(workspace: Workspace) -> None:
    if _has_a_history(workspace):
        raise BadConfiguration(
            "this workspace has nights or requests in its own files; `lethe up --move` carries "
            "them over into the stack"
        )


def _has_a_history(workspace: Workspace) -> bool:
    known = opening.newest_known(workspace)
    return bool(Catalogue(workspace.catalogue).list() or (known is not None and known.position))


def _running(workspace: Workspace) -> dict[str, Process]:
    found = processes.written(_ids(workspace))
    return {name: process for name, process in found.items() if process.lives()}


def _settled(workspace: Workspace, found: Addresses) -> None:
    """The first time: the register's tables and MLflow's experiment, then the way to both."""
    if workspace.stack_environment.exists():
        publish(workspace, found)
        return
    from lethe.desk.setting_up import initialise
    from lethe.interactions.rights.register import Register

    Register.open(found.database("register", owner=True)).initialise()
    if _has_a_history(workspace):
        moved.move(workspace, found)
    os.environ.update(found.environment())
    initialise(workspace, None)
    publish(workspace, found)


def _start(
    service: Service, workspace: Workspace, running: dict[str, Process]
) -> subprocess.Popen[bytes]:
    if service.name == "mlflow":
        shutil.rmtree(workspace.stack / "tmp", ignore_errors=True)  # half-sent files
    service.prepare()
    with service.line() as line:
        env = {**environment(service, workspace), **line.environment}
        process, child = processes.start(
            line.command, env, _log(workspace, service), line.folder or workspace.root, line.options
        )
    running[service.name] = process
    processes.write_down(_ids(workspace), running)
    return child


def _await(service: Service, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while (code := child.poll()) is not None or not service.ready():
        if code is not None or time.monotonic() >= deadline:
            how = "does not answer" if code is None else f"ended with {code}"
            raise OutsideFailure(f"{service.name} {how}; its log is {log}")
        time.sleep(0.1)


def _end(
    workspace: Workspace,
    found: Addresses,
    running: dict[str, Process],
    names: list[str],
    orphans: Callable[[], list[int]] = list,
) -> list[str]:
    ended = []
    for service in reversed(services(workspace, found)):
        if service.name in names and service.name in running:
            processes.end(running.pop(service.name), service.ends_on, _ENDS_WITHIN)
            processes.write_down(_ids(workspace), running)
            ended.append(service.name)
        if service.name == "worker":
            for pid in orphans():
                processes.end(processes.known(pid), service.ends_on, _ENDS_WITHIN)
    return ended


def _log(workspace: Workspace, service: Service) -> Path:
    return workspace.stack / "logs" / f"{service.name}.log"


def _ids(workspace: Workspace) -> Path:
    return workspace.stack / "processes.json"


def _told(
    workspace: Workspace, found: Addresses, running: dict[str, Process], started: list[str]
) -> dict[str, Any]:
    lines = [
        f"started: {', '.join(started)}" if started else "the stack is up",
        f"Prefect: {found.http('prefect')}, MLflow: {found.http('mlflow')}",
        f"the user is lethe; the passwords stand in {workspace.stack_environment}",
        "commands of this workspace use the stack by themselves",
    ]
    return {
        "started": started,
        "prefect": found.http("prefect"),
        "mlflow": found.http("mlflow"),
        "environment": str(workspace.stack_environment),
        "processes": {name: process.pid for name, process in running.items()},
        "text": "\n".join(lines),
    }
