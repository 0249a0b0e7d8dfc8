"""Replacing the pseudonym key: all that is stored by name gets new names, or nothing does.

The new name key is stored first. Then each retained version is written again under the new names,
the catalogue names them all in one step, data/interactions and dvc.lock follow, what bears former
names goes from the cache and every remote, and last the key becomes the present one, in one step
of its own. Until then whoever opens the keys is refused, and a repeat does what is not done yet:
each store says of which generation its names are, so nothing is wrapped twice.

Register and vault do not change: tombstones are made from inner names, and the vault keeps those.
Solution versions stay as they are until a night has made a successor; `former` ends them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lethe.adapters.catalogue import Catalogue, DataVersion
from lethe.adapters.data_versions import DataVersions
from lethe.adapters.object_stores import ObjectStores
from lethe.durable import read_json, sha256_file
from lethe.errors import ArtifactCorrupt, Busy, RefusedByGate
from lethe.estate.keys import keys_before
from lethe.estate.renaming import name_keys
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.identity import Keys
from lethe.interactions.rights.standing import Action
from lethe.interactions.shards.merging import names_of
from lethe.interactions.shards.renaming import Renaming
from lethe.nights.desk import Desk
from lethe.nights.forgetting.history import INTERACTIONS
from lethe.nights.renaming import former
from lethe.params import Params
from lethe.stages import opening

TRAINING = "training"


@dataclass(frozen=True)
class Rotated:
    """What a replacement did: data versions under new names, objects deleted over all stores.

    `generation` is the fingerprint of the new name key; `versions` are the solution versions that
    are still under former names.
    """

    generation: str
    renamed: int
    objects: int
    versions: int


def cut_off(workspace: Workspace) -> bool:
    """Whether a replacement was begun and has not ended."""
    return name_keys.awaited(workspace) is not None


def end_cut_off(workspace: Workspace, params: Params) -> bool:
    """End a replacement that was killed, before anything else; False if there was none."""
    if not cut_off(workspace):
        return False
    desk = Desk.open(workspace, params, keys_before(workspace))
    rotate(desk, opening.open_data(workspace))
    return True


def refuse_unready(desk: Desk, data: DataVersions) -> None:
    """Names are changed in an estate at rest only.

    Raises:
        Busy: a night or a promotion was cut off.
        RefusedByGate: a request waits for the purge, a restore has not ended, or what lies in
            data/interactions is not the newest data version.
    """
    workspace = desk.workspace
    workspace.refuse_half_restored()
    if workspace.journal.is_file():
        raise Busy("a night was cut off; `lethe night` ends it, then the key can be replaced")
    if desk.register.open_intents():
        raise Busy("a promotion was cut off; `lethe night` ends it, then the key can be replaced")
    current = data.digest(INTERACTIONS)
    known = {version.digest: version for version in Catalogue(workspace.catalogue).list()}
    purged_at = known[current].register_position if current in known else 0
    erased_at = desk.register.standing().erased_at
    waiting = sum(
        state.open
        and state.entry.action is Action.ERASE
        and erased_at.get(state.entry.tombstone, 0) > purged_at
        for state in desk.register.requests()
    )
    if waiting:
        raise RefusedByGate(f"{waiting} requests wait for the purge; run `lethe night` first")
    if not _at_rest(workspace, data, current, current in known):
        raise RefusedByGate(
            "data/interactions is not the newest data version; run `lethe night` first"
        )


def _at_rest(workspace: Workspace, data: DataVersions, current: str | None, known: bool) -> bool:
    """The folder holds exactly the catalogued version that dvc.lock names, or there is none."""
    paths = _files_in(workspace.interactions)
    if current is None:
        return not paths
    found = {
        path.relative_to(workspace.interactions).as_posix(): hashlib.md5(
            path.read_bytes(), usedforsecurity=False
        ).hexdigest()
        for path in paths
    }
    return known and found == data.objects(current)


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def rotate(desk: Desk, data: DataVersions) -> Rotated:
    """Change all names, from those of the desk's keys; a repeat ends what a kill cut off.

    Raises:
        BadConfiguration: a key comes from the environment.
        WrongKey: something stored is of a generation that is neither the former nor the new one.
        ArtifactCorrupt: a retained version cannot be read, or would lose a row; nothing is lost.
        StoreUnavailable: a store failed, or still holds what was deleted: repeat.
    """
    workspace = desk.workspace
    after = name_keys.begin(workspace, desk.keys)
    place = workspace.temporary / "renaming"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, mode=0o700)
    catalogue = Catalogue(workspace.catalogue)
    with data.rewriting() as stores:
        held = stores.versions()
        catalogue.drop({one.digest for one in catalogue.list()} - held)
        moved = dict(_renamed(desk, after, catalogue.list(), stores, place))
        os.sync()  # the copies must be on the disk before those that they replace go
        catalogue.replace(moved)
        _lay_out(workspace, data, stores)
    shutil.rmtree(place)
    _check_all(workspace, data, after)
    objects = _destroy(catalogue, data)
    name_keys.end(workspace, desk.keys)
    left = former.versions_by_generation(replace(desk, keys=after))
    former.forget_keys(replace(desk, keys=after))
    shutil.rmtree(workspace.temporary, ignore_errors=True)
    workspace.temporary.mkdir(parents=True, mode=0o700)
    count = sum(len(v) for generation, v in left.items() if generation != after.generation)
    return Rotated(after.generation, len(moved), objects, count)


def _renamed(
    desk: Desk,
    after: Keys,
    versions: tuple[DataVersion, ...],
    stores: ObjectStores,
    place: Path,
) -> Iterator[tuple[str, DataVersion]]:
    """Old digest -> the version under the new names, for each that is not yet under them."""
    renaming = Renaming(stores, desk.keys, after, place)
    for version in versions:
        if version.names == after.generation:
            continue
        desk.keys.check(version.names, "a retained data version")
        digest = stores.put_version(renaming.rewrite(stores.files(version.digest)), place)
        names = (*version.formerly, version.digest)
        yield (
            version.digest,
            replace(version, digest=digest, names=after.generation, formerly=names),
        )


def _lay_out(workspace: Workspace, data: DataVersions, stores: ObjectStores) -> None:
    """The present version under its new names in data/interactions, then in dvc.lock.

    The training set goes: the next night makes it from what lies there now.
    """
    retained = Catalogue(workspace.catalogue).list()
    # Names are changed only where the folder is the newest version: it is that one also where
    # dvc.lock was lost meanwhile.
    said = data.digest(INTERACTIONS)
    old = said or (retained[-1].digest if retained else None)
    if old is None:
        return
    new = Catalogue(workspace.catalogue).today(old)
    if new != said:
        for child in workspace.interactions.iterdir():
            shutil.rmtree(child) if child.is_dir() else child.unlink()
        for name, md5 in sorted(stores.files(new).items()):
            stores.copy_out(md5, workspace.interactions / name)
            (workspace.interactions / name).chmod(0o600)
    shutil.rmtree(workspace.training, ignore_errors=True)
    data.name_output(INTERACTIONS, new, TRAINING)


def _check_all(workspace: Workspace, data: DataVersions, after: Keys) -> None:
    """Before anything under former names goes, and before the key becomes the present one."""
    for version in Catalogue(workspace.catalogue).list():
        after.check(version.names, "a retained data version")
    paths = _files_in(workspace.interactions)
    if not paths and data.digest(INTERACTIONS) is None:
        return
    manifest = read_json(workspace.interactions / "manifest.json")
    after.check(names_of(manifest), "data/interactions")
    for path in paths:
        name = path.relative_to(workspace.interactions).as_posix()
        if name != "manifest.json" and sha256_file(path) != manifest["shards"][name]["sha256"]:
            raise ArtifactCorrupt(f"{name} differs from its digest in manifest.json")


def _destroy(catalogue: Catalogue, data: DataVersions) -> int:
    """Everything that the catalogue does not name goes; how many copies of objects."""
    keep = {version.digest for version in catalogue.list()}
    keep |= {digest for digest in (data.digest(INTERACTIONS),) if digest is not None}
    doomed = data.held() - keep
    gone = data.destroy(doomed, keep).objects if doomed else 0
    return gone + data.sweep().objects
