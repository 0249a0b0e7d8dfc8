"""`lethe ui` runs until it is told to end, and then nothing of it is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lethe.desk import setting_up
from lethe.desk.stack import processes
from lethe.estate.workspace import Workspace
from tests.listening import answers

pytestmark = pytest.mark.timeout(300)
LETHE = Path(sys.executable).with_name("lethe")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well_with_the_server_that_it_started(
    tmp_path: Path, how: signal.Signals
) -> None:
    workspace = Workspace(tmp_path / "shop")
    setting_up.initialise(workspace, None)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen(
        [LETHE, "--workspace", str(workspace.root), "ui", "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as ui:  # fmt: skip
        started = processes.family(processes.known(ui.pid))
        try:
            deadline = time.monotonic() + 120
            while not answers(f"http://127.0.0.1:{port}/health"):
                assert ui.poll() is None, "it ended by itself"
                assert time.monotonic() < deadline, "it did not start"
                time.sleep(0.2)
            started = processes.family(processes.known(ui.pid))
            (os.killpg if how is signal.SIGINT else os.kill)(ui.pid, how)
            said, _ = ui.communicate(timeout=60)
        finally:
            left = [one for one in started if one.lives()]
            for one in left:
                processes.end(one, signal.SIGKILL, 5.0)

    assert len(started) > 1
    assert left == []
    assert ui.returncode == 0
    assert "Traceback" not in said


def test_what_ends_by_itself_is_told_by_its_code() -> None:
    assert setting_up._run_until_told([sys.executable, "-c", "raise SystemExit(5)"], {}) == 5
