"""Where every person stands: the register's entries folded into sets of tombstones.

ERASE takes effect at its own position, for good: the tombstone of an erased life stays erased,
and RECONSENT only opens the next life under another pseudonym. Under RESTRICT (a legal hold) an
ERASE is blocked; the RELEASE lets it take effect at the RELEASE's position. Objecting and
restricted people stay in the data and out of training.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from lethe.durable import sha256_json
from lethe.errors import ArtifactCorrupt, BadRequest
from lethe.interactions.rights.deadlines import due_date

CANARY: Final = "canary"  # the reason of erasures that nobody asked for: canaries are no people
LATEST_SECOND: Final = 4102444800  # 2100-01-01: anything later is milliseconds by mistake
_TOMBSTONE: Final = re.compile(r"[0-9a-f]{64}")
_REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")


class Action(StrEnum):
    """What a person may ask for: GDPR Art. 17, 21, 21, 18, 18, and consent given anew."""

    ERASE = "ERASE"
    OBJECT = "OBJECT"
    WITHDRAW_OBJECTION = "WITHDRAW_OBJECTION"
    RESTRICT = "RESTRICT"
    RELEASE = "RELEASE"
    RECONSENT = "RECONSENT"


@dataclass(frozen=True)
class Request:
    """One request before it is entered. `received` is in Unix seconds, `reason` is a code.

    Raises:
        BadRequest: a field breaks its rule.
    """

    action: Action
    tombstone: str = field(repr=False)
    received: int
    reason: str = "data-subject-request"

    def __post_init__(self) -> None:
        if not _TOMBSTONE.fullmatch(self.tombstone):
            raise BadRequest("a tombstone is not 64 lower-case hex characters")
        if not 0 <= self.received < LATEST_SECOND:
            raise BadRequest("the time of receipt is not in Unix seconds before 2100")
        if fault := reason_fault(self.reason):
            raise BadRequest(fault)


def reason_fault(reason: str) -> str | None:
    """The rule that a reason code breaks, or None."""
    if _REASON.fullmatch(reason):
        return None
    return "a reason code is 1 to 64 letters, digits, dots, dashes, underscores"


@dataclass(frozen=True)
class Head:
    """A place in the chain: the number of entries before and at it, and the last one's digest."""

    position: int
    digest: str


GENESIS: Final = Head(0, sha256_json({"lethe register": 1}))


@dataclass(frozen=True)
class Entry:
    """One line of the register. Positions count from 1 without a gap; times in Unix seconds."""

    position: int
    action: Action
    tombstone: str = field(repr=False)
    received: int
    due: int
    reason: str
    previous: str
    digest: str

    def expected_digest(self) -> str:
        """SHA-256 of the canonical JSON of every field but the digest itself."""
        return _entry_digest(
            (self.position, str(self.action), self.tombstone),
            (self.received, self.due, self.reason, self.previous),
        )


def _entry_digest(what: tuple[int, str, str], rest: tuple[int, int, str, str]) -> str:
    names = ("position", "action", "tombstone", "received", "due", "reason", "previous")
    return sha256_json(dict(zip(names, (*what, *rest), strict=True)))


def next_entry(head: Head, request: Request) -> Entry:
    """The entry that `request` becomes right after `head`."""
    position, due = head.position + 1, due_date(request.received)
    digest = _entry_digest(
        (position, str(request.action), request.tombstone),
        (request.received, due, request.reason, head.digest),
    )
    return Entry(
        position=position,
        action=request.action,
        tombstone=request.tombstone,
        received=request.received,
        due=due,
        reason=request.reason,
        previous=head.digest,
        digest=digest,
    )


def checked_head(entries: Sequence[Entry], known: Head | None = None) -> Head:
    """Hash the whole chain again; its last place. `known` must be one of its places.

    Raises:
        ArtifactCorrupt: an entry was edited, dropped or reordered, or `known` is not there.
    """
    heads = [GENESIS]
    for expected, entry in enumerate(entries, start=1):
        if entry.position != expected or entry.previous != heads[-1].digest:
            raise ArtifactCorrupt(f"the register's chain is broken at position {expected}")
        if entry.digest != entry.expected_digest():
            raise ArtifactCorrupt(f"the register's entry at position {expected} was edited")
        heads.append(Head(entry.position, entry.digest))
    if known is not None and not 0 <= known.position < len(heads):
        raise ArtifactCorrupt(
            f"the register ends at position {len(heads) - 1}, but position {known.position} is "
            "known: entries were lost or an old copy was restored"
        )
    if known is not None and heads[known.position] != known:
        raise ArtifactCorrupt(f"the register is not the one known at position {known.position}")
    return heads[-1]


@dataclass(frozen=True)
class Standing:
    """Sets of tombstones at one position of the register.

    `erased` holds every life that ended, the later reconsented ones included: their rows never
    come back. `reconsented` maps such a life to the second its successor began. `blocked` are
    erasures that wait for a RELEASE. `erased_at` maps erased lives to the position at which the
    erasure took effect, `excluded_at` excluded ones to where their present exclusion began.
    `canaries` are those of `erased` that are canaries.
    """

    position: int = 0
    erased: frozenset[str] = field(default=frozenset(), repr=False)
    objecting: frozenset[str] = field(default=frozenset(), repr=False)
    restricted: frozenset[str] = field(default=frozenset(), repr=False)
    blocked: frozenset[str] = field(default=frozenset(), repr=False)
    reconsented: Mapping[str, int] = field(default_factory=dict, repr=False)
    erased_at: Mapping[str, int] = field(default_factory=dict, repr=False)
    canaries: frozenset[str] = field(default=frozenset(), repr=False)
    excluded_at: Mapping[str, int] = field(default_factory=dict, repr=False)

    @property
    def excluded(self) -> frozenset[str]:
        """Everybody whose rows may not be trained on."""
        return self.erased | self.objecting | self.restricted

    def people(self) -> Standing:
        """The same without canaries: what is destroyed, counted and told is people's alone."""
        gone = self.canaries
        kept = {stone: at for stone, at in self.erased_at.items() if stone not in gone}
        left = {stone: at for stone, at in self.excluded_at.items() if stone not in gone}
        return replace(
            self,
            erased=self.erased - gone,
            erased_at=MappingProxyType(kept),
            excluded_at=MappingProxyType(left),
            canaries=frozenset(),
        )

    def canaries_since(self, position: int) -> frozenset[str]:
        """Canaries erased after `position`: until then they were there by right."""
        return frozenset(stone for stone in self.canaries if self.erased_at[stone] > position)

    def changed_since(self, position: int) -> frozenset[str]:
        """Those excluded now whose present exclusion began after `position`."""
        return frozenset(stone for stone, at in self.excluded_at.items() if at > position)


@dataclass(slots=True)
class _Life:
    """One tombstone while the entries pass by."""

    pending: bool = False
    objecting: bool = False
    restricted: bool = False
    erased_at: int | None = None
    erased_on: int = 0
    reconsented: int | None = None
    excluded_at: int | None = None
    canary: bool = False

    def enter(self, action: Action, position: int, received: int) -> None:
        if action is Action.OBJECT or action is Action.WITHDRAW_OBJECTION:
            self.objecting = action is Action.OBJECT
        elif action is Action.RESTRICT or action is Action.RELEASE:
            self.restricted = action is Action.RESTRICT
        elif action is Action.RECONSENT:
            self.reconsented = received
        elif self.erased_at is None:
            self.pending = True
        if self.pending and not self.restricted:
            self.pending, self.erased_at, self.erased_on = False, position, received
        if not (self.objecting or self.restricted or self.erased_at is not None):
            self.excluded_at = None
        elif self.excluded_at is None:
            self.excluded_at = position

    def repeats(self, action: Action) -> bool:
        """The person already stands where `action` would put them."""
        return (
            (action is Action.ERASE and (self.pending or self.erased_at is not None))
            or (action is Action.OBJECT and self.objecting)
            or (action is Action.RESTRICT and self.restricted)
        )

    def objection_to(self, request: Request) -> str | None:
        """Why `request` cannot be entered, or None."""
        action, erased = request.action, self.erased_at is not None
        if action is Action.WITHDRAW_OBJECTION and not self.objecting:
            return "a withdrawal without an objection"
        if action is Action.RELEASE and not self.restricted:
            return "a release without a restriction"
        if action is Action.RESTRICT and erased and not self.restricted:
            return "a restriction after the erasure took effect"
        if action is Action.RECONSENT and (not erased or self.reconsented is not None):
            return "a new consent without an erasure in effect"
        # A consent dated back before the erasure would let rows of the erased life return.
        if action is Action.RECONSENT and request.received < self.erased_on:
            return "a new consent dated before the erasure"
        return None


class Fold:
    """Entries in, one by one and in order; a `Standing` out."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._lives: dict[str, _Life] = {}
        self._position = 0
        for entry in entries:
            self.enter(entry)

    def enter(self, entry: Entry) -> None:
        """Let one entry take effect."""
        life = self._lives.setdefault(entry.tombstone, _Life())
        life.enter(entry.action, entry.position, entry.received)
        life.canary |= entry.action is Action.ERASE and entry.reason == CANARY
        self._position = entry.position

    def repeats(self, request: Request) -> bool:
        """Entering the request would change nothing."""
        return self._lives.get(request.tombstone, _Life()).repeats(request.action)

    def objection_to(self, request: Request) -> str | None:
        """The rule that keeps the request out, or None."""
        return self._lives.get(request.tombstone, _Life()).objection_to(request)

    def standing(self) -> Standing:
        """Where everybody stands after the last entry."""
        lives = self._lives.items()
        erased = {s: life.erased_at for s, life in lives if life.erased_at is not None}
        excluded = {s: life.excluded_at for s, life in lives if life.excluded_at is not None}
        returned = {s: life.reconsented for s, life in lives if life.reconsented is not None}
        return Standing(
            position=self._position,
            erased=frozenset(erased),
            objecting=frozenset(s for s, life in lives if life.objecting),
            restricted=frozenset(s for s, life in lives if life.restricted),
            blocked=frozenset(s for s, life in lives if life.pending),
            reconsented=MappingProxyType(returned),
            erased_at=MappingProxyType(erased),
            canaries=frozenset(s for s in erased if self._lives[s].canary),
            excluded_at=MappingProxyType(excluded),
        )
