"""A PostgreSQL server of our own, for one test run: in a temporary folder, on a socket there.

Debian's binaries are enough; none is started or stopped but this one, by its process.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

_ENDS = 20.0  # seconds for a start or an end


def binaries() -> Path | None:
    """The folder of the newest server's binaries."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(path.parent.parent.name) if path.parent.parent.name.isdigit() else 0,
    )
    plain = shutil.which("initdb")
    return found[-1].parent if found else Path(plain).resolve().parent if plain else None


def missing() -> str | None:
    """Why there can be no server here, or None."""
    if binaries() is None:
        return "PostgreSQL's server is not installed (Debian: apt-get install postgresql)"
    if importlib.util.find_spec("psycopg") is None:
        return "the driver psycopg is not installed"
    return None


def _somebody_plain() -> tuple[int | None, int | None]:
    """User and group, None for our own, without privileges: the server refuses to run as root."""
    if os.geteuid() != 0:
        return None, None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return found.pw_uid, found.pw_gid
    raise LookupError("there is nobody to run PostgreSQL as")


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start a server, give the address of its one database, and end it."""
    # Not below pytest's folder: that is closed to others, and too long a name for a socket.
    folder = Path(tempfile.mkdtemp(prefix="lethe-pg-", dir="/tmp"))
    (user, group), bin_folder = _somebody_plain(), binaries()
    assert bin_folder is not None
    if user is not None and group is not None:
        os.chown(folder, user, group)
    try:
        subprocess.run(
            [bin_folder / "initdb", "-D", folder / "data", "-U", "lethe", "-A", "trust",
             "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True, capture_output=True, cwd=folder, user=user, group=group,
        )  # fmt: skip
        process = subprocess.Popen(
            [bin_folder / "postgres", "-D", folder / "data", "-k", folder, "-c", "fsync=off",
             "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
            user=user, group=group,
        )  # fmt: skip
        try:
            url = f"postgresql+psycopg://lethe@/postgres?host={folder}"
            _wait_for(url, process)
            yield url
        finally:
            process.send_signal(signal.SIGINT)  # a fast end: clients are cut off
            process.wait(_ENDS)
    finally:
        shutil.rmtree(folder)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    engine, deadline = sa.create_engine(url, poolclass=sa.NullPool), time.monotonic() + _ENDS
    while not _answers(engine):
        assert process.poll() is None, "PostgreSQL did not start"
        assert time.monotonic() < deadline, "PostgreSQL does not answer"
        time.sleep(0.05)


def _answers(engine: sa.Engine) -> bool:
    try:
        engine.connect().close()
    except sa.exc.OperationalError:
        return False
    return True


def fresh_schema(url: str) -> str:
    """An empty schema of its own in the server's database; its address."""
    name = f"s{uuid.uuid4().hex}"
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(name))
    path = {"options": f"-csearch_path={name}"}
    return engine.url.update_query_dict(path).render_as_string(hide_password=False)
