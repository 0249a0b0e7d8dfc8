"""Taking a backup of everything but the register and the keys, of a workspace at rest."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lethe.desk.backups import dumps
from lethe.desk.stack.addresses import Addresses
from lethe.durable import locked, sha256_file
from lethe.errors import BadInput, Busy, StoreUnavailable
from lethe.estate import backups
from lethe.estate.backups import Backup, Kept
from lethe.estate.keys import open_keys, open_signing_key
from lethe.estate.stores import STORES, files_of
from lethe.estate.workspace import Workspace
from lethe.gate.proof.certificate import key_id
from lethe.interactions.rights.register import Register
from lethe.nights.frame import apart
from lethe.stages import opening

_SQLITE = b"SQLite format 3\0"
_BESIDE = re.compile(r"(.+)-(?:journal|wal|shm)")
_HALF_WRITTEN = re.compile(r"\..+\.\d+\.part")


def back_up(workspace: Workspace, file: Path) -> dict[str, Any]:
    """Write a backup of the workspace to `file`, whole or not at all.

    Raises:
        BadInput: see `lethe.estate.backups.free_place`.
        BadConfiguration: see `lethe.desk.backups.dumps`.
        Busy: a night, an experiment or a promotion is under way, or was cut off.
        StoreUnavailable: a file could not be read, or changed meanwhile.
    """
    path = backups.free_place(file, workspace.root)
    stack = dumps.stack_of(workspace)
    open_keys(workspace)
    register = opening.open_register(workspace, opening.open_params(workspace))
    with locked(workspace.night_lock, 5.0), apart(workspace, "backup", 5.0) as scratch:
        _at_rest(workspace, register)
        head = register.check_chain(opening.newest_known(workspace))
        try:
            sources = dict(sorted(_sources(workspace, scratch, stack)))
            backup = Backup(
                workspace=str(workspace.root),
                made=opening.now(),
                register_position=head.position,
                register_head=head.digest,
                keys=workspace.recorded_fingerprints(),
                files=tuple(_kept(workspace, name, path) for name, path in sources.items()),
            )
            backups.write(path, backup, sources, _signer(workspace))
        except OSError as error:
            raise StoreUnavailable(f"the backup was not written: {error.strerror}") from None
    size = path.stat().st_size
    return {
        "backup": str(path),
        "sha256": sha256_file(path),
        "files": len(backup.files),
        "bytes": size,
        "register_position": head.position,
        "text": f"{len(backup.files)} files, {size / 1e6:.1f} MB in {path}, at register position "
        f"{head.position}\nneither the register nor the keys are in it: keep those apart\nit holds "
        "personal data and no erasure reaches it: delete it within the time you promised",
    }


def _at_rest(workspace: Workspace, register: Register) -> None:
    if workspace.journal.is_file():
        raise Busy("a night was cut off; `lethe night` ends it, then a backup is possible")
    if register.open_intents():
        raise Busy("a promotion was cut off; `lethe night` ends it, then a backup is possible")


def _sources(
    workspace: Workspace, scratch: Path, stack: Addresses | None
) -> Iterator[tuple[str, Path]]:
    """Each file's path in the workspace, and where its bytes are: of a database, a copy."""
    if stack:
        for name in dumps.NAMES:
            dumps.write(stack, name, dump := scratch / "dumps" / f"{name}.sql")
            yield dumps.member(name), dump
    wanted, root = backups.places(), workspace.root
    replaced = {workspace.mlflow / "mlflow.db", workspace.studies}  # by the stack's databases
    found = [root / name for name in wanted if (root / name).is_file()]
    found += [
        path
        for store in STORES
        if store.backed_up
        for path in files_of(workspace, store)
        if any((root / place) in path.parents for place in wanted)
    ]
    for path in dict.fromkeys(found):
        name = path.relative_to(root).as_posix()
        if stack and path in replaced:
            continue
        if not name.isprintable():
            raise BadInput("a file has a name that no backup can hold: unprintable, or not UTF-8")
        beside = _BESIDE.fullmatch(str(path))
        if _HALF_WRITTEN.fullmatch(path.name) or (beside and Path(beside[1]).is_file()):
            continue
        with path.open("rb") as stream:
            database = stream.read(len(_SQLITE)) == _SQLITE
        yield name, _copied(path, scratch) if database else path


def _copied(database: Path, scratch: Path) -> Path:
    """A database's rows in a file of their own, without its free pages and its journal."""
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    copy = scratch / f"{len(list(scratch.iterdir()))}-{database.name}"
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=60)) as link:
            link.execute("PRAGMA temp_store=2").close()
            link.execute("VACUUM INTO ?", (str(copy),)).close()
    except sqlite3.Error as error:
        kind = type(error).__name__
        raise StoreUnavailable(f"the database {database.name} refused: {kind}") from None
    return copy


def _kept(workspace: Workspace, name: str, path: Path) -> Kept:
    there = workspace.root / name
    mode = (there if there.exists() else path).stat().st_mode & 0o755
    return Kept(name, path.stat().st_size, sha256_file(path), mode)


def _signer(workspace: Workspace) -> Callable[[bytes], bytes]:
    key = open_signing_key(workspace)

    def sign(content: bytes) -> bytes:
        signature = key.sign(backups.signed(content)).hex()
        return f"{key_id(key.public_key())} {signature}\n".encode()

    return sign
