"""Making a workspace, filling it with a generated shop, and opening the MLflow UI on it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import yaml

from lethe.desk.stack.addresses import withdraw_lost
from lethe.durable import write_bytes
from lethe.errors import BadConfiguration, OutsideFailure
from lethe.estate.process import settle
from lethe.estate.workspace import Workspace

if TYPE_CHECKING:
    from lethe.params import Params

TEMPLATES = ("params.yaml", "dvc.yaml")


Beside = Callable[[], AbstractContextManager[Callable[[], None]]]
"""Starts something; what it yields waits until that is there."""


def initialise(
    workspace: Workspace, overlay: Path | None, beside: Beside | None = None
) -> dict[str, Any]:
    """Make what is missing: parameters, data folders, keys, register, DVC and MLflow stores.

    What exists is kept. `overlay` is a YAML file of sections laid over the default parameters; it
    is refused for a workspace that already has a params.yaml. `beside` starts what makes Prefect's
    database meanwhile, which takes as long as all the rest; it is not called where there is one.

    Raises:
        BadConfiguration: a parameter or key is unusable.
        StoreUnavailable: a store cannot be made.
        RefusedByGate: a backup is being restored here.
    """
    workspace.refuse_half_restored()
    withdraw_lost(workspace)
    workspace.root.mkdir(parents=True, exist_ok=True)
    had_parameters = workspace.params.exists()
    _write_parameters(workspace, overlay)
    workspace.state.mkdir(exist_ok=True, mode=0o700)
    try:
        params = _settled(workspace)
    except BadConfiguration:
        if not had_parameters:
            workspace.params.unlink()  # or the corrected file would be refused next time
        raise
    from lethe.estate.keys import make_keys
    from lethe.stages import opening

    for folder in (workspace.landing, workspace.quarantine):
        folder.mkdir(parents=True, exist_ok=True)
    for folder in (workspace.receipts, workspace.restricted, workspace.reports):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    make_keys(workspace)
    if (workspace.prefect_home / "prefect.db").exists():
        beside = None
    with beside() if beside else nullcontext(lambda: None) as ready:
        register = opening.open_register(workspace, params)
        register.initialise()
        opening.write_position(workspace.register_position, register.head())
        opening.open_data(workspace).init()
        opening.open_solutions(workspace, params).initialise()
        ready()
    return {
        "workspace": str(workspace.root),
        "name": params.name,
        "text": f"workspace {params.name} is ready in {workspace.root}; "
        "put export files into data/landing, or try `lethe sample`",
    }


def _settled(workspace: Workspace) -> Params:
    settle(workspace)  # before anything imports numpy
    from lethe.stages import opening

    return opening.open_params(workspace)


def _write_parameters(workspace: Workspace, overlay: Path | None) -> None:
    if overlay is not None and workspace.params.exists():
        raise BadConfiguration("this workspace has a params.yaml already; edit it instead")
    for name in TEMPLATES:
        target = workspace.root / name
        if not target.exists():
            content = (resources.files("lethe.desk") / "templates" / name).read_bytes()
            if name == "params.yaml" and overlay is not None:
                content = _laid_over(content, overlay)
            write_bytes(target, content, mode=0o644)


def _laid_over(content: bytes, overlay: Path) -> bytes:
    try:
        extra = yaml.safe_load(overlay.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise BadConfiguration(f"{overlay.name} is not readable as YAML") from None
    if not isinstance(extra, Mapping):
        raise BadConfiguration(f"{overlay.name} must hold a mapping of sections")
    document = yaml.safe_load(content)
    for section, values in extra.items():
        own = document.get(section)
        both = isinstance(own, dict) and isinstance(values, Mapping)
        document[section] = {**own, **values} if both else values
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()


def write_sample(  # noqa: PLR0913
    workspace: Workspace, *, days: int, next_day: bool, seed: int, users: int, items: int
) -> dict[str, Any]:
    """Write the generated shop's history, or its next day with the requests of that day.

    Raises:
        BadConfiguration: the history exists already, or the next day has no history before it.
    """
    from lethe import sample
    from lethe.durable import read_json, write_json

    note = workspace.state / "sample.json"
    if not next_day:
        if note.is_file():
            return {"days": 0, "text": "the sample's history was written before; nothing to do"}
        sample.write_history(workspace.landing, days, seed, users, items)
        write_json(note, {"days": days, "seed": seed, "users": users, "items": items})
        return {"days": days, "text": f"wrote {days} days of a generated shop to data/landing"}
    if not note.is_file():
        raise BadConfiguration("there is no sample history yet: run `lethe sample` first")
    known = read_json(note)
    day = int(known["days"])
    size = {name: int(known[name]) for name in ("seed", "users", "items")}
    sample.write_day(workspace.landing, day, **size)
    asked = [sample.requests(day=one, **size) for one in (day - 1, day)]
    erase = [name for one in asked for name in one.erase]
    objecting = [name for one in asked for name in one.objecting]
    folder = workspace.state / "requests"
    for action, ids in (("erase", erase), ("object", objecting)):
        write_bytes(folder / f"{action}.txt", "".join(f"{name}\n" for name in ids).encode())
    write_json(note, {**known, "days": day + 1})
    return {
        "days": 1,
        "erase": len(erase),
        "object": len(objecting),
        "text": f"wrote day {day + 1}; {len(erase)} people ask to be erased and "
        f"{len(objecting)} object (.lethe/requests/)",
    }


# Without the second, MLflow starts seven more processes for jobs of language models.
_ENDS_WITHIN: Final = 5.0  # seconds
_QUIET: Final = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def serve_ui(workspace: Workspace, port: int) -> None:
    """Run the MLflow UI in the foreground, bound to loopback, until SIGTERM or Ctrl-C.

    Raises:
        BadConfiguration: there is a server already.
        OutsideFailure: it could not be started, or ended with an error.
    """
    if workspace.tracking_uri().startswith("http"):
        raise BadConfiguration(f"MLflow's server is at {workspace.tracking_uri()}")
    command = shutil.which("mlflow", path=str(Path(sys.executable).parent)) or "mlflow"
    from lethe.nights.frame import end_killed
    from lethe.stages import opening

    params = opening.open_params(workspace)
    end_killed(workspace, params)
    runs = opening.open_solutions(workspace, params).runs
    listed = f"{runs.arrange(params.promotion.metric)}&workflowType=machine_learning"
    address = f"http://127.0.0.1:{port}/{listed}"
    print(f"MLflow UI: {address}  (Ctrl-C ends it)", flush=True)
    words = [
        command, "ui", "--backend-store-uri", workspace.tracking_uri(),
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    try:
        code = _run_until_told(words, os.environ | _QUIET)
    except OSError:
        raise OutsideFailure("the MLflow UI could not be started") from None
    if code:
        raise OutsideFailure(f"the MLflow UI ended with {code}")


def _run_until_told(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """How a command ended; 0 if SIGTERM or Ctrl-C told this process to end it."""
    from lethe.desk.stack import processes

    def told(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    # A shell lets what it starts in the background ignore Ctrl-C, unless that says otherwise.
    before = {what: signal.signal(what, told) for what in (signal.SIGTERM, signal.SIGINT)}
    try:
        # In a session of its own: a server that hears Ctrl-C as well ends with a traceback.
        with subprocess.Popen(words, env=environment, start_new_session=True) as child:
            try:
                return child.wait()
            except KeyboardInterrupt:
                return 0
            finally:
                # MLflow's command leaves the server that it started behind: that one ends first.
                for one in reversed(processes.family(processes.known(child.pid))):
                    processes.end(one, signal.SIGTERM, _ENDS_WITHIN)
    finally:
        for what, handler in before.items():
            signal.signal(what, handler)
