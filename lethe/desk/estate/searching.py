"""Searching the whole estate for people, and saying where they are without saying who."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lethe.desk.merging import Naming
from lethe.desk.rights import read_ids
from lethe.estate.search import Needles
from lethe.estate.search.looking import Looked, in_name, look, totals
from lethe.estate.stores import STORES, Store
from lethe.estate.workspace import Workspace
from lethe.interactions.intake.rules import InteractionRules
from lethe.stages import opening

BESIDE = "beside the stores"
WITHHELD = "(a name that holds an id)"
_MEGABYTE = 1e6


def scan(workspace: Workspace, content: bytes, source: str, also: Sequence[Path]) -> dict[str, Any]:
    """Look for the people of an id list in every store, and in the files of `also`.

    They are looked for by id and by the pseudonym of each of their lives, and under the ids merged
    with theirs that the vault knows. The answer has the
    places, as store, path, form and count, and what was searched; its `exit_code` is 1 if anybody
    was found.

    Raises:
        BadFile: see `read_ids`; nobody is looked for then.
        StoreUnavailable: a file cannot be read.
    """
    params = opening.open_params(workspace)
    keys, register = (
        opening.open_identities(workspace),
        opening.open_register(workspace, params),
    )
    rules = params.intake.interactions
    ids = read_ids(content, source, rules)
    naming = Naming(keys, register, opening.open_vault(workspace, keys))
    called = [naming.called(one) for one in ids]
    names = {name for found in called for name in (*found.own, *found.joined)}
    raw = {*ids, *(one for found in called for one in found.present)}
    needles = Needles.of(
        keys.everywhere(sorted(names)),
        (form for one in sorted(raw) for form in spellings(one, rules)),
    )
    began = time.perf_counter()
    looked = list(look(workspace, needles, [*STORES, *_beside(also)]))
    return _told(looked, needles, len(ids), time.perf_counter() - began)


def spellings(canonical: str, rules: InteractionRules) -> list[str]:
    """An id as intake reads it, and as a float where intake reads floats as ids."""
    floating = rules.strip_float_suffix and canonical.isdigit()
    return [canonical, f"{canonical}.0"] if floating else [canonical]


def _beside(also: Sequence[Path]) -> list[Store]:
    return [Store(BESIDE, (str(path.resolve()),), "anything", "not Lethe's", True) for path in also]


def _told(looked: Sequence[Looked], needles: Needles, asked: int, seconds: float) -> dict[str, Any]:
    places = [
        {"store": one.store, "path": _shown(one.name, needles), "how": how, "count": count}
        for one in looked
        for how, count in sorted(one.found.items())
    ]
    unread = [
        {"store": one.store, "path": _shown(one.name, needles), "link": one.link}
        for one in looked
        if not one.decoded
    ]
    hits = totals(looked, needles)
    size = hits.bytes_searched / _MEGABYTE
    return {
        "asked": asked,
        "found": hits.total,
        "places": places,
        "files_searched": hits.files_searched,
        "megabytes": round(size, 1),
        "megabytes_per_second": round(size / max(seconds, 1e-9), 1),
        "undecoded": unread,
        "short_ids": hits.short_ids,
        "exit_code": int(hits.total > 0),
    }


def _shown(name: str, needles: Needles) -> str:
    """A path of which every part that holds somebody is withheld."""
    parts = [WITHHELD if in_name(part, needles) else part for part in name.split("/")]
    shown = "/".join(parts)
    return WITHHELD if in_name(shown.replace(WITHHELD, ""), needles) else shown
