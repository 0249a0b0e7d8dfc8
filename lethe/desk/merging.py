"""Saying that two ids are one person, so that a request for one of them follows to the other."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from lethe.desk.rights import plain
from lethe.errors import BadFile
from lethe.estate.vault import Vault
from lethe.estate.workspace import Workspace
from lethe.interactions.intake.rules import InteractionRules
from lethe.interactions.rights.identity import (
    Identities,
    Keys,
    canonical_id,
    every_pseudonym,
    id_fault,
)
from lethe.interactions.rights.merges import Pair
from lethe.interactions.rights.register import Register
from lethe.stages import opening

_PAIR = 2


def read_pairs(content: bytes, source: str, rules: InteractionRules) -> list[tuple[int, str, str]]:
    """Row number and the two canonical ids of each row of a CSV of two columns.

    The first row is a header if one of its fields is the name of the users' column. `source` is
    named in errors, by its file name only.

    Raises:
        BadFile: not UTF-8, no pair at all, or a row that does not hold two usable ids.

    >>> read_pairs(b"USER_ID,SAME_AS\\n007, 42\\n\\n8,9\\n", "pairs.csv", InteractionRules())
    [(1, '007', '42'), (3, '8', '9')]
    """
    file = PurePath(source).name
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFile(file, "not UTF-8") from None
    rows = list(csv.reader(io.StringIO(text)))
    header = bool(rows) and rules.columns["user"] in rows[0]
    pairs = list(_pairs(rows[header:], file, rules))
    if not pairs:
        raise BadFile(file, "holds no pair of ids: nothing was asked for")
    return pairs


def _pairs(
    rows: list[list[str]], file: str, rules: InteractionRules
) -> Iterator[tuple[int, str, str]]:
    for number, row in enumerate(rows, start=1):
        if not row:
            continue
        if len(row) != _PAIR:
            raise BadFile(file, f"{len(row)} fields where two ids were expected", number)
        names = [plain(raw, rules) for raw in row]
        for name in names:
            if fault := id_fault(name, rules.case_fold):
                raise BadFile(file, fault, number)
        one, other = (canonical_id(name, rules.case_fold) for name in names)
        yield number, one, other


def merge(workspace: Workspace, content: bytes, source: str) -> dict[str, Any]:
    """Say of pairs of ids that both are the same person, all or none; counts only come back.

    Raises:
        BadFile: see `read_pairs`, or a pair holds an id that a canary has.
        BadRequest: two of a pair stand differently, or one is erased; see `merges.merged`.
        ArtifactCorrupt: the register was edited, or is older than what is known of it.
    """
    params, keys = opening.open_params(workspace), opening.open_tombstones(workspace)
    register = opening.open_register(workspace, params)
    rows = read_pairs(content, source, params.intake.interactions)
    people = Identities(keys, register.standing())
    resolved = people.resolve([name for _, *names in rows for name in names])
    stones = [person.tombstone for person in resolved]
    pairs = [
        Pair(row, one, other)
        for (row, *_), one, other in zip(rows, stones[::2], stones[1::2], strict=True)
    ]
    canaries = opening.open_canaries(workspace, keys)
    invented = frozenset(canaries.tombstones(0, canaries.counters()[0]))
    for pair in pairs:
        if invented & {pair.one, pair.other}:
            raise BadFile(PurePath(source).name, "an id of a canary, who is no person", pair.row)
    receipt = register.merge(pairs, opening.now(), opening.newest_known(workspace))
    opening.remember_merge(workspace, register.merge_head())
    return {
        "asked": len(pairs),
        "merged": receipt.entered,
        "already": receipt.already,
        "text": f"{len(pairs)} pairs asked, {receipt.entered} merged, {receipt.already} were one "
        "person already; what is asked for one id from now on is entered for the others too",
    }


@dataclass(frozen=True, repr=False)
class Called:
    """What one id, and whoever was merged with it, is called. The repr hides it.

    `own` are the pseudonyms of its lives, the present one last; `joined` those of merged lives
    that the vault knows, and `ids` the ids of these. `present` are the ids among them whose present
    life is the merged one: another life of the same id is somebody's who need not be the same.
    """

    own: Sequence[str]
    joined: Sequence[str]
    ids: Sequence[str]
    present: Sequence[str]


class Naming:
    """Canonical ids -> what they are called, at one state of register and vault."""

    def __init__(self, keys: Keys, register: Register, vault: Vault) -> None:
        self.keys, self.vault = keys, vault
        self.standing, self.links = register.standing(), register.links()

    def called(self, canonical: str) -> Called:
        """Everything that this person's data can lie under."""
        own = every_pseudonym(self.keys, self.standing, canonical)
        stones = set(self.keys.stones(own))
        others = self.links.person(stones) - stones
        joined = self.vault.by_tombstone(others) if others else {}
        resolve = Identities(self.keys, self.standing).resolve
        lives = resolve([raw for _, raw in joined.values()])
        present = [
            raw
            for (stone, (_, raw)), life in zip(joined.items(), lives, strict=True)
            if life.tombstone == stone
        ]
        ids = sorted({raw for _, raw in joined.values()})
        return Called(own, [name for name, _ in joined.values()], ids, present)
