"""The register in memory: same rules, same chain, no database.

`tick(name)` runs at the start of every call, so that a test can let something happen in between.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from lethe.errors import ArtifactCorrupt, BadRequest, Busy
from lethe.interactions.rights.register import (
    GENESIS,
    Entry,
    Head,
    Intent,
    Promotion,
    Receipt,
    Request,
    Standing,
)
from lethe.interactions.rights.standing import Fold, next_entry


def _nothing(_call: str) -> None:
    return None


class MemoryRegister:
    """Mirrors `Register` as far as appends and promotions need it."""

    def __init__(
        self,
        entries: tuple[Entry, ...] = (),
        promotions: tuple[Promotion, ...] = (),
        tick: Callable[[str], None] = _nothing,
    ) -> None:
        self.chain, self.journal, self.tick = entries, promotions, tick
        self.held = False

    @contextlib.contextmanager
    def exclusive(self, wait_seconds: float) -> Iterator[None]:
        if self.held:
            raise Busy(f"the register is held by another process; waited {wait_seconds:g} s")
        self.held = True
        try:
            yield
        finally:
            self.held = False

    def entries(self, since: int = 0, upto: int | None = None) -> tuple[Entry, ...]:
        self.tick("entries")
        return tuple(
            entry
            for entry in self.chain
            if entry.position > since and (upto is None or entry.position <= upto)
        )

    def head(self) -> Head:
        return Head(self.chain[-1].position, self.chain[-1].digest) if self.chain else GENESIS

    def standing(self, upto: int | None = None) -> Standing:
        self.tick("standing")
        return Fold(self.chain[:upto]).standing()

    def check_chain(self, known: Head | None = None) -> Head:
        self.tick("check_chain")
        digests = [GENESIS.digest, *(entry.digest for entry in self.chain)]
        if known is not None and known.digest not in digests[known.position : known.position + 1]:
            raise ArtifactCorrupt(f"the known position {known.position} is not on the chain")
        return self.head()

    def append(self, requests: Sequence[Request]) -> Receipt:
        with self.exclusive(0):
            fold, chain, already = Fold(self.chain), list(self.chain), 0
            for request in requests:
                if fold.objection_to(request) is not None:
                    raise BadRequest("nothing was entered")
                if fold.repeats(request):
                    already += 1
                    continue
                head = Head(chain[-1].position, chain[-1].digest) if chain else GENESIS
                chain.append(next_entry(head, request))
                fold.enter(chain[-1])
        first, self.chain = len(self.chain) + 1, tuple(chain)
        entered = len(chain) - first + 1
        if not requests:
            raise BadRequest("nothing was asked for")
        if not entered:
            return Receipt(None, None, 0, already)
        return Receipt(first, len(chain), entered, already)

    def intend(self, intent: Intent) -> int:
        self.tick("intend")
        number = len(self.journal) + 1
        self.journal = (*self.journal, Promotion(number, intent, "intended", None, None))
        return number

    def done(self, intent_id: int, at: int) -> None:
        self.tick("done")
        self._end(Promotion(intent_id, self._intent(intent_id), "done", None, at))

    def abort(self, intent_id: int, reason: str, at: int) -> None:
        self.tick("abort")
        self._end(Promotion(intent_id, self._intent(intent_id), "aborted", reason, at))

    def _intent(self, intent_id: int) -> Intent:
        return self.journal[intent_id - 1].intent

    def _end(self, ended: Promotion) -> None:
        current = self.journal[ended.id - 1].state
        if current == ended.state:
            return
        if current != "intended":
            raise BadRequest(f"intent {ended.id} is {current}, it cannot be {ended.state}")
        journal = list(self.journal)
        journal[ended.id - 1] = ended
        self.journal = tuple(journal)

    def open_intents(self) -> tuple[Promotion, ...]:
        return tuple(item for item in self.journal if item.state == "intended")

    def promotions(self) -> tuple[Promotion, ...]:
        return self.journal
