"""`lethe`, run in the test's process: quick, and left behind without a trace."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lethe.cli.main import main
from tests.cli.door import Door, Ended


@pytest.fixture
def door(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Door]:
    """Run `lethe` in this process; what it pins and settles is undone afterwards."""
    before, mask, place = dict(os.environ), os.umask(0o022), tempfile.tempdir

    def run(*arguments: str, text: str = "") -> Ended:
        given = tmp_path / "standard-input"
        given.write_text(text, encoding="utf-8")
        with given.open() as stream, monkeypatch.context() as patch:
            patch.setattr("sys.stdin", stream)
            capfd.readouterr()
            try:
                main(arguments)
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        captured = capfd.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Ended(code, captured.out, captured.err)

    yield run
    os.environ.clear()
    os.environ.update(before)
    os.umask(mask)
    tempfile.tempdir = place
