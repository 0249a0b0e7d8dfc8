"""Around a night: what a killed writer left goes, what a living one writes stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lethe.estate.workspace import Workspace
from lethe.nights.frame import sweep

PLACES = (".", ".dvc/tmp", ".lethe", ".lethe/evidence", ".lethe/receipts", "data/interactions")


@pytest.mark.parametrize("place", PLACES)
def test_what_a_dead_writer_left_half_written_goes_and_a_living_ones_stays(
    tmp_path: Path, place: str
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    dead, living = (folder / f".a.json.{pid}.part" for pid in (ended.pid, os.getpid()))
    for path in (dead, living, folder / "a.json"):
        path.touch()
    sweep(Workspace(tmp_path))
    assert [path.exists() for path in (dead, living, folder / "a.json")] == [False, True, True]
