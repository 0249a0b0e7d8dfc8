"""The stack as its operator and whoever sits at a browser see it."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lethe.desk.stack import processes
from lethe.estate.workspace import Workspace
from tests.watched import BIN, environment


@dataclass(frozen=True)
class Stack:
    """A workspace with its servers, as its operator and whoever sits at a browser see them."""

    workspace: Workspace
    connections: Path

    def lethe(self, *arguments: str, **more: str) -> dict[str, Any]:
        """A command's answer; it must end well."""
        done = subprocess.run(
            [str(BIN / "lethe"), "--json", *arguments],
            cwd=self.workspace.root,
            env={**self.environment(), **more},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()
        return dict(json.loads(done.stdout))

    def environment(self) -> dict[str, str]:
        """The operator's: nothing of another workspace, and every connection written down."""
        watched = {**environment(self.connections), "PREFECT_WORKER_QUERY_SECONDS": "1"}
        return {name: value for name, value in watched.items() if name != "LD_PRELOAD"}

    def settings(self) -> dict[str, str]:
        """What a shell would source."""
        lines = self.workspace.stack_environment.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def ask(
        self, address: str, login: str | None, method: str = "GET", body: Any = None
    ) -> tuple[int, Any]:
        """Status and answer of one of the servers."""
        parts = urlsplit(address)
        link = HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        headers = {"Content-Type": "application/json"}
        if login is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        target = f"{parts.path}?{parts.query}"
        link.request(method, target, None if body is None else json.dumps(body), headers)
        answer = link.getresponse()
        text = answer.read()
        link.close()
        with suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, text

    def prefect(self, path: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
        """Prefect's API, with the password."""
        known = self.settings()
        address = f"{known['PREFECT_API_URL']}{path}"
        return self.ask(address, known["PREFECT_API_AUTH_STRING"], method, body)

    def begin(self, deployment: str, **parameters: Any) -> tuple[int, Any]:
        """Ask for a run of a deployment, as the form of the UI does."""
        _, found = self.prefect(f"/deployments/name/{deployment}/{deployment}")
        path = f"/deployments/{found['id']}/create_flow_run"
        return self.prefect(path, "POST", {"parameters": parameters})

    def state(self, run: str) -> str:
        """The type of a run's state."""
        return str(self.prefect(f"/flow_runs/{run}")[1]["state"]["type"])

    def running(self) -> dict[str, processes.Process]:
        """The services that were written down."""
        return processes.written(self.workspace.stack / "processes.json")

    def logs(self) -> str:
        """What the services said, for whoever reads a failure."""
        found = sorted((self.workspace.stack / "logs").glob("*.log"))
        return "\n".join(f"== {log.name}\n{log.read_text()[-3000:]}" for log in found)

    def until(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait for something."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.2)
