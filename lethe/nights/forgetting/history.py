"""Retained data versions forget: rewritten where they hold an erased person, destroyed when old.

The rewritten objects come first, then the catalogue names them in one step, and only then does
what it no longer names go, from the cache and every remote. A kill before the second leaves new
objects that nobody names, and a kill after it old ones; the next night destroys either.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lethe.adapters.catalogue import Catalogue, DataVersion
from lethe.adapters.data_versions import DataVersions
from lethe.adapters.object_stores import ObjectStores
from lethe.interactions.rights.standing import Head, Standing
from lethe.interactions.shards.history import History, Purge, users_of
from lethe.nights.desk import Desk
from lethe.stages import opening

INTERACTIONS = "data/interactions"


@dataclass(frozen=True)
class Forgotten:
    """Data versions destroyed and rewritten, and objects deleted over all stores."""

    destroyed: int
    rewritten: int
    objects: int


def forget_history(desk: Desk, data: DataVersions) -> Forgotten:
    """Rewrite every retained version without the erased; destroy what nobody needs any more.

    Raises:
        ArtifactCorrupt: a retained version cannot be read; it is then still there, and so are the
            requests.
        WrongKey: one has names of another generation.
        StoreUnavailable: a store failed, or still holds what was deleted.
    """
    catalogue = Catalogue(desk.workspace.catalogue)
    current, stored, known = data.digest(INTERACTIONS), data.held(), catalogue.list()
    there = [version for version in known if version.digest in {*stored, current}]
    needed = {info.tags.get("data_version") for info in desk.versions.versions()}
    recent = {version.digest for version in there[-desk.params.retention.data_versions :]}
    kept = [
        version
        for version in there
        if version.digest in recent | {current} or needed & {version.digest, *version.formerly}
    ]
    for version in kept:
        desk.keys.check(version.names, "a retained data version")
    # First out of the catalogue: after a kill nobody asks a half-destroyed version whom it holds,
    # and what the catalogue does not name is destroyed by the next night.
    catalogue.drop({version.digest for version in known} - {version.digest for version in kept})
    moved = _without_erased(desk, data, [one for one in kept if one.digest != current])
    catalogue.replace(moved)
    keep = {moved.get(version.digest, version).digest for version in kept}
    keep |= {digest for digest in (current, data.digest("data/training")) if digest is not None}
    doomed = data.held() - keep
    gone = data.destroy(doomed, keep) if doomed else None
    data.sweep()
    substituted = {old for old, new in moved.items() if new.digest != old}
    return Forgotten(
        destroyed=len(doomed - substituted),
        rewritten=len(substituted),
        objects=gone.objects if gone else 0,
    )


def _without_erased(
    desk: Desk, data: DataVersions, versions: Sequence[DataVersion]
) -> dict[str, DataVersion]:
    """Old digest -> the version that takes its place, for each that an erasure came after.

    One purged after the last erasure took effect cannot hold anybody and is not read. Canaries
    are there by right: nobody is harmed by them.
    """
    head = desk.register.check_chain()
    standing = desk.register.standing(upto=head.position).people()
    newest = max(standing.erased_at.values(), default=0)
    stale = [version for version in versions if version.register_position < newest]
    if not stale:
        return {}
    place = desk.workspace.temporary / "history"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, mode=0o700)
    with data.rewriting() as stores:
        since = min(version.register_position for version in stale)
        people = frozenset(_erased_since(desk, standing, since, stores, stale, place))
        canaries = opening.open_canaries(desk.workspace, desk.keys).pseudonyms()
        purge = Purge(people, head.position, head.digest, canaries, desk.keys.generation)
        history = History(stores, purge, place)
        moved = {one.digest: _moved(one, history, stores, head, place) for one in stale}
    shutil.rmtree(place)
    return moved


def _moved(
    version: DataVersion, history: History, stores: ObjectStores, head: Head, place: Path
) -> DataVersion:
    found = history.rewrite(stores.files(version.digest))
    purged = replace(version, register_position=head.position, register_head=head.digest)
    if found is None:
        return purged
    return replace(
        purged,
        digest=stores.put_version(found.files, place),
        rows=found.rows,
        users=found.users,
        items=found.items,
        formerly=(*version.formerly, version.digest),
    )


def _erased_since(  # noqa: PLR0913
    desk: Desk,
    standing: Standing,
    since: int,
    stores: ObjectStores,
    versions: Iterable[DataVersion],
    place: Path,
) -> Iterator[str]:
    """Pseudonyms of everybody whose erasure took effect after the register position `since`.

    The vault knows whoever is still in a request. Of a tombstone that it does not know, every
    file is asked once: a vault may have been lost, and nobody may be left in for that.
    """
    due = {stone for stone in standing.erased if standing.erased_at[stone] > since}
    known = opening.open_vault(desk.workspace, desk.keys).by_tombstone(due)
    yield from (pseudonym for pseudonym, _ in known.values())
    if strangers := due - known.keys():
        lists = [stores.files(version.digest) for version in versions]
        for user in users_of(lists, stores, place):
            if desk.keys.stone(user) in strangers:
                yield user
