"""Saying that two ids are one person, so that a request for one of them follows to the other."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from lethe.desk.rights import plain
from lethe.durable import write_json
from lethe.errors import BadFile
from lethe.estate.workspace import Workspace
from lethe.interactions.intake.rules import InteractionRules
from lethe.interactions.rights.identity import Identities, canonical_id, id_fault
from lethe.interactions.rights.merges import Pair
from lethe.interactions.rights.standing import Head
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
    params, keys = opening.open_params(workspace), opening.open_identities(workspace)
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
    _remember(workspace, register.merge_head())
    return {
        "asked": len(pairs),
        "merged": receipt.entered,
        "already": receipt.already,
        "text": f"{len(pairs)} pairs asked, {receipt.entered} merged, {receipt.already} were one "
        "person already; what is asked for one id from now on is entered for the others too",
    }


def _remember(workspace: Workspace, head: Head) -> None:
    """Remember the newest merge outside the register; an older one never replaces a newer."""
    known = opening.newest_merge(workspace)
    if head.position > (known.position if known else 0):
        write_json(workspace.merges_anchor, {"digest": head.digest, "position": head.position})
