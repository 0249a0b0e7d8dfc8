"""`lethe serve` ends when it is told to: in order, within seconds, with nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from lethe.desk.stack import processes
from lethe.durable import read_json
from tests.nights import shop
from tests.nights.conftest import LETHE, ROOT, Place, Saved

pytestmark = pytest.mark.timeout(300)

IDLE_WITHIN, AMID_WITHIN = 20.0, 40.0
STATUS = "SELECT status FROM runs WHERE name LIKE 'night %' ORDER BY start_time DESC LIMIT 1"


@dataclass(frozen=True)
class Serving:
    """`lethe serve` in a process group of its own, as a terminal or a service manager starts it."""

    place: Place
    process: subprocess.Popen[str]

    def told_to_end(self, how: signal.Signals, within: float) -> str:
        """Send it a signal and return what it said; Ctrl-C reaches its whole group."""
        below = processes.family(processes.known(self.process.pid))
        assert self.process.poll() is None
        (os.killpg if how is signal.SIGINT else os.kill)(self.process.pid, how)
        said = "".join(self.process.communicate(timeout=within))
        assert self.process.returncode == 0, said
        assert "Traceback" not in said
        assert [one for one in below if one.lives()] == []
        return said

    def prefect(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the server; as every client of Prefect's, again while its database is busy (503)."""
        parts = urlsplit(os.environ["PREFECT_API_URL"])
        text = None if body is None else json.dumps(body)
        for pause in (0.2, 1.0, 5.0, None):
            link = HTTPConnection(str(parts.hostname), parts.port, timeout=60)
            with closing(link):
                headers = {"Content-Type": "application/json"}
                link.request(method, f"{parts.path}{path}", text, headers)
                answer = link.getresponse()
                told = answer.read()
            if answer.status != 503 or pause is None:
                break
            time.sleep(pause)
        assert answer.status < 300, (answer.status, told)
        return json.loads(told)

    def paused(self) -> dict[str, bool]:
        """Which of the deployments make no runs, as Prefect knows them."""
        names = ("night", "experiment", "erase")
        found = {name: self.prefect("GET", f"/deployments/name/{name}/{name}") for name in names}
        return {name: bool(deployment["paused"]) for name, deployment in found.items()}

    def until(self, done: Callable[[], bool], run: str, seconds: float = 120) -> None:
        """Wait for something of a flow run that goes on; say how it stands if it does not come."""
        deadline = time.monotonic() + seconds
        while not done():
            assert self.process.poll() is None
            state = self.prefect("GET", f"/flow_runs/{run}")["state"]
            assert state["type"] in ("SCHEDULED", "PENDING", "RUNNING"), state
            assert time.monotonic() < deadline, state
            time.sleep(0.05)


@pytest.fixture
def serving(first_night: Saved) -> Iterator[Serving]:
    place = first_night.restore()
    process = subprocess.Popen(
        [LETHE, "serve"],
        cwd=place.root,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_RUNNER_POLL_FREQUENCY": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    below = processes.known(process.pid)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serving night, experiment, erase")
        yield Serving(place, process)
    finally:
        for one in processes.family(below):
            processes.end(one, signal.SIGKILL, 5.0)
        process.communicate()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_while_nothing_runs_it_ends(serving: Serving, how: signal.Signals) -> None:
    assert serving.paused() == {"night": False, "experiment": False, "erase": False}
    serving.told_to_end(how, IDLE_WITHIN)
    assert serving.paused() == {"night": True, "experiment": True, "erase": True}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_night_that_runs_ends_in_order_and_the_champion_stays(
    serving: Serving, how: signal.Signals
) -> None:
    place = serving.place
    shop.export(place.landing / "2025-03-31.csv.gz", shop.bought(30, 1, 2.0, seed=2))
    known = serving.prefect("GET", "/deployments/name/night/night")
    run = serving.prefect("POST", f"/deployments/{known['id']}/create_flow_run", {})
    journal = place.state / "night.json"
    serving.until(lambda: journal.is_file() and "data_version" in read_json(journal), run["id"])
    assert place.mlflow(STATUS) == [("RUNNING",)]

    serving.told_to_end(how, AMID_WITHIN)

    assert not journal.exists(), "nothing to take up: it was no kill"
    assert place.mlflow(STATUS) == [("KILLED",)]
    assert place.alias("champion") == 1
    assert list((place.state / "tmp").iterdir()) == []
    assert serving.prefect("GET", f"/flow_runs/{run['id']}")["state"]["type"] == "CRASHED"
    assert "promoted" in place.run("night")
