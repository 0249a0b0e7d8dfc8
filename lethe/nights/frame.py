"""The frame of a night: one at a time, taken up again after a kill, private folders wiped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lethe.adapters import dvc_commands
from lethe.adapters.night_runs import EXPERIMENT
from lethe.adapters.studies import TrialRecord
from lethe.durable import locked, read_json, write_bytes, write_json
from lethe.errors import Busy
from lethe.estate.process import settle
from lethe.estate.workspace import Workspace
from lethe.nights.renaming.rotating import end_cut_off
from lethe.nights.saying.events import checked, say, speaking
from lethe.params import Params
from lethe.stages import opening


@dataclass(frozen=True)
class Night:
    """What every step is told: the workspace and the night's name. No ids.

    `started` is Unix seconds of the first start; `resumed` is True after a kill. `timings` maps a
    step to the seconds it took, `trials` holds (recipe, trial), as far as the night has come.
    """

    folder: str
    name: str
    started: int
    resumed: bool
    timings: dict[str, float] = field(default_factory=dict)
    trials: list[tuple[str, TrialRecord]] = field(default_factory=list)

    @property
    def workspace(self) -> Workspace:
        """The workspace the night runs in."""
        return Workspace(Path(self.folder))

    @property
    def run(self) -> str:
        """The night's MLflow run, from the journal."""
        return str(self.noted("run"))

    def params(self) -> Params:
        """The workspace's parameters."""
        return opening.open_params(self.workspace)

    def note(self, **facts: Any) -> None:
        """Add to the journal what a night taken up again must know; NaN is allowed in it."""
        noted = {**read_json(self.workspace.journal), **facts}
        write_bytes(self.workspace.journal, json.dumps(noted).encode())

    def noted(self, name: str) -> Any:
        """What `note` noted under this name, None if nothing."""
        return read_json(self.workspace.journal).get(name)

    def works_on(self, data_version: str) -> None:
        """Note the data version. A night taken up again on another one gets another run.

        A request that came in between the kill and the restart changes the data, and MLflow does
        not let a run's parameters be written twice.
        """
        if (self.noted("data_version") or data_version) != data_version:
            runs = opening.open_solutions(self.workspace, self.params()).runs
            runs.end_killed(self.name)
            self.note(run=runs.open_night(f"{self.name} on {data_version[:8]}", {}))
        self.note(data_version=data_version)


@contextlib.contextmanager
def under_way(folder: str) -> Iterator[Night]:
    """Hold the night's lock, open or take up its run, and wipe the private folders around it.

    The journal names a night that has not ended; it goes only when the night ends by itself, well
    or refused, so that a killed night keeps its name and its MLflow run.

    Raises:
        Busy: another night is running and did not end within `night.wait_seconds`.
    """
    workspace = Workspace.find(Path(folder))
    settle(workspace)
    checked()
    dvc_commands.start_ahead()
    params = opening.open_params(workspace)
    with locked(workspace.night_lock, params.night.wait_seconds):
        _wipe(workspace)
        if end_cut_off(workspace, params):
            say("night", "the replacement of the pseudonym key, cut off by a kill, was ended")
        resumed = workspace.journal.is_file()
        if resumed:
            noted = read_json(workspace.journal)
        else:
            started = opening.now()
            name = datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%d %H:%M:%S")
            noted = {"name": name, "started": started}
            write_json(workspace.journal, noted)
        runs = opening.open_solutions(workspace, params).runs
        with contextlib.suppress(Busy), apart(workspace, "", 0.0):
            runs.end_killed(EXPERIMENT)
        if "run" not in noted:
            noted["run"] = runs.open_night(noted["name"], {})
            write_json(workspace.journal, noted)
        elif resumed:
            runs.reopen(noted["run"])
        night = Night(str(workspace.root), noted["name"], int(noted["started"]), resumed)
        failure: BaseException | None = None
        try:
            text = f"of {night.name} {'taken up again' if resumed else 'begins'}"
            with speaking(f"night {night.name}", text):
                yield night
        except BaseException as error:
            failure = error
            raise
        finally:
            # Reached on every end but a kill: the journal must then not outlive the night.
            runs.end_as(night.run, failure)
            workspace.journal.unlink()
            _wipe(workspace)


def end_killed(workspace: Workspace, params: Params) -> bool:
    """End in MLflow what was killed; whether a night was, and waits to be taken up.

    A process that lives holds the lock of its kind, and the kernel frees that at its death: what is
    under way is left alone, and nothing begins meanwhile. Journal and folders stay for the next
    night, and nothing is opened where nothing was killed.

    Raises:
        StoreUnavailable: MLflow's store.
    """
    places, killed = workspace.state / "experiments", False
    runs = opening.open_solutions(workspace, params).runs
    if workspace.journal.is_file():
        with contextlib.suppress(Busy), locked(workspace.night_lock, 0.0):
            if killed := workspace.journal.is_file():  # it can have ended while we looked
                runs.end_killed(read_json(workspace.journal)["name"])
    if any(path.is_dir() for path in places.glob("*")):
        with contextlib.suppress(Busy), locked(places / "lock", 0.0):
            runs.end_killed(EXPERIMENT)
    return killed


def _wipe(workspace: Workspace) -> None:
    if workspace.temporary.exists():
        shutil.rmtree(workspace.temporary)
    workspace.temporary.mkdir(parents=True, mode=0o700)
    sweep(workspace)
    # One that is running keeps its copy of the data, and with it the erased of tonight: the search
    # finds them there, and their requests wait for another night.
    with contextlib.suppress(Busy), apart(workspace, "", 0.0):
        pass


def sweep(workspace: Workspace) -> None:
    """Delete what killed writers left half-written: it can hold somebody who is erased by now."""
    shallow = (workspace.root, workspace.root / ".dvc" / "tmp", workspace.state,
               workspace.evidence, workspace.certificates, workspace.receipts, workspace.reports,
               workspace.keys, workspace.restricted, workspace.outbox)  # fmt: skip
    found = [path for folder in shallow for path in folder.glob(".*.part")]
    for path in [*found, *(workspace.root / "data").rglob(".*.part")]:
        if not _runs(path.name.split(".")[-2]):
            path.unlink(missing_ok=True)


def _runs(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def apart(workspace: Workspace, name: str, wait_seconds: float) -> Iterator[Path]:
    """A private folder beside the nights, for one experiment at a time; it goes with the block.

    What a killed experiment left goes first.

    Raises:
        Busy: another experiment is running.
    """
    places = workspace.state / "experiments"
    with locked(places / "lock", wait_seconds):
        _empty(places)
        try:
            yield places / name
        finally:
            _empty(places)


def _empty(places: Path) -> None:
    for folder in places.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
