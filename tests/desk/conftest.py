"""What every test of the desk leaves as it found it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def putting_back() -> Iterator[None]:
    """Undo what a command settles in its process."""
    before, mask, place = dict(os.environ), os.umask(0o022), tempfile.tempdir
    yield
    os.environ.clear()
    os.environ.update(before)
    os.umask(mask)
    tempfile.tempdir = place


@pytest.fixture(autouse=True)
def unsettled() -> Iterator[None]:
    """Each test begins as a command does."""
    with putting_back():
        yield
