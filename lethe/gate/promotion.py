"""The promotion protocol: the only way an alias moves.

    lock -> settle what a crash left -> examine -> INTENT -> alias -> read back -> DONE

Everything happens while the register is held exclusively, so no request can be entered between
the last look at it and the alias. The alias has no compare-and-set and the artifact store no lock:
the stored bytes and the alias are therefore read back before DONE, and what does not match is
undone. An INTENT without an end is a crash; `recover` examines it against the present register
and ends it one way or the other. Whatever cannot be established is a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from lethe.errors import ArtifactCorrupt, PromotionRefused
from lethe.interactions.rights.register import GENESIS, Entry, Head, Intent, Promotion, Standing

VERIFIED: Final = "VERIFIED"

Clock = Callable[[], float]
"""Unix seconds."""


class Certificate(Protocol):
    """What deletion verification stated, and about what."""

    @property
    def verdict(self) -> str: ...
    @property
    def artifact_digest(self) -> str: ...
    @property
    def data_version(self) -> str: ...
    @property
    def register_position(self) -> int: ...
    @property
    def register_head(self) -> str: ...
    @property
    def digest(self) -> str: ...


class VersionStore(Protocol):
    """The solution versions, as far as a promotion touches them."""

    def champion(self) -> int | None: ...
    def artifact_digest(self, version: int) -> str:
        """Recomputed from the stored bytes; `ArtifactCorrupt` when they cannot be read."""
        ...

    def user_tombstones(self, version: int) -> frozenset[str]:
        """Of every user in the version's own, stored id list."""
        ...

    def set_champion(self, version: int | None) -> None: ...
    def set_challenger(self, version: int | None) -> None: ...


class Rights(Protocol):
    """The part of `lethe.interactions.rights.register.Register` that a promotion needs."""

    def exclusive(self, wait_seconds: float) -> AbstractContextManager[None]: ...
    def entries(self, since: int = 0, upto: int | None = None) -> tuple[Entry, ...]: ...
    def standing(self, upto: int | None = None) -> Standing: ...
    def check_chain(self, known: Head | None = None) -> Head: ...
    def intend(self, intent: Intent) -> int: ...
    def done(self, intent_id: int, at: int) -> None: ...
    def abort(self, intent_id: int, reason: str, at: int) -> None: ...
    def open_intents(self) -> tuple[Promotion, ...]: ...
    def promotions(self) -> tuple[Promotion, ...]: ...


@dataclass(frozen=True)
class Candidate:
    """A recorded version that asks to become champion, with what its judges said.

    With `by_person` somebody decided in place of the quality rule; nothing else is waived.
    """

    version: int
    certificate: Certificate | None
    quality_accepted: bool
    quality_reasons: tuple[str, ...] = ()
    by_person: bool = False


@dataclass(frozen=True)
class Promoted:
    """The version that is champion now, and the register's head at that moment."""

    version: int
    previous: int | None
    intent: int
    head: Head


@dataclass(frozen=True)
class Recovered:
    """What `recover` did about intents that had no end: their versions."""

    completed: tuple[int, ...]
    undone: tuple[int, ...]


def promote(  # noqa: PLR0913
    candidate: Candidate,
    register: Rights,
    store: VersionStore,
    clock: Clock,
    wait_seconds: float,
    *,
    known: Head | None = None,
) -> Promoted:
    """Make the candidate champion, or change nothing.

    `known` is the newest head remembered outside the register: a register that does not hold it
    was truncated or restored from a backup. A repeat passes through the same examination.

    Raises:
        PromotionRefused: with every reason found; the champion stays.
        Busy: the register was held for longer than `wait_seconds`.
        StoreUnavailable: a store failed; nothing was decided, `recover` ends what was begun.
    """
    with register.exclusive(wait_seconds):
        return _Commit(register, store, clock, known).promote(candidate)


def recover(
    register: Rights,
    store: VersionStore,
    clock: Clock,
    wait_seconds: float,
    *,
    known: Head | None = None,
) -> Recovered:
    """End every INTENT that a crash left open; without one, nothing happens.

    A version that still passes against the present register and its own stored bytes becomes
    champion (DONE); otherwise the previous champion is put back (ABORT).

    Raises:
        Busy, StoreUnavailable: as in `promote`; the intent stays open.
    """
    with register.exclusive(wait_seconds):
        return _Commit(register, store, clock, known).settle()


@dataclass(frozen=True)
class _Commit:
    """The steps, run while the register is held exclusively."""

    register: Rights
    store: VersionStore
    clock: Clock
    known: Head | None

    def promote(self, candidate: Candidate) -> Promoted:
        self.settle()
        reasons, certificate = self.examine(candidate), candidate.certificate
        if reasons or certificate is None:
            raise PromotionRefused(f"version {candidate.version} is not promoted", reasons)
        head = self.register.check_chain(self.known)
        intent = Intent(
            version=candidate.version,
            artifact_digest=certificate.artifact_digest,
            certificate_digest=certificate.digest,
            position=certificate.register_position,
            previous_champion=self.store.champion(),
            at=int(self.clock()),
        )
        earlier = self.same_promotion(intent)
        if earlier is not None:
            return Promoted(intent.version, earlier.intent.previous_champion, earlier.id, head)
        number = self.register.intend(intent)
        self.carry_out(number, intent)
        return Promoted(intent.version, intent.previous_champion, number, head)

    def settle(self) -> Recovered:
        completed, undone = list[int](), list[int]()
        for promotion in self.register.open_intents():
            number, intent = promotion.id, promotion.intent
            reasons = (
                *_chain_faults(self.register, self.known),
                *_people_faults(intent.version, intent.position, self.register, self.store),
                *_artifact_faults(intent.version, intent.artifact_digest, self.store),
            )
            try:
                if reasons:
                    self.undo(number, intent, reasons)
                self.carry_out(number, intent)
                completed.append(intent.version)
            except PromotionRefused:
                undone.append(intent.version)
        return Recovered(tuple(completed), tuple(undone))

    def examine(self, candidate: Candidate) -> tuple[str, ...]:
        """Every reason against the candidate, in the order of the protocol."""
        certificate, reasons = candidate.certificate, [*_chain_faults(self.register, self.known)]
        if certificate is None:
            reasons.append("there is no certificate")
        else:
            position, version = certificate.register_position, candidate.version
            if certificate.verdict != VERIFIED:
                reasons.append(f"the certificate's verdict is {certificate.verdict}")
            reasons += _position_faults(position, certificate.register_head, self.register)
            reasons += _people_faults(version, position, self.register, self.store)
            reasons += _artifact_faults(version, certificate.artifact_digest, self.store)
        if candidate.by_person is not True and candidate.quality_accepted is not True:
            reasons += candidate.quality_reasons or ("the quality rule did not accept it",)
        return tuple(reasons)

    def same_promotion(self, intent: Intent) -> Promotion | None:
        """The last promotion, if it made this version champion on this very certificate.

        A night that was killed after DONE asks again; that is not a second promotion.
        """
        finished = [item for item in self.register.promotions() if item.state == "done"]
        if not finished or intent.previous_champion != intent.version:
            return None
        last = finished[-1].intent
        return finished[-1] if _certified(last) == _certified(intent) else None

    def carry_out(self, number: int, intent: Intent) -> None:
        """Move the alias, read the store back, and write DONE, or undo and refuse."""
        if self.store.champion() != intent.version:
            self.store.set_champion(intent.version)
        reasons = _artifact_faults(intent.version, intent.artifact_digest, self.store)
        if self.store.champion() != intent.version:
            reasons = (*reasons, "the champion alias was moved by somebody else meanwhile")
        if reasons:
            self.undo(number, intent, reasons)
        self.store.set_challenger(None)
        self.register.done(number, int(self.clock()))

    def undo(self, number: int, intent: Intent, reasons: tuple[str, ...]) -> NoReturn:
        if self.store.champion() != intent.previous_champion:
            self.store.set_champion(intent.previous_champion)
        self.register.abort(number, "; ".join(reasons), int(self.clock()))
        raise PromotionRefused(f"version {intent.version} is not promoted", reasons)


def _certified(intent: Intent) -> tuple[int, str, str]:
    return intent.version, intent.artifact_digest, intent.certificate_digest


def _chain_faults(register: Rights, known: Head | None) -> tuple[str, ...]:
    try:
        register.check_chain(known)
    except ArtifactCorrupt as error:
        return (str(error),)
    return ()


def _position_faults(position: int, digest: str, register: Rights) -> tuple[str, ...]:
    """The certificate's place must lie on the present chain."""
    try:
        entries = register.entries(since=position - 1, upto=position)
    except ArtifactCorrupt as error:
        return (str(error),)
    places = {0: GENESIS.digest} | {entry.position: entry.digest for entry in entries}
    found = places.get(position)
    if found is None:
        return (f"the register has no position {position}, where the certificate was made",)
    if found != digest:
        return (f"the register differs from the certificate's at position {position}",)
    return ()


def _people_faults(
    version: int, position: int, register: Rights, store: VersionStore
) -> tuple[str, ...]:
    """Nobody whom the present head excludes may be in the version's own id list."""
    try:
        standing, users = register.standing(), store.user_tombstones(version)
    except ArtifactCorrupt as error:
        return (str(error),)
    found = users & standing.excluded
    if not found:
        return ()
    newer = len(found & standing.changed_since(position))
    where = f"excluded by the register at position {standing.position}"
    return (f"{len(found)} people of its id list are {where}, {newer} since position {position}",)


def _artifact_faults(version: int, certified: str, store: VersionStore) -> tuple[str, ...]:
    try:
        stored = store.artifact_digest(version)
    except ArtifactCorrupt as error:
        return (str(error),)
    if stored != certified:
        return (f"the stored artifact is {stored[:12]}, the certificate is for {certified[:12]}",)
    return ()
