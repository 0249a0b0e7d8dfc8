"""Retire: destroy every older copy that holds an erased person, search, and close requests.

The order is what makes a kill harmless: first everything that holds the person goes, then the
estate is searched, then the evidence is written, then the vault forgets the id, and only then is
the request closed. A request that cannot be closed tonight stays open with all it needs.
"""

from __future__ import annotations

import shutil
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from typing import Literal

from lethe.adapters.catalogue import Catalogue
from lethe.durable import read_json, sha256_json, write_json
from lethe.errors import ArtifactCorrupt
from lethe.estate import restricted
from lethe.estate.search import Hits, Needles, search
from lethe.interactions.rights.register import Closure, RequestState
from lethe.interactions.rights.standing import Action, Standing
from lethe.nights.desk import Desk
from lethe.nights.forgetting import notifying, suppressing
from lethe.nights.forgetting.history import INTERACTIONS, forget_history
from lethe.nights.forgetting.loose import forget_loose_rows, late_ids
from lethe.nights.forgetting.notifying import Told
from lethe.nights.renaming import former
from lethe.stages import opening

Outcome = Literal["closed", "not_found"]


@dataclass(frozen=True)
class Retired:
    """What was destroyed, searched and closed; counts only.

    `champion_holds_erased` is True while no verified successor was promoted: then the requests of
    those people stay open. `hits` counts files in which the search found somebody, `undecoded`
    files that could not be searched to their end, `untold` requests of which recipients still have
    to be told.
    """

    versions: int
    data_versions: int
    rewritten: int
    objects: int
    closed: int
    not_found: int
    waiting: int
    searched_files: int
    hits: int
    champion_holds_erased: bool
    undecoded: int = 0
    untold: int = 0


@dataclass(frozen=True)
class _Tonight:
    """What decides which requests can be closed.

    `purged_at`: the register position at which the present data version was purged. `known`: the
    tombstones of erased people that the vault still knows. `held`: those in the champion. `told`:
    what recipients were told, and what they wait to be told.
    """

    night: str
    standing: Standing
    purged_at: int
    known: AbstractSet[str]
    held: AbstractSet[str]
    hits: Hits
    told: Told


def retire(desk: Desk, night: str) -> Retired:
    """Step 10. Safe to repeat after a kill at any point.

    Raises:
        StoreUnavailable: a store could not be emptied; nothing is closed then.
    """
    notifying.looked(desk.workspace)
    told = notifying.told(desk)
    everybody = desk.register.standing()
    standing = everybody.people()  # older copies hold canaries by right: nobody is harmed by that
    data = opening.open_data(desk.workspace)
    current = data.digest(INTERACTIONS)
    known = {v.digest: v for v in Catalogue(desk.workspace.catalogue).list()}
    purged_at = known[current].register_position if current in known else 0
    versions, held = destroy_solution_versions(desk, standing)
    suppressing.refresh(desk)
    suppressing.keep_outputs_of(desk, desk.champion())
    history = forget_history(desk, data)
    people = opening.open_vault(desk.workspace, desk.keys).by_tombstone(standing.erased)
    late = late_ids(desk.workspace, desk.params.intake.interactions, desk.keys, standing)
    forget_loose_rows(desk.workspace, people.values(), late)
    # Whoever was erased after the purge, or stands in a notice that waits, cannot be closed tonight
    # and must not hold up others.
    due = [
        person
        for stone, person in people.items()
        if standing.erased_at[stone] <= purged_at and stone not in told.people
    ]
    names = desk.keys.everywhere([person[0] for person in due])
    needles = Needles.of(names, (person[1] for person in due))
    hits = search(desk.workspace, needles, before_closing=True) if needles else Hits({}, 0, 0, 0)
    tonight = _Tonight(night, standing, purged_at, people.keys(), held, hits, told)
    closed, not_found = _close(desk, tonight)
    _close_canaries(desk, everybody, purged_at)
    return Retired(
        versions=versions,
        data_versions=history.destroyed,
        rewritten=history.rewritten,
        objects=history.objects,
        closed=closed,
        not_found=not_found,
        waiting=sum(state.open for state in desk.register.requests()),
        searched_files=hits.files_searched,
        hits=hits.total,
        champion_holds_erased=bool(held),
        undecoded=hits.undecoded,
        untold=len(told.waiting),
    )


def destroy_solution_versions(desk: Desk, standing: Standing) -> tuple[int, AbstractSet[str]]:
    """Destroy versions that hold an erased person; the champion only once it has a successor.

    A version that cannot be read may hold anybody and goes too, and so do those under former names
    once the champion is under the present ones. Returns how many went, and the tombstones of
    erased people in the champion.
    """
    destroyed, held = 0, frozenset[str]()
    champion, superseded = desk.champion(), former.superseded(desk)
    for info in desk.versions.versions():
        try:
            erased = desk.user_tombstones(info.version) & standing.erased
            doomed = bool(erased) or info.version in superseded
        except ArtifactCorrupt:
            if info.version == champion:
                raise
            erased, doomed = frozenset(), bool(standing.erased)
        if info.version == champion:
            held = erased
        elif doomed:
            (desk.workspace.certificates / f"version-{info.version}.json").unlink(missing_ok=True)
            desk.versions.destroy(info.version)
            destroyed += 1
    desk.versions.sweep()  # a destruction that a kill cut off is listed nowhere
    former.forget_keys(desk)
    left = {info.version for info in desk.versions.versions()}
    restricted.forget(desk.workspace, left, opening.now(), desk.params.retention.restricted_days)
    shutil.rmtree(desk.workspace.temporary, ignore_errors=True)
    desk.workspace.temporary.mkdir(parents=True, mode=0o700, exist_ok=True)
    return destroyed, held


def _close(desk: Desk, tonight: _Tonight) -> tuple[int, int]:
    """Close what is done: closed and not found, as counts."""
    ready = [
        (state, outcome)
        for state in desk.register.requests()
        if state.open and (outcome := _outcome(state, tonight)) is not None
    ]
    erased = {state.entry.tombstone for state, _ in ready if state.entry.action is Action.ERASE}
    evidence = {
        state.entry.position: _write_evidence(desk, state, outcome, tonight)
        for state, outcome in ready
    }
    if erased:
        restricted.empty(desk.workspace)
        opening.open_vault(desk.workspace, desk.keys).forget(erased)
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


def _close_canaries(desk: Desk, standing: Standing, purged_at: int) -> None:
    """Close canaries' erasures once a version without them is champion; its certificate proves it.

    One that never came to be in the data was not found.
    """
    ready = [
        state
        for state in desk.register.canaries()
        if state.open
        and standing.erased_at[state.entry.tombstone] <= purged_at
        and (state.state == "verified" or not state.found)
    ]
    if not ready:
        return
    opening.open_vault(desk.workspace, desk.keys).forget({state.entry.tombstone for state in ready})
    proof = _certificate(desk) or sha256_json({"canaries": len(ready)})
    for state in ready:
        outcome: Outcome = "closed" if state.found else "not_found"
        desk.register.close(
            Closure(state.entry.position, outcome, proof, opening.now(), state.rows_removed)
        )


def _certificate(desk: Desk) -> str | None:
    """The digest of the champion's certificate."""
    champion = desk.champion()
    tags = {info.version: info.tags for info in desk.versions.versions()}
    return dict(tags.get(champion or 0, {})).get("certificate_digest")


def _outcome(state: RequestState, tonight: _Tonight) -> Outcome | None:
    """`closed`, `not_found`, or None while something is missing."""
    entry = state.entry
    if state.state == "blocked" or tonight.told.holds(entry):
        return None
    if entry.action is Action.ERASE:
        if tonight.purged_at < tonight.standing.erased_at[entry.tombstone]:
            return None
        if not state.found and entry.tombstone not in tonight.known | tonight.held:
            return "not_found"
        if tonight.hits.total or entry.tombstone in tonight.held:
            return None
    return "closed" if state.state == "verified" else None


def _write_evidence(desk: Desk, state: RequestState, outcome: str, tonight: _Tonight) -> str:
    """The evidence as a file without ids, and its digest.

    Once the vault has forgotten the person nobody can search again: then what was written stays.
    """
    path = desk.workspace.evidence / f"request-{state.entry.position}.json"
    if not path.is_file() or state.entry.tombstone in tonight.known:
        write_json(
            path,
            {
                "position": state.entry.position,
                "action": str(state.entry.action),
                "received": state.entry.received,
                "outcome": outcome,
                "rows_removed": state.rows_removed,
                "night": tonight.night,
                "champion": desk.champion(),
                "certificate": _certificate(desk),
                "recipients_told": list(tonight.told.delivered.get(state.entry.position, ())),
                "search": {**asdict(tonight.hits), "undecoded": tonight.hits.undecoded},
                "written": opening.now(),
            },
        )
    return sha256_json(read_json(path))
