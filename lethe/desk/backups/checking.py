"""What a restore compares before it replaces anything: folder, keys, signature, register."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lethe.durable import sha256_file
from lethe.errors import ArtifactCorrupt, BadInput, LetheError, WrongKey
from lethe.estate import backups
from lethe.estate.backups import Opened
from lethe.estate.keys import keys_before
from lethe.estate.renaming import name_keys
from lethe.estate.workspace import Workspace

if TYPE_CHECKING:
    from lethe.interactions.rights.register import Register
    from lethe.interactions.rights.standing import Head

_CERTIFICATES = ".lethe/certificates/"


def checked(workspace: Workspace, staged: Workspace, opened: Opened, register: Register) -> Head:
    """The register's head, once everything was compared with which a restore could go wrong.

    Raises:
        BadInput: the backup was made in another folder, or would hide a landed file; or a register
            was made anew.
        WrongKey: it was made, or signed, with other keys.
        ArtifactCorrupt: its manifest is damaged, or the register is older than what is known of it.
    """
    from lethe.interactions.rights.standing import GENESIS, Head

    _refuse_an_empty(register, opened)
    backup = opened.backup
    if backup.workspace != str(workspace.root):
        raise BadInput(
            "the backup was made in another folder; MLflow records absolute paths, so it can only "
            f"be restored in {backup.workspace}"
        )
    keys_before(workspace)  # the keys may be a copy that was taken while names were changed
    recorded = workspace.recorded_fingerprints()
    for name in ("pseudonym", "tombstone"):
        if backup.keys.get(name) != recorded.get(name):
            raise WrongKey(f"the backup was made with another {name} key")
    if not name_keys.fits(workspace, backup.keys.get(name_keys.NAMES)):
        raise WrongKey("the backup was made with another name key")
    _check_signature(workspace, opened)
    _check_landing(workspace, staged)
    known = {Head(backup.register_position, backup.register_head)}
    known |= {head for place in (workspace, staged) for head in _known_to(workspace, place)}
    head = register.check_chain(max(known, key=lambda one: one.position))
    places = {0: GENESIS} | {
        entry.position: Head(entry.position, entry.digest) for entry in register.entries()
    }
    if any(places.get(one.position) != one for one in known):
        raise ArtifactCorrupt("the register is not the one that the backup was made beside")
    return head


def _refuse_an_empty(register: Register, opened: Opened) -> None:
    """One made anew passes for that of a backup at position 0, and knows nobody erased since."""
    judged = any(kept.path.startswith(_CERTIFICATES) for kept in opened.backup.files)
    if judged and not register.head().position and not register.promotions():
        raise BadInput(
            "the register is empty, and the backup is of nights that were judged: bring back the "
            "register's newest copy as well, with --register"
        )


def _known_to(workspace: Workspace, place: Workspace) -> Iterator[Head]:
    """Every register head that a folder of stores remembers, and its certificates state."""
    from lethe.estate.keys import trusted_keys
    from lethe.gate.proof.certificate import check
    from lethe.interactions.rights.standing import Head
    from lethe.stages import opening

    newest = opening.newest_known(place)
    if newest is not None:
        yield newest
    trusted = trusted_keys(workspace)
    for path in sorted(place.certificates.glob("*.json")):
        with contextlib.suppress(LetheError):  # by a stranger's key: nothing is known from it
            said = check(path.read_bytes(), trusted)
            yield Head(said.register_position, said.register_head)


def _check_signature(workspace: Workspace, opened: Opened) -> None:
    from cryptography.exceptions import InvalidSignature

    from lethe.estate.keys import trusted_keys
    from lethe.gate.proof.certificate import key_id

    by, _, signature = opened.signature.decode("ascii", "replace").strip().partition(" ")
    signers = [key for key in trusted_keys(workspace) if key_id(key) == by]
    if not signers:
        raise WrongKey("no key that this workspace trusts signed the backup")
    try:
        signers[0].verify(bytes.fromhex(signature), backups.signed(opened.content))
    except (InvalidSignature, ValueError):
        raise ArtifactCorrupt("the backup's manifest is not the one that was signed") from None


def _check_landing(workspace: Workspace, staged: Workspace) -> None:
    """What landed since the backup stays; a file that would hide another is for a person."""
    clashes = [
        path
        for path in staged.landing.rglob("*")
        if path.is_file()
        and (there := workspace.landing / path.relative_to(staged.landing)).exists()
        and not (there.is_file() and sha256_file(there) == sha256_file(path))
    ]
    if clashes:
        raise BadInput(
            f"{len(clashes)} files in data/landing have the names of others in the backup; "
            "rename them first"
        )
