"""What the tests of promotion stand on: a champion, a candidate, a register and a store."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lethe.gate.promotion import Candidate, Recovered, promote, recover
from lethe.interactions.rights.register import Action, Head, Request
from tests.fakes.register import MemoryRegister
from tests.fakes.version_store import MemoryVersions, StoredVersion

A, B, C = (letter * 64 for letter in "abc")
OLD, NEW = StoredVersion(frozenset({A, B, C})), StoredVersion(frozenset({B, C}))


@dataclass(frozen=True)
class Certificate:
    artifact_digest: str
    register_position: int
    register_head: str
    verdict: str = "VERIFIED"
    data_version: str = "d" * 32
    digest: str = "e" * 64


@dataclass
class Scene:
    """Version 1 is champion and holds A, who was erased; version 2 was trained without A."""

    register: MemoryRegister
    store: MemoryVersions
    candidate: Candidate

    def promote(self, candidate: Candidate | None = None, known: Head | None = None) -> int:
        return promote(
            candidate or self.candidate, self.register, self.store, lambda: 77.5, 0, known=known
        ).version

    def recover(self) -> Recovered:
        return recover(self.register, self.store, lambda: 99, 0)

    def certified(self, **changes: object) -> Candidate:
        certificate = replace(self.candidate.certificate, **changes)  # type: ignore[type-var]
        return replace(self.candidate, certificate=certificate)

    def ask(self, action: Action, stone: str) -> None:
        self.register.append([Request(action, stone, 10)])

    def states(self) -> list[str]:
        return [item.state for item in self.register.promotions()]


def before_promotion() -> Scene:
    register = MemoryRegister()
    register.append([Request(Action.ERASE, A, 10)])
    head = register.head()
    store = MemoryVersions({1: OLD, 2: NEW}, champion=1)
    certificate = Certificate(NEW.digest, head.position, head.digest)
    return Scene(register, store, Candidate(2, certificate, quality_accepted=True))
