"""Whoever the register excludes is taken out of the batch outputs, at once and again by each night.

A table says at which register position it was made, and everybody in it was in the present life of
their id then. So whose rows they are follows from the id, the keys and the register, also after the
vault has forgotten somebody, and a person who has returned since is not taken for the erased one.
"""

from __future__ import annotations

from collections.abc import Sequence

from lethe.errors import ArtifactCorrupt
from lethe.estate.outward import batches
from lethe.estate.outward.batches import Table
from lethe.estate.outward.tables import users_in
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.identity import Identities
from lethe.interactions.rights.standing import Standing
from lethe.nights.desk import Desk


def withdraw(desk: Desk) -> int:
    """Take everybody who is excluded now out of every table; how many tables lost somebody.

    To be called under the lock of `suppressing`, after the request was entered. A table that is not
    whole, or has no facts, can hold anybody and is deleted: it is made again from the champion.

    Raises:
        StoreUnavailable: the disk refused, or the register cannot be reached.
    """
    standing, rewritten = desk.register.standing(), 0
    for table in batches.tables(desk.workspace.recommendations):
        facts, users = table.facts(), _users(table)
        if facts is None or users is None:
            batches.discard(table)
            continue
        gone = excluded(desk, users, facts.register_position, standing)
        if gone or facts.bytes != table.path.stat().st_size:  # or a kill came before the facts
            batches.take_out(table, facts, gone)
            rewritten += bool(gone)
    return rewritten


def _users(table: Table) -> list[str] | None:
    """Everybody in a table; None if it cannot be read to its end."""
    try:
        return users_in(table.path, table.form)
    except ArtifactCorrupt:
        return None


def excluded(desk: Desk, users: Sequence[str], position: int, standing: Standing) -> set[str]:
    """Those of some canonical ids whose life at a register position is excluded by now."""
    if not standing.excluded:
        return set()
    then = desk.register.standing(upto=position)
    lives = Identities(desk.keys, then).resolve(users)
    return {
        user for user, life in zip(users, lives, strict=True) if life.tombstone in standing.excluded
    }


def keep_only(workspace: Workspace, version: int | None) -> int:
    """Delete the tables of all other versions, under the lock of `suppressing`; how many went.

    Raises:
        StoreUnavailable: the disk refused.
    """
    others: list[Table] = [
        table for table in batches.tables(workspace.recommendations) if table.version != version
    ]
    for table in others:
        batches.discard(table)
    if not others:
        batches.tidy(workspace.recommendations)
    return len(others)
