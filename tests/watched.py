"""Running `lethe` as its users do, with every connection and every opened file written down."""

from __future__ import annotations

import functools
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.opened import preloaded

BIN = Path(sys.executable).parent

# Python runs a module of this name first of all in every process, children included. Audit events
# come before the call, so a connection to elsewhere is written down and then never made.
WATCH = """
import os
import sys

LOG = os.environ["WATCHED_CONNECTIONS"]
LOOPBACK = {"127.0.0.1", "::1", "localhost", "", None}
CALLS = {"socket.connect": 1, "socket.sendto": 1}
CALLS |= {"socket.getaddrinfo": 0, "socket.gethostbyname": 0}


def note(line):
    with open(LOG, "a", encoding="utf-8") as log:
        log.write(line + "\\n")


def watch(event, arguments):
    if event in CALLS:
        target = arguments[CALLS[event]]
        host = target[0] if isinstance(target, tuple) else target
        if isinstance(host, bytes):
            host = host.decode("ascii", "replace")
        near = host in LOOPBACK or str(host).startswith("/")
        note(f"{'near' if near else 'FAR'} {event} {host}")
        if not near:
            raise PermissionError("no connection but loopback")


note("process " + " ".join(sys.orig_argv[1:4]))
try:
    import socket

    note("interfaces " + " ".join(name for _, name in socket.if_nameindex()))
except OSError:
    note("interfaces unknown")
sys.addaudithook(watch)
"""

# In a network namespace of its own even the loopback interface is down at first (SIOCSIFFLAGS, up
# and running).
UP = """
import fcntl
import os
import socket
import struct
import sys

fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh22x", b"lo", 0x41))
os.execvp(sys.argv[1], sys.argv[1:])
"""


PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@dataclass(frozen=True)
class Shop:
    """A workspace of an invented shop, and the log of every connection its commands asked for."""

    root: Path
    connections: Path

    @property
    def opened(self) -> Path:
        """The log of every path its commands opened for writing."""
        return opened(self.connections)

    def lethe(self, *arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
        """Run `lethe` in the workspace; `options` may hold `text` for standard input, and `log`."""
        return run((str(BIN / "lethe"), *arguments), self.root, self.connections, **options)

    def lend(self, root: Path) -> None:
        """A workspace that is yet to be made gets Prefect's database: half of `lethe init`."""
        theirs = root / ".lethe" / "prefect"
        theirs.mkdir(parents=True, mode=0o700)
        with closing(sqlite3.connect(self.root / ".lethe" / "prefect" / "prefect.db")) as link:
            link.execute("VACUUM INTO ?", (str(theirs / "prefect.db"),))

    def copied(self, root: Path) -> Shop:
        """A copy that stands on its own: MLflow's database keeps the absolute paths of its files.

        Lethe itself has a workspace stay where it was made.
        """
        shutil.copytree(self.root, root, symlinks=True)
        database = root / ".lethe" / "mlflow" / "mlflow.db"
        with closing(sqlite3.connect(database)) as link, link:
            for table, column in PATHS:
                link.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?)",  # noqa: S608
                    (str(self.root), str(root)),
                )
        return Shop(root, root.with_name("connections"))


def run(
    command: Sequence[str], folder: Path, connections: Path, text: str = "", log: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder` under the watch; never raises for its exit code.

    Where the kernel allows it, it runs in a network namespace that has loopback and nothing else.
    """
    return subprocess.run(
        (*apart(), *command),
        cwd=folder,
        env={**environment(connections), **({"LETHE_LOG": log} if log else {})},
        input=text,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@functools.cache
def apart() -> tuple[str, ...]:
    """What to put before a command so that it has loopback alone; nothing where that is refused."""
    prefix = ("unshare", "--user", "--map-root-user", "--net", sys.executable, "-S", "-c", UP)
    try:
        done = subprocess.run((*prefix, "true"), capture_output=True, check=False, timeout=20)
    except OSError:
        return ()
    return prefix if done.returncode == 0 else ()


def opened(connections: Path) -> Path:
    """Where the writes are logged whose connections are logged in `connections`."""
    return connections.with_name(f"{connections.name}.opened")


def environment(connections: Path) -> Mapping[str, str]:
    """This process's environment without what another workspace set, and with the watch."""
    watch = connections.with_name(f"{connections.name}.watch")
    watch.mkdir(exist_ok=True)
    (watch / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "MLFLOW_", "DVC_", "LETHE_", "DO_NOT", "TMPDIR"))
    }
    return kept | {
        "PATH": f"{BIN}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "PYTHONPATH": str(watch),
        "WATCHED_CONNECTIONS": str(connections),
        **preloaded(watch, opened(connections)),
    }
