"""PostgreSQL from the system's packages, in the workspace: a database and a role for each tool.

The server refuses to run as root. Started by root it runs as `postgres`, whom the closed folders
above its own would keep out: so it is handed its folder as an open handle, and they stay closed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lethe.desk.stack.addresses import DATABASES, HOST, USER, Addresses
from lethe.durable import write_bytes
from lethe.errors import BadConfiguration, StoreUnavailable

_INSTALL = "PostgreSQL's server is not installed (Debian: apt-get install postgresql)"


def binaries() -> Path:
    """The folder of the newest server's binaries.

    Raises:
        BadConfiguration: there is none.
    """
    found = [
        path.parent
        for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")
        if path.parent.parent.name.isdigit()
    ]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    if (plain := shutil.which("initdb")) is None:
        raise BadConfiguration(_INSTALL)
    return Path(plain).resolve().parent


@contextlib.contextmanager
def as_owner(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """How the server may call its folder, and options to start a process of its user."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.geteuid() != 0:
        yield str(folder), {}
        return
    try:
        somebody = pwd.getpwnam("postgres")
    except KeyError:
        raise BadConfiguration("there is no user postgres to run PostgreSQL as") from None
    os.chown(folder, somebody.pw_uid, somebody.pw_gid)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    plain = {"user": somebody.pw_uid, "group": somebody.pw_gid, "extra_groups": []}
    try:
        yield f"/proc/self/fd/{handle}", {**plain, "pass_fds": (handle,)}
    finally:
        os.close(handle)


def make(folder: Path, found: Addresses) -> None:
    """Make the server's files once; what a killed call left is made anew.

    Raises:
        BadConfiguration: PostgreSQL is not installed.
        StoreUnavailable: it could not make its files.
    """
    command = binaries() / "initdb"
    made, password = folder / "made", folder / "password"
    if made.exists():
        return
    shutil.rmtree(folder / "data", ignore_errors=True)
    with as_owner(folder) as (place, options):
        write_bytes(password, found.secrets["postgres"].encode() + b"\n")
        if options:
            os.chown(password, options["user"], options["group"])
        try:
            done = subprocess.run(
                [command, "-D", f"{place}/data", "-U", USER, "-A", "scram-sha-256",
                 f"--pwfile={place}/password", "-E", "UTF8", "--locale=C", "--wal-segsize=1"],
                cwd="/", capture_output=True, check=False, **options,
            )  # fmt: skip
        finally:
            password.unlink()
    if done.returncode:
        raise StoreUnavailable(f"PostgreSQL's initdb ended with {done.returncode}")
    made.touch(mode=0o600)


def command(place: str, port: int) -> list[str | Path]:
    """The server's command line; it listens on loopback alone and logs no statement's values."""
    settings = {
        "listen_addresses": HOST,
        "unix_socket_directories": "",
        "log_statement": "none",
        "log_min_error_statement": "panic",
        "log_checkpoints": "off",
        "min_wal_size": "2MB",  # every file here is searched for people, empty ones too
        "max_wal_size": "64MB",
    }
    given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return [binaries() / "postgres", "-D", f"{place}/data", "-p", str(port), *given]


def answers(found: Addresses) -> bool:
    """Whether the server lets its owner in."""
    try:
        with _owner(found, "postgres") as link:
            link.execute(sa.text("SELECT 1"))
    except sa.exc.OperationalError:
        return False
    return True


def make_databases(found: Addresses) -> None:
    """A role and a database of its own for each tool, closed to the others; once.

    The register's role may only read and add: its tables belong to the server's owner.
    """
    with _owner(found, "postgres") as link:
        roles = set(link.scalars(sa.text("SELECT rolname FROM pg_roles")))
        there = set(link.scalars(sa.text("SELECT datname FROM pg_database")))
        for name in DATABASES:
            if name not in roles:
                # The password is hexadecimal, made here: nothing in it can end the quotation.
                link.execute(sa.text(f"CREATE ROLE {name} LOGIN PASSWORD '{found.secrets[name]}'"))
            if name not in there:
                owner = USER if name == "register" else name
                link.execute(sa.text(f"CREATE DATABASE {name} OWNER {owner}"))
            link.execute(sa.text(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"))
            link.execute(sa.text(f"GRANT CONNECT ON DATABASE {name} TO {name}"))
    with _owner(found, "register") as link:
        for kind, rights in (("TABLES", "SELECT, INSERT"), ("SEQUENCES", "USAGE")):
            grant = f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {rights} ON {kind}"
            link.execute(sa.text(f"{grant} TO register"))


@contextlib.contextmanager
def _owner(found: Addresses, database: str) -> Iterator[sa.Connection]:
    address = sa.make_url(found.database("postgres", owner=True)).set(database=database)
    engine = sa.create_engine(address, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as link:
        yield link
