"""The services of the stack: how each is started, when it is ready, and how it is ended."""

from __future__ import annotations

import json
import os
import signal
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from lethe.desk.stack import postgres
from lethe.desk.stack.addresses import HOST, USER, Addresses
from lethe.durable import write_bytes
from lethe.estate.process import TELEMETRY_OFF
from lethe.estate.workspace import Workspace

POOL = "lethe"
_OK = 200


@dataclass(frozen=True)
class Line:
    """A command line, what it adds to its environment, options and folder of its process."""

    command: list[str | Path]
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    options: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None


@dataclass(frozen=True)
class Service:
    """One process of the stack.

    `line` gives its command for as long as the block lasts in which it is started; `prepare` runs
    before it, `ready` says whether it answers; `inherits` is True where the operator's own
    variables reach it, keys among them. Services of one `wave` start side by side.
    """

    name: str
    line: Callable[[], AbstractContextManager[Line]]
    ready: Callable[[], bool]
    prepare: Callable[[], None] = lambda: None
    inherits: bool = False
    ends_on: signal.Signals = signal.SIGTERM
    wave: int = 1


def services(workspace: Workspace, found: Addresses) -> tuple[Service, ...]:
    """The services in the order in which they start."""
    files, begun = workspace.stack / "postgres", datetime.now(UTC)
    return (
        Service(
            "postgres",
            lambda: _postgres(files, found),
            lambda: postgres.answers(found),
            lambda: postgres.make(files, found),
            ends_on=signal.SIGINT,  # clients are cut off, what was committed is written
            wave=0,
        ),
        Service(
            "mlflow",
            lambda: _plainly(_mlflow(workspace, found)),
            lambda: answers(found.ports["mlflow"], "/health"),
            lambda: _users(workspace, found),
        ),
        Service(
            "prefect",
            lambda: _plainly(_prefect(workspace, found)),
            lambda: answers(found.ports["prefect"], "/api/health"),
        ),
        Service(
            "worker",
            lambda: _plainly(_worker()),
            lambda: _at_work(found, begun),
            inherits=True,
            wave=2,
        ),
    )


def environment(service: Service, workspace: Workspace) -> dict[str, str]:
    """What every service starts with: silent, private, with a temporary folder no night wipes."""
    ours = ("LETHE_", "MLFLOW_", "PREFECT_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if service.inherits or not name.startswith(ours)
    }
    temporary = workspace.stack / "tmp"
    temporary.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {**kept, **TELEMETRY_OFF, "TMPDIR": str(temporary)}


def answers(port: int, path: str) -> bool:
    """Whether an HTTP server on loopback says that it is well; the password may be asked for."""
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status in {_OK, 401}
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _at_work(found: Addresses, since: datetime) -> bool:
    """Whether the worker has reported to Prefect's server since a moment."""
    connection = HTTPConnection(HOST, found.ports["prefect"], timeout=5)
    login = found.environment()["PREFECT_API_AUTH_STRING"].encode()
    headers = {
        "Authorization": f"Basic {b64encode(login).decode()}",
        "Content-Type": "application/json",
    }
    try:
        connection.request("POST", f"/api/work_pools/{POOL}/workers/filter", "{}", headers)
        told = json.load(connection.getresponse())
        reports = [datetime.fromisoformat(one["last_heartbeat_time"]) for one in told]
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return False
    finally:
        connection.close()
    return any(report > since for report in reports)


@contextmanager
def _plainly(line: Line) -> Iterator[Line]:
    yield line


@contextmanager
def _postgres(files: Path, found: Addresses) -> Iterator[Line]:
    with postgres.as_owner(files) as (place, options):
        yield Line(postgres.command(place, found.ports["postgres"]), {}, options, Path("/"))


def _configuration(workspace: Workspace) -> Path:
    return workspace.keys / "stack-mlflow.ini"


def _users(workspace: Workspace, found: Addresses) -> None:
    """MLflow's basic-auth app reads its database's address from a file alone."""
    postgres.make_databases(found)
    text = (
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = {found.database('mlflow_users')}\n"
        # A password is hashed slowly, on purpose; a night asks hundreds of times. The server is one
        # process, which forgets what it remembers of a password when that is changed.
        "auth_cache_ttl_seconds = 60\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    write_bytes(_configuration(workspace), text.encode())


def _mlflow(workspace: Workspace, found: Addresses) -> Line:
    address = found.http("mlflow")
    command: list[str | Path] = [
        Path(sys.executable).with_name("mlflow"), "server", "--app-name", "basic-auth",
        "--host", HOST, "--port", str(found.ports["mlflow"]), "--workers", "1",
        "--uvicorn-opts", "--no-access-log --log-level warning",
    ]  # fmt: skip
    return Line(
        command,
        {
            "MLFLOW_BACKEND_STORE_URI": found.database("mlflow"),
            "MLFLOW_SERVE_ARTIFACTS": "true",
            "MLFLOW_ARTIFACTS_DESTINATION": str(workspace.mlflow / "artifacts"),
            "MLFLOW_DEFAULT_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "MLFLOW_AUTH_CONFIG_PATH": str(_configuration(workspace)),
            "MLFLOW_AUTH_ADMIN_USERNAME": USER,
            "MLFLOW_AUTH_ADMIN_PASSWORD": found.secrets["mlflow_api"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": found.secrets["mlflow_sessions"],
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": address,
        },
    )


def _prefect(workspace: Workspace, found: Addresses) -> Line:
    command: list[str | Path] = [
        sys.executable, "-m", "uvicorn", "prefect.server.api.server:create_app", "--factory",
        "--host", HOST, "--port", str(found.ports["prefect"]), "--log-level", "warning",
    ]  # fmt: skip
    return Line(
        command,
        {
            "PREFECT_HOME": str(workspace.prefect_home),
            "PREFECT_API_DATABASE_CONNECTION_URL": found.database("prefect", "asyncpg"),
            "PREFECT_SERVER_API_AUTH_STRING": found.environment()["PREFECT_API_AUTH_STRING"],
            "PREFECT_SERVER_API_HOST": HOST,
            "PREFECT_SERVER_API_PORT": str(found.ports["prefect"]),
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": found.http("prefect"),
            "PREFECT__SERVER_FINAL": "1",
        },
    )


def _worker() -> Line:
    command: list[str | Path] = [
        sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process",
        "--name", POOL, "--install-policy", "never",
    ]  # fmt: skip
    return Line(command)
