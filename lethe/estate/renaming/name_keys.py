"""The files of the name keys: the present one, former ones, and the next one.

The present one is `names.key`. A former one is `names-<n>.key` as long as a solution version is
named under it, and then overwritten. The next one lies in `names.key.next` from the moment on at
which names are changed until all of them were: the record of fingerprints decides which is present.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Set
from pathlib import Path
from typing import Final

from lethe.durable import sync_folder, write_bytes, write_json
from lethe.errors import BadConfiguration, WrongKey
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.identity import Keys, key_fingerprint

NAMES: Final = "names"
_FORMER: Final = "names-"
_NEXT: Final = "names.key.next"


def former(workspace: Workspace) -> dict[str, bytes]:
    """File name -> former name key, of those that are still kept.

    Raises:
        WrongKey: a file holds another key than the one that was recorded under its name.
        BadConfiguration: it is malformed.
    """
    found, recorded = dict[str, bytes](), workspace.recorded_fingerprints()
    for name in sorted(name for name in recorded if name.startswith(_FORMER)):
        path = workspace.keys / f"{name}.key"
        if path.is_file():
            found[path.name] = _read(path)
            if key_fingerprint(found[path.name]) != recorded[name]:
                raise WrongKey(f"{path.name} is not the key this workspace was made with")
    return found


def _read(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        raise BadConfiguration(f"{path.name} is not hexadecimal") from None


def awaited(workspace: Workspace) -> bytes | None:
    """The name key that names are being changed to; None where nothing is under way."""
    waiting = workspace.keys / _NEXT
    try:
        key = _read(waiting)
    except FileNotFoundError:
        return None
    if key_fingerprint(key) != workspace.recorded_fingerprints().get(NAMES):
        return key
    with contextlib.suppress(FileNotFoundError):  # another process was quicker
        waiting.replace(workspace.keys / f"{NAMES}.key")
    sync_folder(workspace.keys)
    return None


def begin(workspace: Workspace, before: Keys) -> Keys:
    """The keys by which the names will be: a new name key, or the one that was begun with.

    Raises:
        BadConfiguration: a key comes from the environment.
    """
    key = awaited(workspace)
    if key is None:
        refuse_given("pseudonym", "PSEUDONYM", "NAMES")
        key = secrets.token_bytes(32)
        write_bytes(workspace.keys / _NEXT, key.hex().encode() + b"\n")
    known = (*before.former, *((before.names,) if before.names else ()))
    return Keys(before.pseudonym, before.tombstone, key, known)


def end(workspace: Workspace, before: Keys) -> None:
    """Everything is named by the new key: it becomes the present one, in one step.

    The former one is kept beside it, for the solution versions that are named under it.
    """
    key, recorded = awaited(workspace), workspace.recorded_fingerprints()
    if key is None:
        return
    known = [name for name in recorded if name.startswith(_FORMER)]
    number = 1 + max((int(name[len(_FORMER) :]) for name in known), default=0)
    kept = {}
    if before.names:
        name = f"{_FORMER}{number}"
        write_bytes(workspace.keys / f"{name}.key", before.names.hex().encode() + b"\n")
        kept = {name: before.generation}
    write_json(workspace.fingerprints, {**recorded, **kept, NAMES: key_fingerprint(key)})
    awaited(workspace)


def fits(workspace: Workspace, fingerprint: str | None) -> bool:
    """Whether names under the key of this fingerprint (None: under none) can be read here.

    That key is the present one, or the one of a replacement that has not ended.
    """
    waiting = awaited(workspace)
    return fingerprint == workspace.recorded_fingerprints().get(NAMES) or (
        waiting is not None and fingerprint == key_fingerprint(waiting)
    )


def settle(workspace: Workspace, before: Keys, fingerprint: str | None) -> None:
    """End a replacement whose new key has this fingerprint, and call off any other.

    For a restore, which has just put stores of that generation in place of all that there were.
    """
    waiting = awaited(workspace)
    if waiting is not None and key_fingerprint(waiting) == fingerprint:
        end(workspace, before)
    elif waiting is not None:
        _overwrite(workspace, _NEXT)


def forget(workspace: Workspace, needed: Set[str]) -> int:
    """Overwrite and delete the former name keys of all generations but `needed`; how many went."""
    gone = 0
    for name, key in former(workspace).items():
        if key_fingerprint(key) not in needed:
            _overwrite(workspace, name)
            gone += 1
    return gone


def _overwrite(workspace: Workspace, name: str) -> None:
    # First no key any more: one that a kill left half overwritten would be malformed.
    path = workspace.keys / f".{name}.{os.getpid()}.part"
    (workspace.keys / name).replace(path)
    with path.open("r+b") as stream:
        stream.write(secrets.token_bytes(path.stat().st_size))
        stream.flush()
        os.fsync(stream.fileno())
    path.unlink()
    sync_folder(workspace.keys)


def refuse_given(what: str, *names: str) -> None:
    """A key that the environment gives cannot be replaced here.

    Raises:
        BadConfiguration: names the variable.
    """
    for variable in (f"LETHE_{name}_KEY{suffix}" for name in names for suffix in ("", "_FILE")):
        if os.environ.get(variable):
            raise BadConfiguration(
                f"the {what} key comes from {variable}; only a key that this workspace keeps "
                "itself can be replaced"
            )
