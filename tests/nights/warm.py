"""A warm process: `lethe` forked from an interpreter that has loaded its tools already.

A night spends half of its processor time on imports. The tests that start dozens of nights and
other commands fork them from here; each runs the command's own `main` in a process group and an
environment of its own, and can be killed with all that it started. Run as a program, it reads one
request a line and answers with two lines: the process id, and at its end the exit status (negative:
the signal).
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

TOOLS = ("flows.retrain", "mlflow.pyfunc", "optuna.importance", "dvc.repo", "implicit.cpu.als",
         "lightfm", "mlflow.store.model_registry.sqlalchemy_store",
         "mlflow.store.tracking.sqlalchemy_store", "pandas", "scipy.stats", "lethe.nights.steps",
         "lethe.reports.page")  # fmt: skip
PATIENCE = 120.0
LOOKS = 100  # how often what a command says is read before its processes are counted again


@dataclass
class Running:
    """One forked command: its process group, and where its standard error goes."""

    warm: Warm
    group: int
    out: Path
    errors: Path
    ended: int | None = None

    def progress(self) -> str:
        """What it has said so far."""
        return self.errors.read_text(encoding="utf-8")

    def wait_for(self, text: str) -> None:
        """Return as soon as it says `text`; fail when it ends or takes too long before that."""
        deadline = time.monotonic() + PATIENCE
        for look in itertools.count(1):
            # Counting reads of every process of the machine: each time it would take a whole core.
            lives = look % LOOKS or _alive(self.group)
            if text in self.progress():
                return
            assert time.monotonic() < deadline, f"never said {text!r}"
            assert lives, f"ended without saying {text!r}: {self.progress()[-2000:]}"
            time.sleep(0.002)

    def live(self, seconds: float, until: str) -> None:
        """Let it run on for a while, or until it says `until`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and until not in self.progress():
            time.sleep(0.002)

    def kill(self, alone: bool = False) -> None:
        """SIGKILL the whole group and wait until none of it is left; it must have been alive.

        `alone` spares what it started, and waits for nothing.
        """
        assert self.ended is None
        # Never a number that means more than one group: kill(-1) reaches every process there is.
        assert self.group > 1
        assert os.getpgid(self.group) == self.group
        (os.kill if alone else os.killpg)(self.group, signal.SIGKILL)
        assert self.exit_status() == -signal.SIGKILL
        while not alone and _alive(self.group):
            time.sleep(0.005)

    def exit_status(self) -> int:
        """Wait for the end."""
        if self.ended is None:
            self.ended = int(self.warm.answer("ended"))
        return self.ended


class Warm:
    """The warm process, seen from the tests. One command at a time."""

    process: subprocess.Popen[str] | None = None  # of the first: forks of it are not ours

    def __init__(self, folder: Path) -> None:
        self.process = process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._talk(folder, process.stdin, process.stdout)
        self.answer("ready")

    def _talk(self, folder: Path, requests: IO[str], answers: IO[str]) -> None:
        self.folder, self.requests, self.answers = folder, requests, answers
        self.running: Running | None = None

    def another(self) -> Warm:
        """A fork of it, for commands beside its own: what it has loaded is loaded once."""
        line = [self.folder / name for name in ("requests", "answers")]
        for end in line:
            os.mkfifo(end)
        self._ask({"line": [*map(str, line)]})
        fork = object.__new__(Warm)
        requests, answers = line  # in this order: each waits for the other side
        fork._talk(self.folder, requests.open("w"), answers.open())
        return fork

    def _ask(self, request: dict[str, Any]) -> None:
        self.requests.write(json.dumps(request) + "\n")
        self.requests.flush()

    def answer(self, kind: str) -> str:
        """The next line, which must be of this kind."""
        line = self.answers.readline().strip()
        assert line, "the warm process ended"
        assert line.split()[0] == kind, f"{line!r} instead of {kind}"
        return line.split()[-1]

    @property
    def busy(self) -> bool:
        """Whether its last command may still run."""
        return self.running is not None and self.running.ended is None

    def start(self, folder: Path, *arguments: str, given: str = "") -> Running:
        """Fork `lethe ARGUMENTS` in a workspace, once the command before it has ended.

        `given` is its standard input; the environment is that of the tests as it is now.
        """
        if self.running is not None:
            self.running.exit_status()
        streams = [self.folder / name for name in ("given.txt", "out.txt", "errors.txt")]
        for stream, text in zip(streams, (given, "", ""), strict=True):
            stream.unlink(missing_ok=True)  # what was started before may still write into the old
            stream.write_text(text, encoding="utf-8")
        self._ask({"arguments": arguments, "folder": str(folder), "streams": [*map(str, streams)],
                   "environment": dict(os.environ)})  # fmt: skip
        _, out, errors = streams
        self.running = Running(self, int(self.answer("started")), out, errors)
        return self.running

    def rest(self) -> None:
        """Kill what a test that failed left running, so that the next one begins alone."""
        if self.busy and self.running is not None and _alive(self.running.group):
            self.running.kill()

    def close(self) -> None:
        """End it."""
        self.requests.close()
        self.answers.read()  # to its end, which is the end of the process
        self.answers.close()
        if self.process is not None:
            self.process.wait(PATIENCE)


def _alive(group: int) -> list[int]:
    """Processes of a group that are more than an entry for their parent to collect."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):  # no more in the pattern: glob would look at each
        try:
            state, _, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it ended while we looked
        if int(its_group) == group and state != "Z":
            found.append(int(entry.name))
    return found


def _become(
    arguments: Sequence[str], folder: str, streams: Sequence[str], environment: dict[str, str]
) -> None:
    """In the child: a process group of its own, its own files, then the command."""
    os.setpgid(0, 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate(streams):
        mode = os.O_WRONLY | os.O_APPEND if descriptor else os.O_RDONLY
        os.dup2(os.open(path, mode), descriptor)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)  # the old one may have read ahead
    sys.argv = ["lethe", *arguments]
    from lethe.cli.main import main

    main()
    sys.exit(0)


def _move(line: Sequence[str]) -> None:
    """In a fork: go on with requests and answers of its own."""
    for descriptor, (path, mode) in enumerate(zip(line, (os.O_RDONLY, os.O_WRONLY), strict=True)):
        os.dup2(os.open(path, mode), descriptor)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)  # the old one may have read ahead


def serve() -> None:
    """Fork one command after the other, as asked."""
    for tool in TOOLS:
        importlib.import_module(tool)
    print("ready now", flush=True)
    while line := sys.stdin.readline():
        request = json.loads(line)
        child = os.fork()
        if "line" in request:
            if child == 0:
                _move(**request)
            continue
        if child == 0:
            _become(**request)
        os.setpgid(child, child)  # the same on both sides: whoever comes first
        print("started", child, flush=True)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
