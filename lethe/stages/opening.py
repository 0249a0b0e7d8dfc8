"""Opening what a step needs: parameters, keys, register and ledgers of one workspace."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lethe.adapters.catalogue import Catalogue
from lethe.adapters.data_versions import DataVersions
from lethe.adapters.solution_versions import SolutionVersions
from lethe.durable import read_json, write_json
from lethe.errors import ArtifactCorrupt, BadConfiguration
from lethe.estate.canaries.roll import Canaries
from lethe.estate.keys import keys_before, open_keys
from lethe.estate.vault import Vault
from lethe.estate.workspace import Workspace
from lethe.interactions.columns import USER
from lethe.interactions.rights.identity import Keys
from lethe.interactions.rights.register import Register
from lethe.interactions.rights.standing import Head
from lethe.interactions.shards.insights import Census
from lethe.interactions.shards.merging import names_of
from lethe.interactions.shards.store import ShardStore
from lethe.params import Params, read_params


def now() -> int:
    """Unix seconds, from the machine's clock."""
    return int(time.time())


def open_params(workspace: Workspace, overrides: Sequence[str] = ()) -> Params:
    """The workspace's params.yaml under `overrides`."""
    return read_params(workspace.params, overrides)


def open_register(workspace: Workspace, params: Params) -> Register:
    """The register of rights.

    Raises:
        StoreUnavailable: it cannot be opened.
    """
    return Register.open(
        workspace.register_url(), params.night.lock_seconds, newest_merge(workspace)
    )


def open_vault(workspace: Workspace, keys: Keys) -> Vault:
    """The vault of ids."""
    return Vault(workspace.vault, keys)


def open_shards(workspace: Workspace, params: Params, keys: Keys) -> ShardStore:
    """The present interactions.

    Raises:
        WrongKey: their names are of another generation than the keys.
    """
    return ShardStore(workspace.interactions, params.purge.buckets, keys.generation)


def open_identities(workspace: Workspace) -> Keys:
    """The two secret keys, checked against their fingerprints."""
    return open_keys(workspace)


def open_tombstones(workspace: Workspace) -> Keys:
    """The secret keys for whoever needs tombstones only: a replacement under way changes none."""
    return keys_before(workspace)


def open_canaries(workspace: Workspace, keys: Keys) -> Canaries:
    """The canaries that were ever made here."""
    return Canaries(workspace.canaries, keys)


def open_data(workspace: Workspace) -> DataVersions:
    """The ledger of data versions."""
    return DataVersions(workspace.root)


def open_solutions(workspace: Workspace, params: Params) -> SolutionVersions:
    """The ledger of solution versions."""
    return SolutionVersions(workspace.tracking_uri(), workspace.mlflow / "artifacts", params.name)


def check_out(data: DataVersions, digest: str, place: Path, keys: Keys) -> Path:
    """A data version's files in the folder `place`, to be read under `keys`.

    Raises:
        WrongKey: its names are of another generation.
    """
    data.checkout(digest, place)
    path = place / "manifest.json"
    keys.check(names_of(read_json(path)) if path.is_file() else "", f"data version {digest[:12]}")
    return place


def newest_known(workspace: Workspace) -> Head | None:
    """The newest register head remembered outside it: a restored, older register lacks it.

    The chain is hashed, so whoever holds this head unchanged holds all before it.
    """
    versions = Catalogue(workspace.catalogue).list()
    heads = [Head(version.register_position, version.register_head) for version in versions]
    for path in (workspace.register_position, workspace.register_anchor):
        if path.is_file():
            heads.append(read_position(path))
    return max(heads, key=lambda head: head.position) if heads else None


def remember_head(workspace: Workspace, head: Head) -> None:
    """Remember a head outside the register at once; an older one never replaces a newer."""
    known = newest_known(workspace)
    if known is None or known.position < head.position:
        write_position(workspace.register_anchor, head)


def newest_merge(workspace: Workspace) -> Head | None:
    """The newest merge remembered outside the register: an older copy of it lacks this one."""
    path = workspace.merges_anchor
    return read_position(path) if path.is_file() else None


def remember_merge(workspace: Workspace, merge: Head) -> None:
    """Remember the newest merge outside the register; an older one never replaces a newer."""
    known = newest_merge(workspace)
    if merge.position > (known.position if known else 0):
        write_position(workspace.merges_anchor, merge)


def write_position(path: Path, head: Head) -> None:
    """Say at which head the data stages purge; written only when it changes."""
    wanted = {"digest": head.digest, "position": head.position}
    if not path.is_file() or read_json(path) != wanted:
        write_json(path, wanted)


def read_position(path: Path) -> Head:
    """The head at which the data stages purge.

    Raises:
        BadConfiguration: no night or `lethe init` ever wrote it.
    """
    if not path.is_file():
        raise BadConfiguration(f"{path.name} is missing; `lethe init` writes it")
    found = read_json(path)
    return Head(position=int(found["position"]), digest=str(found["digest"]))


def sealed_at(store: ShardStore) -> Head:
    """The register's head that the shards were purged and sealed at.

    Raises:
        ArtifactCorrupt: they were never sealed.
    """
    manifest = store.manifest()
    if "register_position" not in manifest:
        raise ArtifactCorrupt("data/interactions was never sealed")
    return Head(int(manifest["register_position"]), str(manifest["register_head"]))


def rows_by_user(store: ShardStore, census: Census | None = None) -> Counter[str]:
    """Rows of every user in the shards; 0 for one who only has attributes.

    A `census` of the store, as it is now, saves reading it.
    """
    found: Counter[str] = Counter()
    attributes = store.attributes("users")
    if attributes is not None:
        found.update(dict.fromkeys(attributes[USER].to_pylist(), 0))
    found.update((census or store.census(items=False)).users)
    return found
