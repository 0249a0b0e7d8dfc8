"""Keys: made once, stored 0600, or given by the environment or a file; a wrong key is refused.

Each key is looked up in this order: `LETHE_<NAME>_KEY` (64 hex digits; for the signing key, PEM),
`LETHE_<NAME>_KEY_FILE`, then the workspace's own file.

Name keys come with the first replacement of the pseudonym key: see `lethe.estate.renaming`.

The signing key can be replaced. Certificates of a former one still count: its public half stays in
`signing-<n>.pub`, and its fingerprint among the others. Delete that file to trust it no longer.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lethe.durable import sync_folder, write_bytes, write_json
from lethe.errors import BadConfiguration, RefusedByGate, WrongKey
from lethe.estate.renaming import name_keys
from lethe.estate.workspace import Workspace
from lethe.gate.proof.certificate import (
    key_id,
    new_signing_key,
    private_pem,
    public_pem,
    read_public_key,
    read_signing_key,
)
from lethe.interactions.rights.identity import Keys, key_fingerprint

_SECRETS = ("pseudonym", "tombstone")
_FORMER = "signing-"
_NEXT = "signing.key.next"


def _given(name: str, default: Path) -> bytes | None:
    variable = f"LETHE_{name.upper()}_KEY"
    if text := os.environ.get(variable):
        return text.encode()
    path = Path(os.environ.get(f"{variable}_FILE") or default)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        raise BadConfiguration(f"the {name} key cannot be read") from None


def _secret(workspace: Workspace, name: str) -> bytes | None:
    text = _given(name, workspace.keys / f"{name}.key")
    if text is None:
        return None
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        raise BadConfiguration(f"the {name} key is not hexadecimal") from None
    if len(key) != 32:  # noqa: PLR2004 - the size of a SHA-256 block's output
        raise BadConfiguration(f"the {name} key has {len(key)} bytes instead of 32")
    return key


def make_keys(workspace: Workspace) -> None:
    """Make what is missing and record the fingerprints; existing keys are never replaced.

    Nothing is written before everything that exists was checked.

    Raises:
        BadConfiguration: a workspace that once had keys now lacks one. A new pseudonym key would
            make every known person a stranger, so that is refused. Or both secrets are the same.
        WrongKey: a key is not the one that this workspace was made with.
    """
    known = workspace.recorded_fingerprints() if workspace.fingerprints.is_file() else {}
    if known:
        _finish(workspace)
    given = {name: _secret(workspace, name) for name in _SECRETS}
    pem = _given("signing", workspace.keys / "signing.key")
    for name, key in (*given.items(), ("signing", pem)):
        if key is None and name in known:
            raise BadConfiguration(f"the {name} key of this workspace is missing")
    secret = {name: given[name] or secrets.token_bytes(32) for name in _SECRETS}
    Keys(secret["pseudonym"], secret["tombstone"])  # they must differ
    signing = new_signing_key() if pem is None else read_signing_key(pem)
    public = signing.public_key()
    fingerprints = {name: key_fingerprint(secret[name]) for name in _SECRETS}
    fingerprints["signing"] = key_id(public)
    for name, fingerprint in fingerprints.items():
        if known.get(name, fingerprint) != fingerprint:
            raise WrongKey(f"the {name} key is not the one this workspace was made with")
    workspace.keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in _SECRETS:
        if given[name] is None:
            write_bytes(workspace.keys / f"{name}.key", secret[name].hex().encode() + b"\n")
    if pem is None:
        write_bytes(workspace.keys / "signing.key", private_pem(signing))
    write_bytes(workspace.keys / "signing.pub", public_pem(public), mode=0o644)
    write_json(workspace.fingerprints, known | fingerprints)


def open_keys(workspace: Workspace) -> Keys:
    """The pseudonym and tombstone keys, and the name keys if there are any.

    Raises:
        WrongKey: a key's fingerprint differs from the recorded one.
        BadConfiguration: a key is missing or malformed.
        RefusedByGate: the names are being changed, and that has not ended.
    """
    if name_keys.awaited(workspace) is not None:
        raise RefusedByGate(
            "the pseudonym key is being replaced and that has not ended: `lethe keys replace "
            "pseudonym` or the next `lethe night` ends it"
        )
    return keys_before(workspace)


def keys_before(workspace: Workspace) -> Keys:
    """The keys by which the names are, or were before a replacement that has not ended.

    Raises:
        WrongKey, BadConfiguration: as `open_keys`.
    """
    name_keys.awaited(workspace)  # a key that the record names already moves to its place
    recorded = workspace.recorded_fingerprints()
    found: dict[str, bytes] = {}
    for name in (*_SECRETS, *((name_keys.NAMES,) if name_keys.NAMES in recorded else ())):
        key = _secret(workspace, name)
        if key is None:
            raise BadConfiguration(f"the {name} key of this workspace is missing")
        if key_fingerprint(key) != recorded.get(name):
            raise WrongKey(f"the {name} key is not the one this workspace was made with")
        found[name] = key
    return Keys(
        found["pseudonym"],
        found["tombstone"],
        found.get(name_keys.NAMES, b""),
        tuple(name_keys.former(workspace).values()),
    )


def open_signing_key(workspace: Workspace) -> Ed25519PrivateKey:
    """The key that signs certificates.

    Raises:
        WrongKey: it is not the key whose public half the workspace recorded.
        BadConfiguration: it is missing or malformed.
    """
    _finish(workspace)
    pem = _given("signing", workspace.keys / "signing.key")
    if pem is None:
        raise BadConfiguration("the signing key of this workspace is missing")
    key = read_signing_key(pem)
    if key_id(key.public_key()) != workspace.recorded_fingerprints().get("signing"):
        raise WrongKey("the signing key is not the one this workspace was made with")
    return key


def trusted_keys(workspace: Workspace) -> list[Ed25519PublicKey]:
    """The public keys whose certificates count here: the workspace's own, then former ones.

    Raises:
        WrongKey: a file holds another key than the one that was recorded under its name.
        BadConfiguration: a file is not readable; a former key's may be gone.
    """
    _finish(workspace)
    recorded = workspace.recorded_fingerprints()
    names = ["signing", *sorted(name for name in recorded if name.startswith(_FORMER))]
    found = []
    for name in names:
        path = workspace.keys / f"{name}.pub"
        if name != "signing" and not path.is_file():
            continue
        key = read_public_key(path)
        if key_id(key) != recorded.get(name):
            raise WrongKey(f"{path.name} is not the key this workspace was made with")
        found.append(key)
    return found


def replace_signing_key(workspace: Workspace) -> tuple[str, str]:
    """Sign with a new key from now on; the fingerprints of the former and of the new one.

    The private half of the former key is overwritten, if it is still there. The record of
    fingerprints decides: a call that is killed before it is written has changed nothing, and one
    that is killed after it is ended by whoever opens a key next.

    Raises:
        BadConfiguration: the key comes from the environment.
        WrongKey: the present key is not the recorded one.
    """
    name_keys.refuse_given("signing", "SIGNING")
    _finish(workspace)
    if (workspace.keys / "signing.key").is_file():
        open_signing_key(workspace)
    public, recorded = trusted_keys(workspace)[0], workspace.recorded_fingerprints()
    number = 1 + max((int(n[len(_FORMER) :]) for n in recorded if n.startswith(_FORMER)), default=0)
    former, new = f"{_FORMER}{number}", new_signing_key()
    write_bytes(workspace.keys / f"{former}.pub", public_pem(public), mode=0o644)
    write_bytes(workspace.keys / _NEXT, private_pem(new))
    ids = key_id(public), key_id(new.public_key())
    write_json(workspace.fingerprints, {**recorded, former: ids[0], "signing": ids[1]})
    _finish(workspace)
    return ids


def _finish(workspace: Workspace) -> None:
    """Put a recorded new key in the former one's place, where a kill kept it from getting there."""
    waiting = workspace.keys / _NEXT
    try:
        key = read_signing_key(waiting.read_bytes())
    except FileNotFoundError:
        return
    if key_id(key.public_key()) == workspace.recorded_fingerprints().get("signing"):
        write_bytes(workspace.keys / "signing.pub", public_pem(key.public_key()), mode=0o644)
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            waiting.replace(workspace.keys / "signing.key")
        sync_folder(workspace.keys)
