"""The deployments of prefect.yaml: applied to a server for a worker, or served without one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from flows.killed import clear, clear_pool
from lethe.desk.stack import processes
from lethe.errors import BadConfiguration, OutsideFailure
from lethe.estate.workspace import Workspace

POOL = "lethe"
_ENDS_WITHIN, _STEP = 20.0, 0.05
_STARTED = b"PREFECT__FLOW_RUN_ID="  # stands in the environment of a flow run alone


def deploy(workspace: Workspace, file: Path, log: Path) -> None:
    """Apply every deployment of `file`.

    Raises:
        OutsideFailure: Prefect refused one; `log` says why.
    """
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    with log.open("ab") as written:
        done = subprocess.run(
            [*command, "--prefect-file", str(file)],
            cwd=workspace.root,
            env={**os.environ, "LETHE_WORKSPACE": str(workspace.root)},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise OutsideFailure(f"prefect deploy ended with {done.returncode}; its log is {log}")


def make_ready(workspace: Workspace) -> None:
    """Make the work pool if it is missing, mark runs that were killed; not beside a worker."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(POOL)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    clear_pool(workspace, POOL)


def serve(workspace: Workspace, file: Path) -> None:
    """Run every deployment of `file` on its schedule, in processes of this one, until told to end.

    SIGTERM and Ctrl-C end it. A night that runs then is asked to end in order and waited for: the
    champion stays, and the next night begins anew. One that has not ended after `_ENDS_WITHIN`
    seconds is killed, and taken up again by the next.

    Raises:
        BadConfiguration: Prefect is configured to use no server, or `file` is not readable.
    """
    from prefect.runner import Runner
    from prefect.settings import get_current_settings

    if get_current_settings().api.url is None:
        raise BadConfiguration(
            "schedules need a Prefect server: set PREFECT_API_URL, or `lethe up`"
        )
    made = deployments(workspace, file)
    clear(workspace)
    runner = Runner(limit=None)
    for one in made:
        runner.add_deployment(one)
    asyncio.run(_until_told(runner, ", ".join(str(one.name) for one in made)))


async def _until_told(runner: Any, names: str) -> None:
    """Serve until a signal comes. Prefect's own way leaves runs behind and ends in a traceback."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def end(*_: object) -> None:
        loop.call_soon_threadsafe(told.set)

    runner.handle_sigterm = end  # the runner installs what stands here
    before = {one: signal.signal(one, end) for one in (signal.SIGTERM, signal.SIGINT)}
    serving, asked = asyncio.create_task(runner.start()), asyncio.create_task(told.wait())
    try:
        while not runner.started and not serving.done():  # before, it would pause no schedule
            await asyncio.sleep(_STEP)
        print(f"serving {names} on their schedules  (Ctrl-C ends it)", flush=True)
        await asyncio.wait([serving, asked], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        await asyncio.to_thread(_end_runs)  # while the runner still hears how they ended
    finally:
        serving.cancel()
        asked.cancel()
        await asyncio.wait([serving, asked])
        await asyncio.to_thread(_end_runs)  # what began meanwhile
        for one, handler in before.items():
            signal.signal(one, handler)


def _end_runs() -> None:
    """Ask the flow runs that this process started to end, and kill what is left of them then."""
    for child in processes.children(processes.known(os.getpid())):
        with contextlib.suppress(OSError):
            if _STARTED in Path(f"/proc/{child.pid}/environ").read_bytes():
                processes.end(child, signal.SIGTERM, _ENDS_WITHIN)


def deployments(workspace: Workspace, file: Path) -> list[Any]:
    """What `file` asks for, as Prefect's deployments, each on this workspace.

    Raises:
        BadConfiguration: `file` is not readable.
    """
    import yaml
    from prefect.client.schemas.objects import ConcurrencyLimitConfig
    from prefect.flows import load_flow_from_entrypoint
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"]
        return [
            load_flow_from_entrypoint(entry["entrypoint"]).to_deployment(
                name=entry["name"],
                description=entry["description"],
                parameters={**entry["parameters"], "workspace": str(workspace.root)},
                schedules=[
                    Cron(one["cron"], timezone=one["timezone"])
                    for one in entry.get("schedules", [])
                ],
                concurrency_limit=(
                    ConcurrencyLimitConfig.model_validate(entry["concurrency_limit"])
                    if "concurrency_limit" in entry
                    else None
                ),
                entrypoint_type=EntrypointType.MODULE_PATH,
            )
            for entry in entries
        ]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        kind = type(error).__name__
        raise BadConfiguration(f"{file.name} cannot be used: {kind}") from None
