"""Processes that outlive the command that starts them; afterwards they are known by their ids.

An id alone can belong to somebody else by now, so the moment of birth is kept with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lethe.durable import read_json, write_json

_STEP = 0.05


@dataclass(frozen=True)
class Process:
    """A process by its id; `born` is in clock ticks since the machine started, 0 if unknown."""

    pid: int
    born: int

    def lives(self) -> bool:
        """Whether it is still there; one that ended and that nobody waited for is not."""
        return _born(self.pid) == self.born


def start(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    log: Path,
    folder: Path,
    options: Mapping[str, Any],
) -> tuple[Process, subprocess.Popen[bytes]]:
    """Start a command in a session of its own, in `folder`, with its output added to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with log.open("ab") as written:
        child = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
    return Process(child.pid, _born(child.pid) or 0), child


def known(pid: int) -> Process:
    """The process that has this id now; one that does not live if there is none."""
    return Process(pid, _born(pid) or 0)


def end(process: Process, first: signal.Signals, seconds: float) -> None:
    """Ask a process to end and wait for it and all that it started; kill what is left then."""
    present = family(process)
    _send(process, first)
    if not _gone(present, seconds):
        for one in present:
            _send(one, signal.SIGKILL)
        _gone(present, seconds)


def family(process: Process) -> list[Process]:
    """A process that lives, and all that it started."""
    return [process, *_below(process)] if process.lives() else []


def children(process: Process) -> list[Process]:
    """Those that a process started itself and that live."""
    return [Process(pid, born) for pid in _parents().get(process.pid, ()) if (born := _born(pid))]


def written(file: Path) -> dict[str, Process]:
    """The processes that were written down, by name."""
    found = read_json(file) if file.is_file() else {}
    return {name: Process(**numbers) for name, numbers in found.items()}


def write_down(file: Path, processes: Mapping[str, Process]) -> None:
    """Write down which processes there are."""
    write_json(file, {name: {"pid": p.pid, "born": p.born} for name, p in processes.items()})


def _born(pid: int) -> int | None:
    """When a process was born; None if there is none, or only what is left of one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it can hold anything
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def _below(process: Process) -> list[Process]:
    """All that a process started and that still has it above, in any depth."""
    found, waiting, parents = [], [process.pid], _parents()
    while waiting:
        below = parents.get(waiting.pop(), [])
        waiting += below
        found += [Process(pid, born) for pid in below if (born := _born(pid)) is not None]
    return found


def _parents() -> dict[int, list[int]]:
    """The ids of those that each process started, by its id."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            text = (entry / "stat").read_text(encoding="ascii", errors="replace")
            above = int(text.rpartition(")")[2].split()[1])
            parents.setdefault(above, []).append(int(entry.name))
    return parents


def _send(process: Process, what: signal.Signals) -> None:
    if process.lives():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, what)


def _gone(present: Sequence[Process], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(one.lives() for one in present):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_STEP)
    return True
