"""A Prefect server for one command: on loopback, with a password, gone when the command is.

Prefect would start one by itself, but only once a flow begins and from a process that imports the
server's code as well, without a password, and it outlives a command that was killed. Started here,
it comes up while the command imports its tools. `python -m flows.own_server` is the server.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException

from lethe.errors import OutsideFailure

_MODULE = "flows.own_server"
_HOST = "127.0.0.1"
_STOP_SECONDS = 5.0
_PASSING: set[str] = set()  # addresses of servers that this process started


def passes(address: str) -> bool:
    """Whether the server at `address` was started here, and ends with the command."""
    return address in _PASSING


@contextlib.contextmanager
def own_server(wait_seconds: float = 120.0) -> Iterator[Callable[[], None]]:
    """Start a server unless Prefect is configured to use one; call what this yields before a flow.

    The call waits until the server answers. The settings of this process name the server until the
    block ends, and with it the server.

    Raises:
        OutsideFailure: from the call; the server did not answer within `wait_seconds`.
    """
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        get_current_settings,
        temporary_settings,
    )

    settings = get_current_settings()
    if settings.api.url is not None:
        yield lambda: None
        return
    password = f"lethe:{secrets.token_hex(16)}"
    line, its_end = socket.socketpair()
    with line, its_end:
        child = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            env={
                **os.environ,
                **settings.to_environment_variables(exclude_unset=True),
                "PREFECT_SERVER_API_AUTH_STRING": password,
                "PREFECT_UI_ENABLED": "0",
                "PREFECT__SERVER_EPHEMERAL": "1",
                "PREFECT__SERVER_FINAL": "1",
            },
            stdin=its_end.fileno(),
            stdout=its_end.fileno(),
        )
        its_end.close()
        try:
            with line.makefile("r", encoding="ascii") as told:
                port = told.readline().strip()
            if not port.isdigit():
                raise OutsideFailure("Prefect's server did not start")
            address = f"http://{_HOST}:{port}/api"
            ours = {
                PREFECT_API_URL: address,
                PREFECT_API_AUTH_STRING: password,
                # Nobody watches a server that lives as long as its flow, and each flow waits a
                # second for the thread of its heartbeat.
                PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
            }
            _PASSING.add(address)
            with temporary_settings(ours):
                yield lambda: _await(int(port), wait_seconds)
        finally:
            _PASSING.clear()
            line.close()
            _stop(child)


def _await(port: int, wait_seconds: float) -> None:
    """One request is enough: it waits in the socket's queue until the server takes it."""
    connection = HTTPConnection(_HOST, port, timeout=wait_seconds)
    try:
        connection.request("GET", "/api/health")
        answer = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise OutsideFailure(f"Prefect's server did not answer: {type(error).__name__}") from error
    finally:
        connection.close()
    # Without the password it says 401, and that it is up.
    if answer not in {200, 401}:
        raise OutsideFailure(f"Prefect's server answered {answer}")


def _stop(child: subprocess.Popen[bytes]) -> None:
    """It ends by itself once nobody holds the other end of its line."""
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def serve() -> None:
    """Say the port on standard output, serve, and end when standard input does."""
    import uvicorn

    listening = socket.create_server((_HOST, 0))
    print(listening.getsockname()[1], flush=True)
    server = uvicorn.Server(
        uvicorn.Config(
            "prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on"
        )
    )

    def end_with_the_command() -> None:
        sys.stdin.buffer.read()
        # Whatever the command waited for is committed, and a killed command waits for nothing;
        # the services of Prefect's server would take two seconds to end.
        os._exit(0)

    threading.Thread(target=end_with_the_command, daemon=True).start()
    server.run(sockets=[listening])


if __name__ == "__main__":
    serve()
