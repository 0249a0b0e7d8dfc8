"""What is still under former names: solution versions, and the name keys that translate them.

A version stays as it was trained: a matrix under other names gives other bits. Once a version
under the present names is champion, all others go, and then the keys that nothing is named under.
"""

from __future__ import annotations

from collections import defaultdict

from lethe.adapters.solution_versions import VersionInfo
from lethe.errors import ArtifactCorrupt
from lethe.estate.renaming import name_keys
from lethe.nights.desk import Desk

UNREADABLE = "?"


def versions_by_generation(desk: Desk) -> dict[str, list[VersionInfo]]:
    """The stored solution versions by the generation of their names; `UNREADABLE` of the others."""
    found: dict[str, list[VersionInfo]] = defaultdict(list)
    for info in desk.versions.versions():
        try:
            found[desk.read(info.version).manifest.names].append(info)
        except ArtifactCorrupt:
            found[UNREADABLE].append(info)
    return dict(found)


def superseded(desk: Desk) -> frozenset[int]:
    """Versions under former names, once the champion is under the present ones; else none."""
    if not desk.keys.names:
        return frozenset()
    found, champion = versions_by_generation(desk), desk.champion()
    present = {info.version for info in found.get(desk.keys.generation, ())}
    if champion not in present:
        return frozenset()
    readable = (infos for generation, infos in found.items() if generation != UNREADABLE)
    return frozenset(info.version for infos in readable for info in infos) - present


def forget_keys(desk: Desk) -> int:
    """Destroy the former name keys under which nothing is named any more; how many went.

    A version that cannot be read may be under any of them: then all stay.
    """
    if not desk.keys.former:
        return 0
    found = versions_by_generation(desk)
    return 0 if UNREADABLE in found else name_keys.forget(desk.workspace, found.keys())
