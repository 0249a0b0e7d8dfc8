"""DVC's command line in a process that has loaded it already: most of a command is its imports.

One process for all commands of this one. It reads a request a line and forks for each, so that no
command finds anything of the one before; it ends once nobody holds the other end of its line. A
command that is under way then goes on to its end, as any child whose parent was killed.
`python -m lethe.adapters.dvc_commands` is that process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from lethe.errors import StoreUnavailable
from lethe.estate.process import importing

_MODULE = "lethe.adapters.dvc_commands"
_LOADED = (
    "dvc.cli.parser", "dvc.repo.commit", "dvc.repo.datasets", "dvc.repo.graph", "dvc.repo.index",
    "dvc.repo.push", "dvc.repo.reproduce", "dvc.rwlock", "dvc.stage.run", "dvc_data.index.push",
    "dvc.cachemgr", "dvc.data_cloud", "dvc.lock", "dvc_render", "networkx", "psutil", "ruamel.yaml",
    "scmrepo.git",
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit status (negative: the signal) and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class _Line:
    """The process and the line to it. One command at a time."""

    def __init__(self) -> None:
        self.turn, self.owner, self.numbers = threading.Lock(), os.getpid(), itertools.count()
        self.process = subprocess.Popen(
            # The last word tells whoever finds a lock of one of its forks that a dvc holds it.
            [sys.executable, "-m", _MODULE, "dvc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        atexit.register(self.close)

    def close(self) -> None:
        """End it, once it has ended what it does."""
        if self.process.stdin is not None and os.getpid() == self.owner:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
            self.process.wait()

    def ask(self, request: Mapping[str, Any]) -> Ended | None:
        """None if the process is no more."""
        requests, answers = self.process.stdin, self.process.stdout
        if requests is None or answers is None:
            return None
        with self.turn, contextlib.suppress(OSError):
            number = next(self.numbers)
            requests.write(json.dumps({"number": number, **request}) + "\n")
            requests.flush()
            for line in answers:
                told = json.loads(line)
                if told.pop("number") == number:  # an earlier one's, if nobody waited for that
                    return Ended(**told)
        return None


@functools.cache
def _line(_owner: int) -> _Line:
    return _Line()


def start_ahead() -> None:
    """Start the process now: for whoever waits for something else meanwhile."""
    _line(os.getpid())


def run(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Ended:
    """Run `dvc WORDS` in `folder`, with nothing on its standard input.

    Ctrl-C in a terminal interrupts it, unless this process ignores that itself.

    Raises:
        StoreUnavailable: the process died under the command.
    """
    if _line(os.getpid()).process.poll() is not None:  # it was killed, and this process was not
        _line.cache_clear()
    request = {
        "words": list(words), "folder": str(folder), "environment": dict(environment),
        "interrupted": signal.getsignal(signal.SIGINT) is not signal.SIG_IGN,
    }  # fmt: skip
    ended = _line(os.getpid()).ask(request)
    if ended is None:
        raise StoreUnavailable("dvc: the process that runs it ended")
    return ended


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Run one command after the other, as asked, until `requests` ends."""
    with importing():
        for module in _LOADED:
            importlib.import_module(module)
    for line in requests:
        request = json.loads(line)
        printed = [os.memfd_create("printed") for _ in ("stdout", "stderr")]
        child = os.fork()
        if not child:
            _become(request, *printed)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out, errors = map(_read, printed)
        told = {
            "number": request["number"], "returncode": status, "stdout": out, "stderr": errors,
        }  # fmt: skip
        with contextlib.suppress(BrokenPipeError):  # whoever asked is no more
            answers.write(json.dumps(told) + "\n")
            answers.flush()


def _read(descriptor: int) -> str:
    with open(descriptor, "rb") as stream:
        stream.seek(0)
        return stream.read().decode("utf-8", "replace")


def _become(request: Mapping[str, Any], out: int, errors: int) -> NoReturn:
    """In the child: the folder, environment and files of the command, then dvc's own `main`."""
    code = 255
    try:
        for number, source in enumerate((os.open(os.devnull, os.O_RDONLY), out, errors)):
            os.dup2(source, number)
        if request["interrupted"]:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        os.umask(0o077)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        tempfile.tempdir = None
        from dvc.cli import main

        try:
            code = int(main(request["words"]) or 0)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it, too: it ends with its line
    serve(sys.stdin, sys.stdout)
    os._exit(0)  # every answer was flushed; the command waits for this process
