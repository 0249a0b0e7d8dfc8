"""The register alone as one SQLite file, from files or a server; and from there into an empty one.

It is kept apart from the backups: an older copy would let people back in who were erased since.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from lethe.desk.stack.addresses import Addresses
from lethe.desk.stack.moving import copy_rows
from lethe.durable import sha256_file, sync_folder
from lethe.errors import ArtifactCorrupt, BadConfiguration, BadFile, BadInput, StoreUnavailable
from lethe.estate import backups
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.register import Register
from lethe.interactions.rights.standing import Head
from lethe.stages import opening

SUFFIX: Final = ".db"
_SQLITE = b"SQLite format 3\0"


def copy_out(workspace: Workspace, file: Path) -> dict[str, Any]:
    """Write a copy of the register to `file`, whole or not at all; nights need not wait for it.

    Raises:
        BadInput: see `lethe.estate.backups.free_place`.
        ArtifactCorrupt: the register's chain does not hold, or the copy is not what it was.
        StoreUnavailable: the register or the disk failed.
        Busy: a promotion or a request held the register for too long.
    """
    path, params = backups.free_place(file, workspace.root, SUFFIX), opening.open_params(workspace)
    register = opening.open_register(workspace, params)
    try:
        with tempfile.TemporaryDirectory(prefix=".lethe-", dir=path.parent) as folder:
            written = Path(folder) / path.name
            copy = Register.open(_sqlite(written), known_merge=opening.newest_merge(workspace))
            with register.exclusive(params.night.lock_seconds):
                head = register.check_chain(opening.newest_known(workspace))
                copy.initialise()
                _carry(register.engine, copy)
            if copy.check_chain() != head:
                raise ArtifactCorrupt("the copy of the register is not what the register is")
            written.chmod(0o600)
            with written.open("rb") as stream:
                os.fsync(stream.fileno())
            os.link(written, path)  # never over a file that came meanwhile
            sync_folder(path.parent)
    except OSError as error:
        raise StoreUnavailable(f"the copy was not written: {error.strerror}") from None
    return {
        "register": str(path),
        "sha256": sha256_file(path),
        "register_position": head.position,
        "text": f"the register at position {head.position} in {path}\nkeep it apart from backups; "
        "only the newest copy may ever be brought back",
    }


def to_compare(workspace: Workspace, copy: Path | None) -> Register:
    """The register that a restore goes by: the one there, or the copy that takes its place.

    Raises:
        BadInput: the copy is none, or there is a register that is not empty.
    """
    merge = opening.newest_merge(workspace)
    if copy is None:
        return Register.open(workspace.register_url(), known_merge=merge)
    if not copy.is_file():
        raise BadInput(f"there is no file {copy.name}")
    with copy.open("rb") as stream:
        if stream.read(len(_SQLITE)) != _SQLITE:
            raise BadFile(copy.name, "it is no copy of a register")
    found = Register.open(_sqlite(copy), known_merge=merge)
    _refuse_another(workspace, found)
    return found


def _refuse_another(workspace: Workspace, copy: Register) -> None:
    if workspace.register_url() == _own(workspace) and not _file(workspace).exists():
        return
    there = Register.open(workspace.register_url())
    present = there.entries()
    begun = workspace.restoring.exists() and present == copy.entries(upto=len(present))
    if not begun and (present or there.promotions()):
        raise BadInput("there is a register here that is not empty: restore without --register")


def carry_in(workspace: Workspace, stack: Addresses | None, copy: Register, head: Head) -> None:
    """Put a copy into the empty register, or end what a killed call began; in one transaction.

    Raises:
        BadConfiguration: the register lies at a server that is not the stack's.
        StoreUnavailable: it holds something else by now, or refused.
    """
    if stack is None and workspace.register_url() != _own(workspace):
        raise BadConfiguration("LETHE_REGISTER_URL names a server: bring the register back there")
    owned = _own(workspace) if stack is None else stack.database("register", owner=True)
    there = Register.open(owned, known_merge=copy.known_merge)
    there.initialise()
    _carry(copy.engine, there)
    if there.check_chain() != head:
        raise ArtifactCorrupt("the register that was brought back is not the copy's")


def _carry(source: sa.Engine, target: Register) -> None:
    if source.dialect.name == "postgresql":
        source = source.execution_options(isolation_level="REPEATABLE READ")
    try:
        copy_rows(source, target.engine, {}, append_only=True)
    except sa.exc.SQLAlchemyError as error:  # its message could hold a tombstone
        raise StoreUnavailable(f"the register refused: {type(error).__name__}") from None


def _own(workspace: Workspace) -> str:
    return _sqlite(_file(workspace))


def _file(workspace: Workspace) -> Path:
    return workspace.state / "register.db"


def _sqlite(file: Path) -> str:
    return f"sqlite:///{file.resolve()}"
