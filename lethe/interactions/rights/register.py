"""The register: the append-only ledger of rights, and the journal of what was done about them.

Entries form a hash chain. Closures, purge receipts and promotions are written beside them and
never changed either. SQLite by default (secure_delete on, rollback journal), PostgreSQL by URL
(`postgresql+psycopg://...`; the driver is the operator's to install). The register must not be
restored together with the data: whoever holds an older `Head` can tell (`check_chain`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from lethe.errors import ArtifactCorrupt, BadRequest
from lethe.interactions.rights import ledger, merges, progress
from lethe.interactions.rights.ledger import Intent, Promotion
from lethe.interactions.rights.merges import Links, Merge, Pair
from lethe.interactions.rights.progress import Closure, Extension, Receipt, RequestState
from lethe.interactions.rights.standing import (
    CANARY,
    GENESIS,
    Action,
    Entry,
    Fold,
    Head,
    Request,
    Standing,
    checked_head,
)

__all__ = [
    "GENESIS", "Action", "Closure", "Entry", "Extension", "Head", "Intent", "Promotion",
    "Receipt", "Register", "Request", "RequestState", "Standing",
]  # fmt: skip


@dataclass(frozen=True)
class Register:
    """The ledger behind one database URL. Every call is one transaction.

    `known_merge` is the newest merge remembered outside the database: it must be there.

    All methods raise `StoreUnavailable` when the database is absent, locked for longer than
    `wait_seconds`, or holds no register: an absent ledger is never taken for an empty one.
    """

    engine: sa.Engine = field(repr=False)
    wait_seconds: float
    known_merge: Head | None = None

    @classmethod
    def open(
        cls, url: str, wait_seconds: float = 30.0, known_merge: Head | None = None
    ) -> Register:
        """Reach the database; an absent SQLite file is left for `initialise` to make."""
        engine = ledger.engine_for(url, wait_seconds)
        ledger.probe(engine)
        return cls(engine, wait_seconds, known_merge)

    def initialise(self) -> None:
        """Make the tables and their append-only triggers; an existing register stays as it is."""
        ledger.create(self.engine, self.wait_seconds)

    @contextlib.contextmanager
    def exclusive(self, wait_seconds: float) -> Iterator[None]:
        """Keep every append and promotion of other processes out; not re-entrant.

        Raises:
            Busy: somebody held it for longer than `wait_seconds`.
        """
        with ledger.exclusive(self.engine, wait_seconds):
            yield

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with ledger.transaction(self.engine, write=False) as connection:
            return connection.execute(query).all()

    def _insert(self, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
        with ledger.transaction(self.engine, write=True) as connection:
            connection.execute(table.insert(), list(rows))

    # The chain

    def entries(self, since: int = 0, upto: int | None = None) -> tuple[Entry, ...]:
        """Entries with since < position <= upto, in order; the chain is not checked."""
        column = ledger.ENTRIES.c.position
        query = sa.select(ledger.ENTRIES).where(column > since).order_by(column)
        if upto is not None:
            query = query.where(column <= upto)
        rows = (row._asdict() for row in self._rows(query))
        try:
            return tuple(Entry(**{**row, "action": Action(row["action"])}) for row in rows)
        except ValueError:
            raise ArtifactCorrupt("an entry of the register has an unknown action") from None

    def head(self) -> Head:
        """The last entry's place; `GENESIS` while nothing was entered."""
        columns = ledger.ENTRIES.c.position, ledger.ENTRIES.c.digest
        rows = self._rows(sa.select(*columns).order_by(columns[0].desc()).limit(1))
        return Head(rows[0].position, rows[0].digest) if rows else GENESIS

    def standing(self, upto: int | None = None) -> Standing:
        """Where everybody stands after the entry at `upto` (None: at the head)."""
        return Fold(self.entries(upto=upto)).standing()

    def append(self, requests: Sequence[Request], known: Head | None = None) -> Receipt:
        """Enter all requests or none; those that change nothing are skipped and counted.

        Each is entered for every id that was merged with its own as well; see `merges`.

        `known` is a head remembered outside the database. Without it, an append to a restored
        copy would give the copy a new head, and whoever remembers that one sees nothing amiss.

        Raises:
            ArtifactCorrupt: `known` is not on the chain, or the chain is broken.
            BadRequest: no request at all, or some that the standing at that point rules out.
            Busy: a promotion or another append held the register for too long.
        """
        if not requests:
            raise BadRequest("nothing was asked for")
        with self.exclusive(self.wait_seconds):
            chain = self.entries()
            checked_head(chain, known)
            links = self._links(chain)
            new, already, followed = progress.sift(requests, chain, links)
            if new:
                self._insert(ledger.ENTRIES, [asdict(entry) for entry in new])
        if not new:
            return Receipt(None, None, 0, already)
        return Receipt(new[0].position, new[-1].position, len(new), already, followed)

    def check_chain(self, known: Head | None = None) -> Head:
        """Hash the whole chain again and return its head.

        `known` is a head remembered outside the database: it must be on the chain.

        Raises:
            ArtifactCorrupt: an entry was edited, dropped or reordered, or a known head is gone.
        """
        # What is bound to entries is read before them: somebody may enter more in between.
        extensions, joined = self._extensions(), self._merges()
        chain = self.entries()
        progress.checked_extensions(extensions, chain)
        merges.check_alike(merges.checked_merges(joined, chain, self.known_merge), chain)
        return checked_head(chain, known)

    # Merges

    def merge(self, pairs: Sequence[Pair], at: int, known: Head | None = None) -> Receipt:
        """Say of pairs of ids that both are one person, all or none; see `merges.merged`.

        Raises:
            BadRequest: no pair at all, or some that stand differently or are erased.
            ArtifactCorrupt: see `append`.
            Busy: a promotion or an append held the register for too long.
        """
        if not pairs:
            raise BadRequest("nothing was asked for")
        self.head()  # an absent register is not made here
        ledger.create(self.engine, self.wait_seconds)
        with self.exclusive(self.wait_seconds):
            chain, before = self.entries(), self._merges()
            checked_head(chain, known)
            self._links(chain)
            new, already = merges.merged(pairs, chain, before, at)
            if new:
                self._insert(ledger.MERGES, [asdict(one) for one in new])
        if not new:
            return Receipt(None, None, 0, already)
        return Receipt(new[0].number, new[-1].number, len(new), already)

    def links(self) -> Links:
        """Who is one person under several ids; raises `ArtifactCorrupt` as `check_chain` does."""
        return self._links()

    def _links(self, chain: Sequence[Entry] | None = None) -> Links:
        joined = self._merges()
        return merges.checked_merges(joined, chain or self.entries(), self.known_merge)

    def merge_head(self) -> Head:
        """The last merge's number and digest; `merges.UNMERGED` before the first."""
        return merges.head_of(self._merges())

    def _merges(self) -> list[Merge]:
        return [Merge(**row) for row in ledger.numbered(self.engine, ledger.MERGES)]

    # What was done about a request

    def record_purge(self, position: int, rows: int) -> None:
        """Note that a purge removed `rows` rows for the entry; of repeats the largest counts."""
        if not self.entries(since=position - 1, upto=position):
            raise BadRequest(f"the register has no entry at position {position}")
        self._insert(ledger.PURGES, [{"position": position, "rows": rows}])

    def close(self, closure: Closure) -> bool:
        """End a request. The first closure stands: False if the request was closed before.

        Raises:
            BadRequest: no such entry, or the erasure waits for a legal hold to end.
        """
        states = {state.entry.position: state for state in self._states()}
        current = states.get(closure.position)
        if current is None:
            raise BadRequest(f"the register has no entry at position {closure.position}")
        if current.state == "blocked":
            raise BadRequest(f"the erasure at position {closure.position} is under a legal hold")
        if not current.open:
            return False
        self._insert(ledger.CLOSURES, [asdict(closure)])
        return True

    def requests(self) -> tuple[RequestState, ...]:
        """The state of every entry that a person asked for, in order.

        `purged`: a purge was recorded for it. `verified`: a version certified at or after the
        position where it took effect was promoted.
        """
        return tuple(state for state in self._states() if state.entry.reason != CANARY)

    def canaries(self) -> tuple[RequestState, ...]:
        """The state of every erasure of a canary, in order: in no list and no count of requests."""
        return tuple(state for state in self._states() if state.entry.reason == CANARY)

    def _states(self) -> tuple[RequestState, ...]:
        chain = self.entries()
        purges = [(row.position, row.rows) for row in self._rows(sa.select(ledger.PURGES))]
        closures = {row.position: row for row in self._rows(sa.select(ledger.CLOSURES))}
        done = [item.intent.position for item in self.promotions() if item.state == "done"]
        later = progress.checked_extensions(self._extensions(), chain)
        return progress.request_states(chain, purges, closures, max(done, default=0), later)

    # Deadlines

    def extend(
        self, people: Sequence[frozenset[str]], reason: str, at: int
    ) -> tuple[Extension, ...]:
        """Give the open requests of people two further months, once; see `progress.extended`.

        Those of ids that were merged with theirs too.

        Raises:
            BadRequest: somebody has no request that could be extended; none is extended then.
            Busy: a promotion or an append held the register for too long.
        """
        self.head()  # an absent register is not made here
        ledger.create(self.engine, self.wait_seconds)
        with self.exclusive(self.wait_seconds):
            links = self.links()
            whole = [links.person(stones) for stones in people]
            new = progress.extended(whole, reason, at, self.requests())
            self._insert(ledger.EXTENSIONS, [asdict(one) for one in new])
        return tuple(new)

    def _extensions(self) -> list[Extension]:
        # A register that lost its extensions falls due sooner.
        return [Extension(**row) for row in ledger.numbered(self.engine, ledger.EXTENSIONS)]

    # Promotions

    def intend(self, intent: Intent) -> int:
        """Write an intent down durably; the number that `done` and `abort` take."""
        with ledger.transaction(self.engine, write=True) as connection:
            done = connection.execute(ledger.INTENTS.insert().values(**asdict(intent)))
            [number] = list(done.inserted_primary_key or ())
            return int(number)

    def done(self, intent_id: int, at: int) -> None:
        """The alias points to the intended version. Repeating it changes nothing."""
        self._end(intent_id, "done", None, at)

    def abort(self, intent_id: int, reason: str, at: int) -> None:
        """The previous champion stays or is back. Repeating it changes nothing."""
        self._end(intent_id, "aborted", reason, at)

    def _end(self, intent_id: int, state: str, reason: str | None, at: int) -> None:
        ended = {item.id: item.state for item in self.promotions()}.get(intent_id)
        if ended == state:
            return
        if ended != "intended":
            raise BadRequest(f"intent {intent_id} is {ended or 'unknown'}, it cannot be {state}")
        row = {"intent": intent_id, "state": state, "reason": reason, "at": at}
        self._insert(ledger.OUTCOMES, [row])

    def open_intents(self) -> tuple[Promotion, ...]:
        """Intents that neither `done` nor `abort` has ended, oldest first."""
        return tuple(item for item in self.promotions() if item.state == "intended")

    def promotions(self) -> tuple[Promotion, ...]:
        """Every intent with its end, oldest first."""
        return ledger.promotions(self.engine)
