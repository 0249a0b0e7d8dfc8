"""A command's own Prefect server: closed to others, and gone with the command however it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest

from flows.own_server import own_server
from lethe.errors import OutsideFailure
from tests.watched import Shop, environment

COMMAND = """
import time
from flows.own_server import own_server
from prefect.settings import get_current_settings

with own_server() as ready:
    ready()
    print(get_current_settings().api.url, flush=True)
    time.sleep(120)
"""

FLOW = """
from flows.own_server import own_server

with own_server() as ready:
    from prefect import flow, task

    work = task(persist_result=False)(lambda: None)

    @flow(persist_result=False)
    def several() -> None:
        for _ in range(5):
            work()

    ready()
    several()
"""
SETTINGS = """
import subprocess
from flows.own_server import own_server

started = []
class Popen(subprocess.Popen):
    def __init__(self, *words, **options):
        super().__init__(*words, **options)
        started.append(self)
subprocess.Popen = Popen

with own_server() as ready:
    ready()
    from prefect.settings import get_current_settings
    print(get_current_settings().api.url)
print([child.poll() for child in started])
"""


def port_of(address: str) -> int:
    return int(address.rsplit(":", 1)[1].partition("/")[0])


def status(address: str) -> int:
    connection = HTTPConnection("127.0.0.1", port_of(address), timeout=20)
    connection.request("POST", "/api/flows/count", "{}")
    return connection.getresponse().status


def is_gone(address: str, seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port_of(address))):
                return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module")
def home(small_night: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefect's folder with a database: to make one takes the most of a server's first start."""
    place = tmp_path_factory.mktemp("home")
    small_night.lend(place)
    return place / ".lethe" / "prefect"


def test_it_asks_for_a_password_and_goes_with_a_command_that_is_killed(
    home: Path, tmp_path: Path
) -> None:
    env = {**environment(tmp_path / "connections"), "PREFECT_HOME": str(home)}
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND], env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        assert command.stdout is not None
        address = command.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        assert status(address) == 401
        assert not is_gone(address, 0.1)
    finally:
        command.send_signal(signal.SIGKILL)
        command.wait()
    assert is_gone(address)


def test_a_configured_server_is_used_and_none_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a server was started"))
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}), own_server() as ready:
        ready()


def test_a_server_of_a_profile_is_used_and_what_was_started_meanwhile_is_ended(
    tmp_path: Path,
) -> None:
    profile = 'active = "shop"\n[profiles.shop]\nPREFECT_API_URL = "http://127.0.0.1:1/api"\n'
    (tmp_path / "profiles.toml").write_text(profile)
    env = {**environment(tmp_path / "connections"), "PREFECT_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SETTINGS], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["http://127.0.0.1:1/api", "[0]"]


def test_nothing_that_a_flow_told_is_sent_to_a_server_that_is_gone(
    home: Path, tmp_path: Path
) -> None:
    env = {**environment(tmp_path / "connections"), "PREFECT_HOME": str(home)}
    env |= {"PREFECT_LOGGING_LEVEL": "ERROR", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    done = subprocess.run(
        [sys.executable, "-c", FLOW], env=env, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def test_a_server_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setattr("flows.own_server._MODULE", "flows.not_there")
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(OutsideFailure, match="did not start"),
        own_server(),
    ):
        pytest.fail("there is no server")


def test_a_server_that_dies_before_it_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "nonsense")
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(OutsideFailure, match="did not answer"),
        own_server() as ready,
    ):
        ready()
