"""Where the servers listen and what lets one in: made once, kept in files of mode 0600."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lethe.durable import read_json, write_bytes, write_json
from lethe.errors import BadConfiguration
from lethe.estate.workspace import Workspace

HOST = "127.0.0.1"
USER = "lethe"
DATABASES = ("prefect", "mlflow", "mlflow_users", "optuna", "register")
_PORTS = ("postgres", "mlflow", "prefect")
_SECRETS = (*DATABASES, "postgres", "prefect_api", "mlflow_api", "mlflow_sessions")
_MOST = 65535


@dataclass(frozen=True)
class Addresses:
    """Ports on loopback by server, and passwords by whom they let in."""

    ports: Mapping[str, int]
    secrets: Mapping[str, str] = field(repr=False)

    def database(self, name: str, driver: str = "psycopg", owner: bool = False) -> str:
        """The address of a database, for its own role or for the server's owner."""
        who, password = (USER, "postgres") if owner else (name, name)
        place = f"{HOST}:{self.ports['postgres']}/{name}"
        return f"postgresql+{driver}://{who}:{self.secrets[password]}@{place}"

    def http(self, server: str) -> str:
        """The address of a server that speaks HTTP."""
        return f"http://{HOST}:{self.ports[server]}"

    def environment(self) -> dict[str, str]:
        """What a shell, a night and a worker must know."""
        return {
            "LETHE_REGISTER_URL": self.database("register"),
            "LETHE_STUDIES_URL": self.database("optuna"),
            "LETHE_MLFLOW_DATABASE_URL": self.database("mlflow"),
            "MLFLOW_TRACKING_URI": self.http("mlflow"),
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": self.secrets["mlflow_api"],
            "PREFECT_API_URL": f"{self.http('prefect')}/api",
            "PREFECT_API_AUTH_STRING": f"{USER}:{self.secrets['prefect_api']}",
        }


def addresses(workspace: Workspace) -> Addresses:
    """The stack's addresses: passwords are made the first time, ports too, unless they are given.

    Raises:
        BadConfiguration: `LETHE_POSTGRES_PORT` or its like is no port.
    """
    file = _file(workspace)
    known = read_json(file) if file.is_file() else {"ports": {}, "secrets": {}}
    made = {name: known["secrets"].get(name) or secrets.token_hex(20) for name in _SECRETS}
    ports = {**_free(), **known["ports"], **_asked()}
    wanted = {"ports": ports, "secrets": made}
    if wanted != known:
        workspace.keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(file, wanted)
    return Addresses(ports, made)


def publish(workspace: Workspace, found: Addresses) -> None:
    """Write the environment for shells; from now on every command of this workspace uses it."""
    lines = "".join(f"{name}={value}\n" for name, value in found.environment().items())
    write_bytes(workspace.stack_environment, lines.encode("ascii"))


def withdraw_lost(workspace: Workspace) -> None:
    """Take back what `publish` wrote if keys were put into an empty folder and no database was.

    `lethe up` makes them anew there. Where anything remembers a register, its loss must show.
    """
    made = (workspace.stack / "postgres" / "made").exists()
    remembered = (workspace.catalogue, workspace.register_position, workspace.register_anchor)
    if not made and not any(path.exists() for path in remembered):
        workspace.stack_environment.unlink(missing_ok=True)


def _file(workspace: Workspace) -> Path:
    return workspace.keys / "stack.json"


def _free() -> dict[str, int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as held:
        sockets = {name: held.enter_context(socket.create_server((HOST, 0))) for name in _PORTS}
        return {name: int(one.getsockname()[1]) for name, one in sockets.items()}


def _asked() -> dict[str, int]:
    found = {}
    for name in _PORTS:
        variable = f"LETHE_{name.upper()}_PORT"
        if text := os.environ.get(variable):
            if not text.isdecimal() or not 0 < int(text) <= _MOST:
                raise BadConfiguration(f"{variable} is no port")
            found[name] = int(text)
    return found
