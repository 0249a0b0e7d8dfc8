"""Retire: destroy every older copy that holds an erased person, search, and close requests.

The order is what makes a kill harmless: first everything that holds the person goes, then the
estate is searched, then the evidence is written, then the vault forgets the id, and only then is
the request closed. A request that cannot be closed tonight stays open with all it needs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from lethe.adapters.catalogue import Catalogue, DataVersion
from lethe.adapters.data_versions import DataVersions
from lethe.durable import read_json, sha256_json, write_json
from lethe.estate.search import Hits, Needles, search
from lethe.interactions.intake.quarantine import Quarantine
from lethe.interactions.rights.identity import tombstone
from lethe.interactions.rights.register import Closure, RequestState
from lethe.interactions.rights.standing import Action, Standing
from lethe.interactions.shards.store import ShardStore
from lethe.nights.judging import Desk
from lethe.stages import opening


@dataclass(frozen=True)
class Retired:
    """What was destroyed, searched and closed; counts only.

    `champion_holds_erased` is True while no verified successor was promoted: then the requests of
    those people stay open. `hits` counts files in which the search found somebody.
    """

    versions: int
    data_versions: int
    objects: int
    closed: int
    not_found: int
    waiting: int
    searched_files: int
    hits: int
    champion_holds_erased: bool


def retire(desk: Desk, night: str) -> Retired:
    """Step 10. Safe to repeat after a kill at any point.

    Raises:
        StoreUnavailable: a store could not be emptied; nothing is closed then.
    """
    standing = desk.register.standing()
    versions, tainted_champion = _destroy_solution_versions(desk, standing)
    data_versions, objects = _destroy_data_versions(desk, standing)
    people = opening.open_vault(desk.workspace).by_tombstone(standing.erased)
    needles = Needles.of(
        (known[0] for known in people.values()), (known[1] for known in people.values())
    )
    _forget_loose_rows(desk, needles)
    hits = search(desk.workspace, needles, before_closing=True) if needles else Hits({}, 0, 0, 0)
    clean = not hits.total and not tainted_champion
    closed, not_found = _close(desk, standing, frozenset(people), clean, hits, night)
    waiting = sum(state.open for state in desk.register.requests())
    return Retired(
        versions=versions,
        data_versions=data_versions,
        objects=objects,
        closed=closed,
        not_found=not_found,
        waiting=waiting,
        searched_files=hits.files_searched,
        hits=hits.total,
        champion_holds_erased=tainted_champion,
    )


def _destroy_solution_versions(desk: Desk, standing: Standing) -> tuple[int, bool]:
    """Destroy versions that hold an erased person; the champion only once it has a successor."""
    destroyed, champion_holds = 0, False
    champion = desk.champion()
    for info in desk.versions.versions():
        if not desk.user_tombstones(info.version) & standing.erased:
            continue
        if info.version == champion:
            champion_holds = True
            continue
        desk.versions.destroy(info.version)
        (desk.workspace.certificates / f"version-{info.version}.json").unlink(missing_ok=True)
        destroyed += 1
    shutil.rmtree(desk.workspace.temporary, ignore_errors=True)
    desk.workspace.temporary.mkdir(parents=True, mode=0o700, exist_ok=True)
    return destroyed, champion_holds


def _destroy_data_versions(desk: Desk, standing: Standing) -> tuple[int, int]:
    """Destroy data versions that hold an erased person, that nobody knows, or that are too old."""
    data = opening.open_data(desk.workspace)
    catalogue = Catalogue(desk.workspace.catalogue)
    current = data.digest("data/interactions")
    known = catalogue.list()
    kept = [
        version
        for version in known
        if version.digest == current or not _holds_erased(desk, data, version, standing)
    ]
    needed = {info.tags.get("data_version") for info in desk.versions.versions()}
    recent = {version.digest for version in kept[-desk.params.retention.data_versions :]}
    keep = {version.digest for version in kept if version.digest in recent | needed | {current}}
    doomed = data.held() - keep - {data.digest("data/training")}
    destroyed = data.destroy(doomed, keep) if doomed else None
    data.sweep()
    catalogue.drop({version.digest for version in known} - keep)
    return len(doomed), destroyed.objects if destroyed else 0


def _holds_erased(desk: Desk, data: DataVersions, version: DataVersion, standing: Standing) -> bool:
    """Read the version's users; one purged after the last erasure took effect cannot hold any."""
    newest = max(standing.erased_at.values(), default=0)
    if version.register_position >= newest:
        return False
    place = desk.workspace.temporary / "older"
    shutil.rmtree(place, ignore_errors=True)
    store = ShardStore(data.checkout(version.digest, place), desk.params.purge.buckets)
    found = _any_erased(desk, opening.rows_by_user(store), standing)
    shutil.rmtree(place, ignore_errors=True)
    return found


def _any_erased(desk: Desk, users: Iterable[str], standing: Standing) -> bool:
    return any(tombstone(desk.keys.tombstone, user) in standing.erased for user in users)


def _forget_loose_rows(desk: Desk, needles: Needles) -> None:
    """Quarantined rows, and the sample's request files, of people who are now erased."""
    if not needles.ids:
        return
    Quarantine(desk.workspace.quarantine).forget({name.decode() for name in needles.ids})
    for path in sorted((desk.workspace.state / "requests").glob("*.txt")):
        if needles.found_in(path.read_bytes(), fields=True):
            path.unlink()


def _close(  # noqa: PLR0913
    desk: Desk, standing: Standing, known: frozenset[str], clean: bool, hits: Hits, night: str
) -> tuple[int, int]:
    """Close what is done: closed and not found, as counts."""
    ready = [
        (state, outcome)
        for state in desk.register.requests()
        if state.open and (outcome := _outcome(desk, state, standing, known, clean)) is not None
    ]
    erased = {state.entry.tombstone for state, _ in ready if state.entry.action is Action.ERASE}
    evidence = {
        state.entry.position: _write_evidence(desk, state, outcome, hits, night)
        for state, outcome in ready
    }
    if erased:
        opening.open_vault(desk.workspace).forget(erased)
    for state, outcome in ready:
        desk.register.close(
            Closure(
                position=state.entry.position,
                outcome=outcome,
                evidence=evidence[state.entry.position],
                at=opening.now(),
                rows_removed=state.rows_removed,
            )
        )
    not_found = sum(outcome == "not_found" for _, outcome in ready)
    return len(ready) - not_found, not_found


def _outcome(
    desk: Desk, state: RequestState, standing: Standing, known: frozenset[str], clean: bool
) -> Any:
    """`closed`, `not_found`, or None while something is missing."""
    entry = state.entry
    if state.state == "blocked":
        return None
    current = Catalogue(desk.workspace.catalogue).list()
    purged_at = current[-1].register_position if current else 0
    if entry.action is Action.ERASE:
        effective = standing.erased_at.get(entry.tombstone, entry.position)
        if purged_at < effective:
            return None
        if not state.found and entry.tombstone not in known:
            return "not_found"
        return "closed" if clean and state.state == "verified" else None
    return "closed" if state.state == "verified" else None


def _write_evidence(desk: Desk, state: RequestState, outcome: str, hits: Hits, night: str) -> str:
    """The evidence as a file without ids, and its digest; a repeat keeps what was written first."""
    path = desk.workspace.evidence / f"request-{state.entry.position}.json"
    if not path.is_file():
        champion = desk.champion()
        tags = {info.version: info.tags for info in desk.versions.versions()}
        write_json(
            path,
            {
                "position": state.entry.position,
                "action": str(state.entry.action),
                "received": state.entry.received,
                "outcome": outcome,
                "rows_removed": state.rows_removed,
                "night": night,
                "champion": champion,
                "certificate": dict(tags.get(champion or 0, {})).get("certificate_digest"),
                "search": asdict(hits),
                "written": opening.now(),
            },
        )
    return sha256_json(read_json(path))
