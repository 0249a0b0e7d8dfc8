"""`promote` and `recover` in a world in which something may happen at any of their calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lethe.errors import PromotionRefused
from lethe.gate.promotion import Candidate, promote, recover
from lethe.interactions.rights.register import (
    Standing,
)
from tests.fakes.register import MemoryRegister
from tests.fakes.version_store import MemoryVersions, StoredVersion
from tests.gate.race_world import State, Variant, appended, overwritten
from tests.gate.scene import A, B
from tests.kills import Killed


class CommitPoint:
    """Runs the real `promote` or `recover` in a world thawed from a state."""

    def __init__(self, state: State, variant: Variant, plan: dict[int, str]) -> None:
        self.variant, self.plan, self.calls, self.state = variant, plan, 0, state
        stored = {i + 1: v for i, v in enumerate(state.versions) if v is not None}
        self.store = MemoryVersions(stored, state.champion, self._tick)
        self.register = MemoryRegister(state.entries, state.promotions, self._tick)
        self.last_look: dict[int, tuple[StoredVersion, frozenset[str]]] = {}
        self.breaches: list[str] = []
        self.certified_at: int | None = None

    def _tick(self, call: str) -> None:
        self.calls += 1
        event = self.plan.get(self.calls)
        if event == "crash":
            self._spend(event)
            raise Killed
        if event is not None:
            if event.startswith("erase") and self.register.held and self.variant.lock:
                raise AssertionError("an erasure slipped through the lock")
            self._spend(event)
            if event.startswith("overwrite"):
                version = int(event[-1])
                self.store.versions[version] = overwritten(self.store.versions[version])
            else:
                self._erase(A if event == "erase A" else B)

    def _spend(self, event: str) -> None:
        self.state = replace(self.state, left=self.state.left - {event})

    def _erase(self, stone: str) -> None:
        chain = appended(self.register.chain, stone)
        self.register.chain = chain
        self.state = replace(self.state, asked=self.state.asked | {stone})

    # What the degraded variants see of the register and the store; the rest is passed on.

    def standing(self, upto: int | None = None) -> Standing:
        standing = self.register.standing(upto)
        return standing if self.variant.recheck_register else Standing(standing.position)

    def artifact_digest(self, version: int) -> str:
        stored = self.store.artifact_digest(version)
        self._look(version)
        if self.variant.check_digest:
            return stored
        certificate = self.state.nights[version - 1].certificate
        assert certificate is not None
        return certificate.artifact_digest

    def set_champion(self, version: int | None) -> None:
        self.store.set_champion(version)
        if version is not None:
            self._look(version)

    def _look(self, version: int) -> None:
        self.last_look[version] = (self.store.versions[version], self.state.asked)

    def done(self, intent_id: int, at: int) -> None:
        self.register.done(intent_id, at)
        intent = self.register.journal[intent_id - 1].intent
        stored, asked = self.last_look[intent.version]
        if stored.users & asked:
            self.breaches.append("erased")
        if stored.digest != intent.artifact_digest:
            self.breaches.append("unverified")

    def __getattr__(self, name: str) -> Any:
        owner = self.store if hasattr(MemoryVersions, name) else self.register
        return getattr(owner, name)

    def run(self, night: int | None) -> State:
        known = self.state.anchor if self.variant.anchor else None
        nights = list(self.state.nights)
        try:
            if night is None:
                recover(self, self, lambda: 0.0, 0.0, known=known)
            else:
                candidate = Candidate(night + 1, nights[night].certificate, True)
                nights[night] = replace(nights[night], step=5)
                promote(candidate, self, self, lambda: 0.0, 0.0, known=known)
        except PromotionRefused:
            pass
        except Killed:  # the night is started again and comes back to the same step
            nights = list(self.state.nights)
            if not self.variant.durable_intent:
                ended = (item for item in self.register.journal if item.state != "intended")
                self.register.journal = tuple(ended)
        versions = tuple(self.store.versions.get(i + 1) for i in range(2))
        return replace(
            self.state,
            entries=self.register.chain,
            promotions=self.register.journal,
            versions=versions,
            champion=self.store.alias,
            nights=(nights[0], nights[1]),
        )
