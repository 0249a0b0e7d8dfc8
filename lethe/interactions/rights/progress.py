"""What requests become, how far each has come, and until when it must be answered.

A request is due one month after its receipt. Where that is too short, the controller may take two
further months, and must tell the person so, with the reason, within the first (GDPR Art. 12(3)).
An extension is an event beside the register's entries: bound to its entry, chained to the one
before, and never changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from lethe.durable import sha256_json
from lethe.errors import ArtifactCorrupt, BadRequest
from lethe.interactions.rights.deadlines import EXTENDED_MONTHS, due_date
from lethe.interactions.rights.merges import Links
from lethe.interactions.rights.standing import (
    GENESIS,
    Action,
    Entry,
    Fold,
    Head,
    Request,
    Standing,
    next_entry,
    reason_fault,
)

State = Literal["received", "purged", "verified", "closed", "not_found", "blocked"]
_GENESIS: Final = sha256_json({"lethe extensions": 1})


@dataclass(frozen=True)
class Receipt:
    """What an append did: the positions entered (None: none) and counts.

    `followed` of those entered are for further ids of people who were asked for.
    """

    first: int | None
    last: int | None
    entered: int
    already: int
    followed: int = 0


@dataclass(frozen=True)
class Closure:
    """The end of the request at `position`; `evidence` is a digest, `at` in Unix seconds."""

    position: int
    outcome: Literal["closed", "not_found"]
    evidence: str
    at: int
    rows_removed: int


def sift(
    requests: Sequence[Request], chain: Sequence[Entry], links: Links
) -> tuple[list[Entry], int, int]:
    """The entries that the requests become after `chain`: also how many of the requests change
    nothing, and how many of the entries follow one for another id of the same person.
    """
    fold, new, already, followed, faults = Fold(chain), list[Entry](), 0, 0, Counter[str]()
    came: dict[str, Action] = {}  # what last came to an id by following

    def enter(request: Request) -> bool:
        if fold.objection_to(request) or fold.repeats(request):
            return False
        last = new[-1:] or chain[-1:]
        head = Head(last[0].position, last[0].digest) if last else GENESIS
        new.append(next_entry(head, request))
        fold.enter(new[-1])
        return True

    for request in requests:
        if came.pop(request.tombstone, None) is request.action:
            already += 1  # asked for by both ids, and done for both with the first
            continue
        fault = fold.objection_to(request)
        if fault is not None:
            faults[fault] += 1
            continue
        already += not enter(request)
        for further in links.following(request):
            followed += enter(further)
            came[further.tombstone] = further.action
    if faults:
        counted = ", ".join(f"{count} x {fault}" for fault, count in sorted(faults.items()))
        raise BadRequest(f"nothing was entered; of {len(requests)} requests: {counted}")
    return new, already, followed


@dataclass(frozen=True)
class Extension:
    """The request at `position` is due later, for a reason; `due` and `at` in Unix seconds."""

    number: int
    position: int
    due: int
    reason: str
    at: int
    previous: str
    digest: str


@dataclass(frozen=True)
class RequestState:
    """How far the request of one entry has come; `found`: a purge was recorded for it."""

    entry: Entry
    state: State
    rows_removed: int
    found: bool
    closed_at: int | None
    evidence: str | None
    extension: Extension | None = None

    @property
    def open(self) -> bool:
        """Neither closed nor ended as not found."""
        return self.state not in ("closed", "not_found")

    @property
    def due(self) -> int:
        """Until when it must be answered, its extension included; Unix seconds."""
        return self.entry.due if self.extension is None else self.extension.due

    def overdue(self, now: int) -> bool:
        """Still open after its due date."""
        return self.open and self.due < now


def request_states(
    chain: Sequence[Entry],
    purges: Iterable[tuple[int, int]],
    closures: Mapping[int, Any],
    certified: int,
    later: Mapping[int, Extension],
) -> tuple[RequestState, ...]:
    """How far each entry has come; `purges` are (position, rows), of repeats the largest counts.

    `later` are the extensions by position; the rest is as in `state_of`.
    """
    standing, rows = Fold(chain).standing(), dict[int, int]()
    for position, count in purges:
        rows[position] = max(count, rows.get(position, 0))
    return tuple(
        RequestState(
            entry,
            *state_of(entry, standing, rows, closures.get(entry.position), certified),
            extension=later.get(entry.position),
        )
        for entry in chain
    )


def state_of(
    entry: Entry,
    standing: Standing,
    purged: Mapping[int, int],
    closure: Any | None,
    certified: int,
) -> tuple[State, int, bool, int | None, str | None]:
    """State, rows removed, found, time and evidence of the end; see `Register.requests`.

    `purged` maps positions to rows, `closure` has the fields of a `Closure`, `certified` is the
    newest position that a promoted version was certified at.
    """
    rows, found = purged.get(entry.position, 0), entry.position in purged
    if closure is not None:
        rows = max(rows, closure.rows_removed)
        return closure.outcome, rows, found, closure.at, closure.evidence
    erasure = entry.action is Action.ERASE
    effective = standing.erased_at.get(entry.tombstone) if erasure else entry.position
    state: State = "received"
    if effective is None:
        state = "blocked"
    elif effective <= certified:
        state = "verified"
    elif found:
        state = "purged"
    return state, rows, found, None, None


def checked_extensions(
    extensions: Iterable[Extension], entries: Sequence[Entry]
) -> dict[int, Extension]:
    """Hash the chain of extensions again; position of the request -> its extension.

    Raises:
        ArtifactCorrupt: one was edited, dropped, reordered, or extends what it may not.
    """
    found: dict[int, Extension] = {}
    previous, asked = _GENESIS, {entry.position: entry for entry in entries}
    for number, one in enumerate(extensions, start=1):
        if one.number != number or one.previous != previous or one.position in found:
            raise ArtifactCorrupt(f"the register's chain of extensions is broken at {number}")
        entry = asked.get(one.position)
        if entry is None or one != _after(previous, number, entry, one.reason, one.at):
            raise ArtifactCorrupt(f"the register's extension {number} was edited")
        found[one.position], previous = one, one.digest
    return found


def _after(previous: str, number: int, entry: Entry, reason: str, at: int) -> Extension:
    due = due_date(entry.received, EXTENDED_MONTHS)
    told = {"number": number, "entry": entry.digest, "due": due, "reason": reason, "at": at}
    digest = sha256_json({**told, "previous": previous})
    return Extension(number, entry.position, due, reason, at, previous, digest)


def extended(
    people: Sequence[frozenset[str]], reason: str, at: int, states: Sequence[RequestState]
) -> list[Extension]:
    """The extensions that a reason gives to every open request of some people.

    Each of `people` is the tombstones of all lives of one person. A request that was extended
    before, or whose first month is over, stays as it is; somebody of whom no request is left to
    be extended keeps all of them out.

    Raises:
        BadRequest: counts people by the rule that was broken, or the reason is no code.
    """
    if fault := reason_fault(reason):
        raise BadRequest(fault)
    faults, chosen = Counter[str](), dict[int, RequestState]()
    for stones in people:
        waiting = [state for state in states if state.open and state.entry.tombstone in stones]
        fresh = [state for state in waiting if state.extension is None]
        ready = {state.entry.position: state for state in fresh if at <= state.entry.due}
        if not ready:
            late = "the first month is over" if fresh else "it was extended before"
            faults[late if waiting else "no request is open"] += 1
        chosen |= ready
    if faults:
        counted = ", ".join(f"{count} x {fault}" for fault, count in sorted(faults.items()))
        raise BadRequest(f"nothing was extended; of {len(people)} people: {counted}")
    before = sorted(
        (state.extension for state in states if state.extension), key=lambda one: one.number
    )
    previous = before[-1].digest if before else _GENESIS
    new: list[Extension] = []
    for number, position in enumerate(sorted(chosen), start=len(before) + 1):
        new.append(_after(previous, number, chosen[position].entry, reason, at))
        previous = new[-1].digest
    return new
