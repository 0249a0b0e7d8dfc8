"""A Prefect server for one command: on loopback, with a password, gone when the command is.

Prefect would start one by itself, but only once a flow begins and from a process that imports the
server's code as well, without a password, and it outlives a command that was killed. Started here,
it comes up while the command imports its tools. `python -m flows.own_server` is the server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException

from lethe.errors import OutsideFailure
from lethe.estate.process import importing

_MODULE = "flows.own_server"
_API = "PREFECT_API_URL"
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
    if _configured():
        yield lambda: None
        return
    password = f"lethe:{secrets.token_hex(16)}"
    line, its_end = socket.socketpair()
    with line, its_end:
        child = _started(its_end, password)
        its_end.close()
        try:
            with importing():  # it imports the same meanwhile, on another core
                from prefect.settings import (
                    PREFECT_API_AUTH_STRING,
                    PREFECT_API_URL,
                    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
                    get_current_settings,
                    temporary_settings,
                )
            if get_current_settings().api.url is not None:  # in a profile, or a file of settings
                yield lambda: None
                return
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
                try:
                    yield lambda: _await(int(port), wait_seconds)
                finally:
                    _tell_all()
        finally:
            _PASSING.clear()
            line.close()
            _stop(child)


def _configured() -> bool:
    """Whether Prefect is known to be configured for a server, without importing it for that."""
    if "prefect" not in sys.modules:
        return bool(os.environ.get(_API))
    from prefect.settings import get_current_settings

    return get_current_settings().api.url is not None


def _started(its_end: socket.socket, password: str) -> subprocess.Popen[bytes]:
    """The server's process; it reads settings as this one does, and those that were set in it."""
    known: dict[str, str] = {}
    if "prefect" in sys.modules:
        from prefect.settings import get_current_settings

        known = get_current_settings().to_environment_variables(exclude_unset=True)
    return subprocess.Popen(
        [sys.executable, "-m", _MODULE],
        env={
            **os.environ,
            **known,
            "PREFECT_SERVER_API_AUTH_STRING": password,
            "PREFECT_UI_ENABLED": "0",
            "PREFECT__SERVER_EPHEMERAL": "1",
        },
        stdin=its_end.fileno(),
        stdout=its_end.fileno(),
    )


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


def _tell_all() -> None:
    """Wait for what is on its way: each event that finds no server holds up the end for seconds."""
    from prefect.events.worker import EventsWorker

    logging.getLogger(EventsWorker.__name__).setLevel(logging.ERROR)  # it warns that it works
    EventsWorker.drain_all(timeout=_STOP_SECONDS, at_exit=False)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """It ends by itself once nobody holds the other end of its line."""
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def serve() -> None:
    """Say the port on standard output, serve, and end when standard input does."""

    def end_with_the_command() -> None:
        with contextlib.suppress(OSError):  # reset, if it has not even read the port
            sys.stdin.buffer.read()
        # Whatever the command waited for is committed, and a killed command waits for nothing;
        # the services of Prefect's server would take two seconds to end.
        os._exit(0)

    listening = socket.create_server((_HOST, 0))
    threading.Thread(target=end_with_the_command, daemon=True).start()
    print(listening.getsockname()[1], flush=True)
    with importing():
        import uvicorn
        from prefect.server.api.server import create_app

        app = create_app()
    uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on")).run(sockets=[listening])


if __name__ == "__main__":
    serve()
