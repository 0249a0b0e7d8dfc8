"""Flow runs whose process was killed: found by the kernel's locks, told to Prefect as crashed.

Prefect leaves a killed run RUNNING, for ever without a heartbeat and for minutes with one, and its
heartbeats need a server with all its services. So every run holds a lock on a file of its own while
it lives. Whoever finds a file that nobody holds knows that its run is over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from lethe.durable import locked
from lethe.errors import LetheError
from lethe.estate.workspace import Workspace
from lethe.nights.frame import end_killed
from lethe.nights.saying.events import say
from lethe.stages import opening

_WAIT = 60.0
_STARTED_BY_A_WORKER = "PREFECT__FLOW_RUN_ID"  # what a worker, or `serve`, tells a process


@contextlib.contextmanager
def living(folder: str) -> Iterator[None]:
    """Be known as alive during the block; before it, tell Prefect of the runs that are not.

    One that a worker or `lethe serve` started ends when that says so, not by Ctrl-C in its terminal
    as well: a second signal would cut off the end in order.
    """
    from prefect.runtime import flow_run

    number = flow_run.get_id()
    if number is None:  # called as a plain function
        yield
        return
    workspace = Workspace.find(Path(folder))
    clear(workspace)
    places = _places(workspace)
    with contextlib.ExitStack() as held:
        with locked(places / "lock", _WAIT):
            file = places / str(UUID(number))
            handle = held.enter_context(file.open("w", encoding="ascii"))
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.environ.get(_STARTED_BY_A_WORKER):
                handle.write(str(os.getpid()))
                handle.flush()
                held.enter_context(_not_interrupted())
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


@contextlib.contextmanager
def _not_interrupted() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def clear(workspace: Workspace) -> int:
    """Tell Prefect that runs whose process is gone have crashed; how many. And tell MLflow.

    A server that cannot be told now is told next time.
    """
    places, told = _places(workspace), 0
    _tell_mlflow(workspace)
    with locked(places / "lock", _WAIT):
        for file in sorted(places.iterdir()):
            if file.name != "lock" and not _is_held(file) and _crashed(file.name):
                file.unlink()
                told += 1
    return told


def _tell_mlflow(workspace: Workspace) -> None:
    try:
        end_killed(workspace, opening.open_params(workspace))
    except LetheError as error:
        say("prefect", f"killed runs are not ended in MLflow: {type(error).__name__}")


def clear_pool(workspace: Workspace, pool: str) -> int:
    """The same before a pool's only worker starts: also of runs killed before they had a file."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType

    told, alive = clear(workspace), _held(workspace)
    wanted = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=filters.FlowRunFilter(
                state=filters.FlowRunFilterState(
                    type=filters.FlowRunFilterStateType(any_=wanted),
                )
            ),
            work_pool_filter=filters.WorkPoolFilter(
                name=filters.WorkPoolFilterName(any_=[pool]),
            ),
        )
    return told + sum(_crashed(str(run.id)) for run in runs if str(run.id) not in alive)


def processes(workspace: Workspace) -> list[int]:
    """The ids of the processes of runs that a worker started and that are alive."""
    return [int(pid) for pid in _held(workspace).values() if pid]


def _held(workspace: Workspace) -> dict[str, str]:
    places = _places(workspace)
    with locked(places / "lock", _WAIT):
        held = [file for file in places.iterdir() if file.name != "lock" and _is_held(file)]
        return {file.name: file.read_text(encoding="ascii") for file in held}


def _places(workspace: Workspace) -> Path:
    places = workspace.state / "prefect" / "runs"
    places.mkdir(parents=True, exist_ok=True, mode=0o700)
    return places


def _is_held(file: Path) -> bool:
    with file.open("r", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _crashed(number: str) -> bool:
    """Whether Prefect knows now that this run is over; a run that it never had is over too."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import State
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    try:
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(UUID(number))
            if run.state is None or not run.state.is_final():
                state: State[Any] = Crashed(message="Its process was killed.")
                client.set_flow_run_state(run.id, state, force=True)
    except (ObjectNotFound, ValueError):
        pass
    except Exception as error:  # of the server, whatever it was: told again next time
        say("prefect", f"a killed run is not marked: {type(error).__name__}")
        return False
    return True
