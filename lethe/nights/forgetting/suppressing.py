"""Suppression: whoever must not be trained on is served by no version either, from now on.

The list is derived each time and never added to: everybody in the id list of a stored version
whom the register excludes at its head. A version that the list was not made for answers nobody,
so a server that still runs a destroyed one serves no erased person of whom the list no longer
knows. What was recommended in advance, the batch outputs, is emptied of them at the same time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from lethe.durable import locked
from lethe.errors import OutsideFailure, WrongKey
from lethe.estate.outward import suppression
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.identity import Keys
from lethe.interactions.rights.standing import Standing
from lethe.nights.batches.withdrawing import keep_only, withdraw
from lethe.nights.desk import Desk


def refresh(desk: Desk) -> int:
    """Make the list anew from the stored versions and the register; how many people are on it.

    To be called whenever either has changed, and before an alias names another version. Canaries
    are no people, and nobody asks for their recommendations. The batch outputs follow.

    Raises:
        StoreUnavailable: the versions, the register, the list or a batch output cannot be reached.
        Busy: another process makes the list and did not end.
    """
    workspace = desk.workspace
    with held(desk):  # or an older list could come last
        standing = desk.register.standing().people()
        people, covered = set[str](), set[str]()
        for listed in desk.versions.id_lists():
            with contextlib.suppress(WrongKey):  # whose names nobody can read is not covered
                keys = desk.keys.of(listed.names)
                people.update(excluded_among(keys, listed.users, standing))
                covered.add(listed.manifest)
        suppression.write(workspace.suppressed, standing.position, covered, people)
        withdraw(desk)
    return len(people)


def held(desk: Desk) -> contextlib.AbstractContextManager[None]:
    """The lock under which the list is made, and a batch output published or rewritten.

    Raises:
        Busy: another process held it for longer than `night.lock_seconds`.
    """
    path = desk.workspace.suppressed
    return locked(path.with_name(path.name + ".lock"), desk.params.night.lock_seconds)


def keep_outputs_of(desk: Desk, version: int | None) -> int:
    """Delete the batch outputs of every other version; how many there were.

    Raises:
        StoreUnavailable: the disk refused.
        Busy: see `held`.
    """
    with held(desk):
        return keep_only(desk.workspace, version)


def excluded_among(keys: Keys, users: Iterable[str], standing: Standing) -> list[str]:
    """Those of some pseudonyms, of the keys' generation, whose person is erased, objects or is
    restricted.
    """
    barred, names = standing.excluded, list(users)
    stones = zip(names, keys.stones(names), strict=True) if barred else ()
    return [user for user, stone in stones if stone in barred]


def made_at(workspace: Workspace) -> int:
    """The register position that the list was made at; 0 where there is none that can be read."""
    try:
        found = suppression.read(workspace.suppressed)
    except OutsideFailure:
        return 0
    return 0 if found is None else found.position
