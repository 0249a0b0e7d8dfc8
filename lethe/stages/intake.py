"""The stage `interactions`: take in what landed, purge who is erased, seal the shards."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from lethe.errors import BadFile
from lethe.estate.vault import Vault
from lethe.estate.workspace import Workspace
from lethe.interactions.columns import USER
from lethe.interactions.intake.naming import NamingAhead, People
from lethe.interactions.intake.quarantine import Quarantine
from lethe.interactions.intake.reading import ReadingAhead, read_attributes, survey
from lethe.interactions.intake.rules import LandedFile
from lethe.interactions.intake.verdicts import RefusedFile, RefusedRow
from lethe.interactions.rights.identity import Identities, Identity, Keys
from lethe.interactions.rights.register import Register
from lethe.interactions.rights.standing import Action, Standing
from lethe.interactions.shards.gathering import Gathering
from lethe.interactions.shards.insights import Census
from lethe.interactions.shards.store import ShardStore
from lethe.params import Params
from lethe.stages import opening
from lethe.stages.receipts import IntakeReceipt, PurgeReceipt, Receipts

# Held in memory before they are written: people for the vault, refused rows for quarantine.
_AT_ONCE = 100_000
_KNOWN = 3_000_000
"""Ids of which an intake remembers who they are: most come with every file (some 75 bytes each)."""


@dataclass
class _Tally:
    files_refused: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, other: _Tally) -> None:
        for name in ("files_refused", "dropped", "refused", "counts"):
            getattr(self, name).update(getattr(other, name))

    def receipt(self) -> IntakeReceipt:
        return IntakeReceipt(
            files_new=self.counts["new"],
            files_repeated=self.counts["repeated"],
            files_refused=dict(self.files_refused),
            rows_read=self.counts["rows_read"],
            rows_new=self.counts["rows_new"],
            rows_duplicate=self.counts["rows_duplicate"],
            rows_erased=self.counts["rows_erased"],
            dropped=dict(self.dropped),
            refused=dict(self.refused),
        )


def interactions(workspace: Workspace, params: Params) -> None:
    """The DVC stage: take in what landed, purge at the recorded head, seal, write receipts.

    Raises:
        LetheError: a key is wrong, the register cannot be read, a shard is corrupt.
    """
    head = opening.read_position(workspace.register_position)
    register = opening.open_register(workspace, params)
    register.check_chain(known=head)
    keys = opening.open_identities(workspace)
    standing = register.standing(upto=head.position)
    store = opening.open_shards(workspace, params, keys)
    vault = opening.open_vault(workspace, keys)
    canaries = opening.open_canaries(workspace, keys)
    tally, receipts, identities = _Tally(), Receipts(workspace), Identities(keys, standing)
    taken = _Intake(
        workspace, params, store, vault, identities, tally, receipts, canaries.landed()
    ).run()
    uncounted = canaries.pseudonyms()
    census = store.census(uncounted)
    receipts.took(tally.receipt(), census.counts().rows - int(store.manifest().get("rows", 0)))
    purge(store, census, vault, register, standing, keys, receipts.purging)
    store.seal(head.position, head.digest, taken, uncounted, census)
    receipts.sealed()


@dataclass(frozen=True)
class _Intake:
    workspace: Workspace
    params: Params
    store: ShardStore
    vault: Vault
    identities: Identities
    tally: _Tally
    receipts: Receipts
    canaries: str
    met: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    waiting: list[pa.Table] = field(default_factory=list)
    named: deque[tuple[Future[pa.Table], int, _Tally]] = field(default_factory=deque)

    @cached_property
    def found(self) -> tuple[LandedFile | RefusedFile, ...]:
        """What lies in landing."""
        return survey(self.workspace.landing, self.params.intake)

    @cached_property
    def ahead(self) -> ReadingAhead:
        """The rows of the files of interactions that were never taken."""
        taken = set(self.store.manifest().get("taken", ()))
        files = (file for file in self.found if isinstance(file, LandedFile))
        new = (file for file in files if file.kind == "interactions" and file.sha256 not in taken)
        return ReadingAhead(new, self.params.intake)

    @cached_property
    def naming(self) -> NamingAhead:
        """Who the raw ids are; those who may stay are met, the first time that they come."""
        return NamingAhead(People(self._identified, _KNOWN))

    def run(self) -> list[str]:
        """Take every landed file once; the digests of all files ever taken.

        The file of canaries (its digest is `canaries`) is taken like any other and not counted.

        The files' rows are merged together at the end, each shard once. A file that turns out bad
        adds no row, whatever it had before its fault.
        """
        taken = set(self.store.manifest().get("taken", ()))
        quarantine, uncounted = Quarantine(self.workspace.quarantine), _Tally()
        with contextlib.ExitStack() as threads, self.store.batch() as batch:
            for thread in (self.ahead, self.naming):
                threads.enter_context(contextlib.closing(thread))
            for file in self.found:
                tally = uncounted if file.sha256 == self.canaries else self.tally
                if isinstance(file, RefusedFile):
                    self._refuse_file(quarantine, file, file.rule)
                elif file.sha256 in taken:
                    tally.counts["repeated"] += 1
                else:
                    try:
                        self._take(file, batch, quarantine, tally)
                    except BadFile as fault:
                        self._refuse_file(quarantine, file, fault.rule)
                    else:
                        taken.add(file.sha256)
                        tally.counts["new"] += 1
            self._name_waiting(batch, self.tally)
            self._gather(batch)
            self._remember()
        # Rows of canaries are distinct and new. After a kill some are there already: then `took`
        # knows better, from how far the store has grown.
        theirs = uncounted.counts["rows_read"]
        new = max(0, batch.appended.rows_new - theirs)
        gathered = batch.appended.rows_new + batch.appended.rows_duplicate - theirs
        self.tally.counts["rows_new"] += new
        self.tally.counts["rows_duplicate"] += gathered - new
        return sorted(taken)

    def _refuse_file(
        self, quarantine: Quarantine, file: LandedFile | RefusedFile, rule: str
    ) -> None:
        self.receipts.refusing(file.sha256, rule)
        quarantine.file(file.path, rule)
        self.tally.files_refused[rule] += 1

    def _take(
        self, file: LandedFile, batch: Gathering, quarantine: Quarantine, counted: _Tally
    ) -> None:
        if file.kind != "interactions":
            self._take_attributes(file)
        elif counted is self.tally:
            self._take_interactions(file, batch, quarantine, counted)
        else:  # rows of different tallies do not wait together
            self._name_waiting(batch, self.tally)
            self._take_interactions(file, batch, quarantine, counted)
            self._name_waiting(batch, counted)

    def _take_interactions(
        self, file: LandedFile, batch: Gathering, quarantine: Quarantine, counted: _Tally
    ) -> None:
        tally, refused, tables = _Tally(), list[RefusedRow](), list[pa.Table]()
        with batch.whole():
            try:
                for part in self.ahead.of(file):
                    tables.append(part.table)
                    tally.counts["rows_read"] += part.rows_read
                    tally.dropped.update(part.dropped)
                    tally.refused.update(row.rule for row in part.refused)
                    refused += part.refused
                    if len(refused) >= _AT_ONCE:
                        quarantine.rows(file.sha256, refused)
                        refused.clear()
                    if sum(map(len, tables)) >= self.naming.enough():
                        self._name(tables, batch, tally)
            except BadFile:
                # An erasure finds whoever is in a file that quarantine keeps whole.
                self._name(tables, batch, tally)
                raise
        if refused:
            quarantine.rows(file.sha256, refused)
        counted.add(tally)
        self.waiting.extend(tables)
        if sum(map(len, self.waiting)) >= self.naming.enough():
            self._name_waiting(batch, counted)

    def _name_waiting(self, batch: Gathering, counted: _Tally) -> None:
        """Rows of whole files are named soon; those before them are gathered meanwhile."""
        if self.waiting:
            soon, rows = self.naming.rows(self.waiting), sum(map(len, self.waiting))
            self.waiting.clear()
            self._gather(batch)
            self.named.append((soon, rows, counted))

    def _gather(self, batch: Gathering) -> None:
        while self.named:
            named, rows, counted = self.named.popleft()
            self._add(named.result(), rows, batch, counted)

    def _name(self, tables: list[pa.Table], batch: Gathering, counted: _Tally) -> None:
        """Rows of a file that may yet turn out bad: they are gathered within its block."""
        if tables:
            named, rows = self.naming.rows(tables), sum(map(len, tables))
            tables.clear()
            self._add(named.result(), rows, batch, counted)

    def _add(self, named: pa.Table, rows: int, batch: Gathering, counted: _Tally) -> None:
        counted.counts["rows_erased"] += rows - named.num_rows
        batch.add(named)

    def _take_attributes(self, file: LandedFile) -> None:
        kind: Literal["items", "users"] = "users" if file.kind == "users" else "items"
        table = read_attributes(file, self.params.intake, kind)
        if kind == "users":
            people = self.naming.ids(table[USER].combine_chunks())
            table = table.set_column(table.column_names.index(USER), USER, people[USER])
            table = table.filter(pc.invert(people["erased"]))
            self.tally.counts["rows_erased"] += int(pc.sum(people["erased"]).as_py() or 0)
            self._remember()
        self.store.put_attributes(kind, table)

    def _identified(self, ids: Sequence[str]) -> list[Identity]:
        """Of ids in their canonical form, as reading leaves them."""
        people = self.identities.resolve(ids)
        for name, person in zip(ids, people, strict=True):
            if not person.erased:
                self.met[person.pseudonym] = (person.pseudonym, person.tombstone, name)
        if len(self.met) >= _AT_ONCE:
            self._remember()
        return people

    def _remember(self) -> None:
        """Write those met into the vault: before their rows are, so that nobody is unknown."""
        self.vault.remember(self.met.values())
        self.met.clear()


def purge(  # noqa: PLR0913
    store: ShardStore,
    census: Census,
    vault: Vault,
    register: Register,
    standing: Standing,
    keys: Keys,
    note: Callable[[PurgeReceipt], None],
) -> None:
    """Remove every erased user's rows from the shards.

    `census` is of the store as it is now, and is afterwards of what is left. People are found by
    the tombstone of a pseudonym in the data, so that a row which a restore or a late file brought
    back goes as well. What each erasure removed is noted in the register before anything is
    removed, so that a killed night does not lose the count; `note` hears the receipt before and
    after. Canaries go too and are not in it.
    """
    present = opening.rows_by_user(store, census)
    looked_for = list(present) if standing.erased else []
    stones = dict(zip(looked_for, keys.stones(looked_for), strict=True))
    erased = {name for name, stone in stones.items() if stone in standing.erased}
    rows = {stones[name]: present[name] for name in erased}
    known = vault.by_tombstone(standing.erased).keys() | rows.keys()
    found, people = 0, standing.people().erased
    for state in (*register.requests(), *register.canaries()):
        stone = state.entry.tombstone
        if state.entry.action is Action.ERASE and stone in standing.erased:
            if stone in known and state.open:
                register.record_purge(state.entry.position, rows.get(stone, 0))
            found += stone in people and (stone in known or state.found)
    receipt = PurgeReceipt(
        asked=len(people),
        found=found,
        not_found=len(people) - found,
        users=len(rows.keys() & people),
        rows=sum(count for stone, count in rows.items() if stone in people),
        shards_rewritten=0,
    )
    note(receipt)
    note(replace(receipt, shards_rewritten=store.purge(erased, census).shards_rewritten))
