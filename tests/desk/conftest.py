"""What every test of the desk leaves as it found it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lethe.desk.backups import dumps, restoring
from tests import postgres
from tests.fakes.backed_up_shop import NOTHING, Shop
from tests.fakes.stack_databases import Databases, databases


@contextlib.contextmanager
def putting_back() -> Iterator[None]:
    """Undo what a command settles in its process."""
    before, mask, place = dict(os.environ), os.umask(0o022), tempfile.tempdir
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        os.umask(mask)
        tempfile.tempdir = place


@pytest.fixture(autouse=True)
def unsettled() -> Iterator[None]:
    """Each test begins as a command does."""
    with putting_back():
        yield


@pytest.fixture
def backed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The replay itself has tests of its own; here it is told from what comes before it."""
    for name in ("LETHE_REGISTER_URL", "MLFLOW_TRACKING_URI", "LETHE_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(restoring, "_replayed", lambda *_: NOTHING)
    monkeypatch.setattr(restoring, "_champion_again", lambda _, champion: champion)
    return Shop(tmp_path)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """The stack's PostgreSQL, without its other servers."""
    if why := postgres.missing():
        pytest.skip(why)
    with databases(tmp_path_factory.mktemp("stack")) as found:
        yield found


@dataclass(frozen=True)
class Dumped:
    """Each database's dump after some nights, and its rows, by the database's name."""

    files: dict[str, bytes]
    rows: dict[str, dict[str, list[Any]]]


@pytest.fixture(scope="session")
def dumped(stack: Databases, tmp_path_factory: pytest.TempPathFactory) -> Dumped:
    """Taken once: most tests only load them, or spoil a copy."""
    stack.filled()
    place, files = tmp_path_factory.mktemp("dumps"), {}
    for name in dumps.NAMES:
        dumps.write(stack.found, name, place / name)
        files[name] = (place / name).read_bytes()
    return Dumped(files, {name: stack.rows(name) for name in dumps.NAMES})
