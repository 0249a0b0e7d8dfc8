"""What a night removed, kept as counts, and one page for the requests that it closed.

What is there is noted in the night's journal before anything goes, and compared with what is left
once the step has ended: a night that was killed in between and taken up again counts what both of
its attempts removed, once. Record and page come last. A night that never got there, because its
journal was lost with a restored backup, gets its page from the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lethe.adapters.catalogue import Catalogue
from lethe.durable import read_json, write_bytes, write_json
from lethe.errors import LetheError
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.register import RequestState
from lethe.interactions.rights.standing import Action
from lethe.nights.desk import Desk
from lethe.nights.forgetting.retiring import retire
from lethe.nights.frame import Night
from lethe.reports.evidence import render
from lethe.reports.requests import told_of
from lethe.stages import opening

_NAMES = ("versions", "data_versions", "in_vault")


def retired(desk: Desk, night: Night) -> dict[str, Any]:
    """Step 10 with its record: what it did, and under `evidence` the page, if requests were closed.

    `evidence` is the page's file name, its SHA-256 and how many requests are on it, or None.

    Raises:
        StoreUnavailable: see `retire`; nothing is closed and nothing told then.
    """
    before = _stood(desk, night)
    try:
        done = asdict(retire(desk, night.name))
    except LetheError:
        with contextlib.suppress(LetheError):  # what went all the same; the first error is told
            _record(desk, night.name, _facts(desk, before, night.name, {}))
        raise
    for cut_off in sorted(_without_record(desk) - {night.name}):
        _record(desk, cut_off, {})
    page = _record(desk, night.name, _facts(desk, before, night.name, done))
    return {**done, "evidence": page}


def _facts(
    desk: Desk, before: Mapping[str, Any], night: str, done: Mapping[str, Any]
) -> dict[str, Any]:
    removed: dict[str, Any] = _removed(desk, before, night)
    # Objects have no names that outlive them: what an attempt deleted that was killed is not known.
    removed["objects"] = done.get("objects") if before["attempts"] == 1 else None
    waiting = done.get("waiting")
    return {"removed": removed, "attempts": before["attempts"], "waiting": waiting}


def file_name(night: str) -> str:
    """What record and page of a night are called, without their ending.

    >>> file_name("2026-03-03 02:00:00")
    'night-2026-03-03-020000'
    """
    return "night-" + night.replace(" ", "-").replace(":", "")


# What was there, and what is left


def _stood(desk: Desk, night: Night) -> dict[str, Any]:
    """What was there as the first attempt began, and what came since; noted before it goes."""
    noted, now = night.noted("stood") or {}, _there(desk)
    stood: dict[str, Any] = {name: sorted({*noted.get(name, ()), *now[name]}) for name in _NAMES}
    stood["quarantine"] = {
        name: max(noted.get("quarantine", {}).get(name, 0), now["quarantine"].get(name, 0))
        for name in {*noted.get("quarantine", {}), *now["quarantine"]}
    }
    stood["attempts"] = noted.get("attempts", 0) + 1
    night.note(stood=stood)
    return stood


def _there(desk: Desk) -> dict[str, Any]:
    """Numbers of versions, digests, positions of requests whose person the vault knows, lines."""
    asked = [s for s in desk.register.requests() if s.open and s.entry.action is Action.ERASE]
    known = opening.open_vault(desk.workspace, desk.keys).by_tombstone(
        {s.entry.tombstone for s in asked}
    )
    quarantine = desk.workspace.quarantine
    return {
        "versions": [info.version for info in desk.versions.versions()],
        "data_versions": [one.digest for one in Catalogue(desk.workspace.catalogue).list()],
        "in_vault": [s.entry.position for s in asked if s.entry.tombstone in known],
        "quarantine": {path.name: _lines(path) for path in sorted(quarantine.glob("*"))},
    }


def _lines(path: Path) -> int:
    if path.name.endswith(".reason.json") or not path.is_file():
        return 0
    with path.open("rb") as stream:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(1 << 20), b""))


def _removed(desk: Desk, before: Mapping[str, Any], night: str) -> dict[str, int]:
    left = _there(desk)
    formerly = {old for one in Catalogue(desk.workspace.catalogue).list() for old in one.formerly}
    data = {*before["data_versions"]} - {*left["data_versions"]}
    lines = (
        (count, left["quarantine"].get(name, 0)) for name, count in before["quarantine"].items()
    )
    receipts = desk.workspace.receipts / "interactions.json"
    counted: dict[str, Any] = read_json(receipts) if receipts.is_file() else {}
    if counted.get("night") != night:
        counted = {}
    purge, intake = counted.get("purge") or {}, counted.get("intake") or {}
    return {
        "rows": purge.get("rows", 0),
        "people": purge.get("users", 0),
        "shards": purge.get("shards_rewritten", 0),
        "late_rows": intake.get("rows_erased", 0),
        "versions": len({*before["versions"]} - {*left["versions"]}),
        "data_versions_rewritten": len(data & formerly),
        "data_versions_destroyed": len(data - formerly),
        "quarantine_lines": sum(max(0, count - now) for count, now in lines),
        "vault_rows": len({*before["in_vault"]} - {*left["in_vault"]}),
    }


# Record and page


def _evidence(desk: Desk) -> dict[int, dict[str, Any]]:
    """Position -> what was written before it was closed, of every request that is closed."""
    folder = desk.workspace.evidence
    closed = [state.entry.position for state in desk.register.requests() if not state.open]
    paths = {position: folder / f"request-{position}.json" for position in closed}
    return {at: dict(read_json(path)) for at, path in paths.items() if path.is_file()}


def _records(workspace: Workspace) -> Iterator[dict[str, Any]]:
    """What nights that carried something out removed, the oldest first."""
    for path in sorted(workspace.evidence.glob("night-*.json")):
        yield dict(read_json(path))


def _without_record(desk: Desk) -> set[str]:
    """Nights that closed requests and were cut off before they told it."""
    recorded = {position for one in _records(desk.workspace) for position in one["closed"]}
    return {str(told["night"]) for at, told in _evidence(desk).items() if at not in recorded}


def _record(desk: Desk, night: str, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Write what a night did, if it closed requests or removed anything; the page and its digest.

    The page first: its digest stands in the record, and a record without its page is not there.
    """
    told = {at: one for at, one in _evidence(desk).items() if one["night"] == night}
    removed = facts.get("removed") or {}
    if not told and not any(removed.get(name) for name in ("rows", "versions", "vault_rows")):
        return None
    states = {state.entry.position: state for state in desk.register.requests()}
    if not told and not any(state.open for state in states.values()):
        return None  # canaries alone: nobody asked for anything
    place = desk.workspace.evidence / file_name(night)
    record = {
        **facts,
        "night": night,
        "closed": sorted(told),
        "purged_at": _purged_at(desk),
        "champion": desk.champion(),
        "register": asdict(desk.register.head()),
        "signing_key": desk.workspace.recorded_fingerprints().get("signing"),
    }
    if told:
        page = render(_page(desk, record, told, states)).encode()
        record["page"] = hashlib.sha256(page).hexdigest()
        write_bytes(place.with_suffix(".html"), page)
    write_json(place.with_suffix(".json"), record)
    if not told:
        return None
    return {"page": f"{place.name}.html", "digest": record["page"], "requests": len(told)}


def _purged_at(desk: Desk) -> int:
    """The register position that the present data are purged at."""
    versions = Catalogue(desk.workspace.catalogue).list()
    return versions[-1].register_position if versions else 0


def _page(
    desk: Desk,
    record: Mapping[str, Any],
    told: Mapping[int, Mapping[str, Any]],
    states: Mapping[int, RequestState],
) -> dict[str, Any]:
    """The page's facts: plain values, positions and counts; no id and no tombstone."""
    earlier = [
        one
        for one in _records(desk.workspace)
        if one["night"] < record["night"] and one["purged_at"] >= min(told)
    ]
    searches = [told[at]["search"] for at in sorted(told) if told[at]["search"]["files_searched"]]
    return {
        **record,
        "shop": desk.params.name,
        "requests": [told_of(states[at], told[at]["written"]) for at in sorted(told)],
        "written": max(one["written"] for one in told.values()),
        "search": searches[-1] if searches else None,
        "certificates": sorted({one["certificate"] for one in told.values() if one["certificate"]}),
        "nights": [*earlier, record],
        "recipients": _recipients(told),
    }


def _recipients(told: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Who else was told (Art. 19): each notice once, and how many of these requests it names."""
    notices: dict[str, dict[str, Any]] = {}
    for at in sorted(told):
        for one in told[at].get("recipients_told", ()):
            notices.setdefault(one["notice"], {**one, "requests": 0})["requests"] += 1
    return list(notices.values())
