"""Every path that a command and its children opened for writing, and every address they called.

`opened.c` is preloaded, so that Arrow, SQLite and whatever else is not Python is seen as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from lethe.estate.stores import SETTINGS, STORES
from lethe.estate.workspace import Workspace

SOURCE = Path(__file__).with_name("opened.c")
CODE = (Path(sys.prefix), Path(__file__).parents[1] / "lethe", Path(__file__).parents[1] / "flows")
# Not files: terminals, pipes, the kernel's own pages, and shared memory without a name of ours.
DEVICES = ("/dev/null", "/dev/tty", "/dev/pts/", "/dev/fd/", "/proc/")


def preloaded(folder: Path, log: Path) -> Mapping[str, str]:
    """What the environment of a watched process needs; the library is built in `folder` once."""
    library = folder / "opened.so"
    if not library.exists():
        made = folder / f"opened.{os.getpid()}.so"
        command = ("gcc", "-O1", "-shared", "-fPIC", "-o", str(made), str(SOURCE), "-ldl")
        subprocess.run(command, check=True)
        made.replace(library)
    return {"LD_PRELOAD": str(library), "OPENED_LOG": str(log)}


def lines(log: Path, what: str) -> Iterator[str]:
    """The paths ("write") or addresses ("connect") of a log, each once, in order."""
    if log.is_file():
        told = log.read_text(encoding="utf-8", errors="replace").splitlines()
        yield from sorted({line.partition(" ")[2] for line in told if line.startswith(f"{what} ")})


def strays(log: Path, workspace: Workspace) -> list[str]:
    """What was written to a place that no store declares.

    Compiled Python is no store's, nor is the watch's own log of connections.
    """
    ours = str(log.with_suffix(""))
    found = (path for path in lines(log, "write") if path != ours)
    return [path for path in found if not _declared(Path(path), workspace)]


def _declared(path: Path, workspace: Workspace) -> bool:
    if str(path).startswith(DEVICES):
        return True
    if any(path.is_relative_to(code) for code in CODE):
        return "__pycache__" in path.parts
    path = Path(os.path.normpath(path))
    root = Path(os.path.realpath(workspace.root))
    if not path.is_relative_to(root):
        return False
    name = path.relative_to(root)
    places = [Path(place) for store in STORES for place in store.places] + [*map(Path, SETTINGS)]
    if any(name.is_relative_to(place) or place.is_relative_to(name) for place in places):
        return True
    # A file is written under a name of its own beside the place it will have.
    return any(name.parent == place.parent and _half_written(name, place) for place in places)


def _half_written(name: Path, place: Path) -> bool:
    return name.name.startswith(f".{place.name}.") and name.name.endswith(".part")
