"""A pytest that has imported what is slow to import: each of many runs begins as a fork of it.

    python benchmarks/warm.py serve SOCKET      # until its standard input ends
    python -S benchmarks/warm.py run SOCKET [ARGUMENT ...]

`run` ends with pytest's exit status. Nothing of Lethe is imported before the fork, so that each
run sees the files as they are. A run whose `run` was killed is killed too.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

SLOW = (
    "hypothesis.strategies", "numpy", "scipy.sparse",
    "scipy.linalg", "scipy.stats", "pyarrow.parquet", "pyarrow.compute", "sqlalchemy", "pydantic",
    "cryptography.hazmat.primitives.asymmetric.ec", "implicit.cpu.als", "lightfm", "pytest",
)  # fmt: skip


def run(address: str, arguments: list[str]) -> int:
    """Ask for one run; its exit status."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(address)
        keep = os.environ.get("PYTHONDONTWRITEBYTECODE", "")
        line.sendall("\0".join([keep, *arguments]).encode() + b"\n")
        answer = line.recv(1)
    return answer[0] if answer else 70


def serve(address: str) -> None:
    """Answer until the parent is gone."""
    import importlib
    from importlib import metadata

    from lethe.solutions.environment import pin_process

    pin_process("Haswell")  # before numpy, as the tests' own conftest does
    for name in SLOW:
        importlib.import_module(name)
    for plugin in metadata.entry_points(group="pytest11"):
        plugin.load()
    for name in [name for name in sys.modules if name.split(".")[0] == "lethe"]:
        del sys.modules[name]
    parent = os.getppid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        door.settimeout(1.0)
        while os.getppid() == parent:
            try:
                line, _ = door.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                door.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(line)
            line.close()


def _answer(line: socket.socket) -> None:
    """In a fork: run in a fork of its own, and tell how it ended, or end it."""
    asked = b""
    while not asked.endswith(b"\n"):
        asked += line.recv(1 << 16)
    worker = os.fork()
    if worker == 0:
        os.setsid()
        keep, *arguments = asked[:-1].decode().split("\0")
        sys.dont_write_bytecode = bool(keep)
        _work(arguments)
    line.setblocking(False)
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            line.send(bytes([os.waitstatus_to_exitcode(status) & 0xFF]))
            os._exit(0)
        try:
            if line.recv(1) == b"":
                os.killpg(worker, signal.SIGKILL)
                os._exit(1)
        except BlockingIOError:
            time.sleep(0.01)


def _work(arguments: list[str]) -> None:
    import pytest

    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    status = 70
    try:
        status = int(pytest.main(arguments))
    finally:
        os._exit(status)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(run(sys.argv[2], sys.argv[3:]))
