"""The stage `interactions`: take in what landed, purge who is erased, seal the shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from lethe.durable import read_json, write_json
from lethe.errors import BadFile
from lethe.estate.vault import Vault
from lethe.estate.workspace import Workspace
from lethe.interactions.columns import TIMESTAMP, USER
from lethe.interactions.intake.quarantine import Quarantine, RefusedFile
from lethe.interactions.intake.reading import read_attributes, read_interactions, survey
from lethe.interactions.intake.rules import LandedFile
from lethe.interactions.rights.identity import Identities, Identity, Keys, canonical_id, tombstone
from lethe.interactions.rights.register import Register
from lethe.interactions.rights.standing import Action, Standing
from lethe.interactions.shards.store import ShardStore
from lethe.params import Params
from lethe.stages import opening


@dataclass(frozen=True)
class IntakeReceipt:
    """What intake counted. `dropped` and `refused` are rows by rule; `files_refused` by rule."""

    files_new: int
    files_repeated: int
    files_refused: dict[str, int]
    rows_read: int
    rows_new: int
    rows_duplicate: int
    rows_erased: int
    dropped: dict[str, int]
    refused: dict[str, int]


@dataclass(frozen=True)
class PurgeReceipt:
    """What the purge did: erasures asked for so far, how many of them had data, and what went."""

    asked: int
    found: int
    not_found: int
    users: int
    rows: int
    shards_rewritten: int


@dataclass
class _Tally:
    files_refused: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

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
    store = ShardStore(workspace.interactions, params.purge.buckets)
    vault = opening.open_vault(workspace)
    tally = _Tally()
    intake = _Intake(workspace, params, store, vault, Identities(keys, standing), tally)
    taken = intake.run()
    purged = purge(store, vault, register, standing, keys)
    store.seal(head.position, head.digest, taken)
    workspace.receipts.mkdir(parents=True, exist_ok=True)
    night = read_json(workspace.journal)["name"] if workspace.journal.is_file() else None
    write_json(
        workspace.receipts / "interactions.json",
        {"night": night, "intake": asdict(tally.receipt()), "purge": asdict(purged)},
    )


@dataclass(frozen=True)
class _Intake:
    workspace: Workspace
    params: Params
    store: ShardStore
    vault: Vault
    identities: Identities
    tally: _Tally

    def run(self) -> list[str]:
        """Take every landed file once; the digests of all files ever taken."""
        taken = set(self.store.manifest().get("taken", ()))
        quarantine = Quarantine(self.workspace.quarantine)
        for file in survey(self.workspace.landing, self.params.intake):
            if isinstance(file, RefusedFile):
                self._refuse_file(quarantine, file.path, file.rule)
            elif file.sha256 in taken:
                self.tally.counts["repeated"] += 1
            else:
                try:
                    self._take(file, quarantine)
                except BadFile as fault:
                    self._refuse_file(quarantine, file.path, fault.rule)
                else:
                    taken.add(file.sha256)
                    self.tally.counts["new"] += 1
        return sorted(taken)

    def _refuse_file(self, quarantine: Quarantine, path: Path, rule: str) -> None:
        quarantine.file(path, rule)
        self.tally.files_refused[rule] += 1

    def _take(self, file: LandedFile, quarantine: Quarantine) -> None:
        if file.kind == "interactions":
            self._take_interactions(file, quarantine)
        else:
            self._take_attributes(file)

    def _take_interactions(self, file: LandedFile, quarantine: Quarantine) -> None:
        tally, refused = _Tally(), []
        with self.store.batch() as batch:
            for part in read_interactions(file, self.params.intake):
                table, erased = self._pseudonymised(part.table)
                batch.add(table)
                tally.counts["rows_read"] += part.rows_read
                tally.counts["rows_erased"] += erased
                tally.dropped.update(part.dropped)
                tally.refused.update(row.rule for row in part.refused)
                refused += part.refused
        tally.counts["rows_new"] += batch.appended.rows_new
        tally.counts["rows_duplicate"] += batch.appended.rows_duplicate
        quarantine.rows(file.sha256, refused)
        self.tally.counts.update(tally.counts)
        self.tally.dropped.update(tally.dropped)
        self.tally.refused.update(tally.refused)

    def _take_attributes(self, file: LandedFile) -> None:
        kind: Literal["items", "users"] = "users" if file.kind == "users" else "items"
        table = read_attributes(file, self.params.intake, kind)
        if kind == "users":
            names, known = self._identified(table[USER].to_pylist())
            erased = pa.array([known[name].erased for name in names], pa.bool_())
            codes = pa.array([known[name].pseudonym for name in names], pa.string())
            table = table.set_column(table.column_names.index(USER), USER, codes)
            table = table.filter(pc.invert(erased))
            self.tally.counts["rows_erased"] += int(pc.sum(erased).as_py() or 0)
        self.store.put_attributes(kind, table)

    def _identified(self, raw: Sequence[str]) -> tuple[list[str], dict[str, Identity]]:
        """Canonical ids in order, and their identities; those who may stay enter the vault."""
        fold = self.params.intake.interactions.case_fold
        names = [canonical_id(text, fold) for text in raw]
        distinct = list(dict.fromkeys(names))
        known = dict(zip(distinct, self.identities.resolve(distinct), strict=True))
        self.vault.remember(
            (identity.pseudonym, identity.tombstone, name)
            for name, identity in known.items()
            if not identity.erased
        )
        return names, known

    def _pseudonymised(self, table: pa.Table) -> tuple[pa.Table, int]:
        """Ids become pseudonyms; rows of erased lives fall out. Also how many fell out."""
        column = table[USER].combine_chunks().dictionary_encode()
        names, known = self._identified(column.dictionary.to_pylist())
        people = [known[name] for name in names]
        codes = pa.array([person.pseudonym for person in people], pa.string())
        gone = pa.array([person.erased for person in people], pa.bool_())
        start = pa.array([person.not_before for person in people], pa.int64())
        stays = pc.and_(
            pc.invert(gone.take(column.indices)),
            pc.greater_equal(table[TIMESTAMP].combine_chunks(), start.take(column.indices)),
        )
        coded = table.set_column(
            table.column_names.index(USER), USER, codes.take(column.indices)
        ).filter(stays)
        return coded, table.num_rows - coded.num_rows


def purge(
    store: ShardStore, vault: Vault, register: Register, standing: Standing, keys: Keys
) -> PurgeReceipt:
    """Remove every erased user's rows from the shards.

    People are found by the tombstone of each pseudonym in the data, so that a row which a restore
    or a late file brought back goes as well. What each erasure removed is noted in the register
    before anything is removed, so that a killed night does not lose the count.
    """
    present = opening.rows_by_user(store)
    stones = {name: tombstone(keys.tombstone, name) for name in present}
    erased = {name for name, stone in stones.items() if stone in standing.erased}
    rows = {stones[name]: present[name] for name in erased}
    known = vault.by_tombstone(standing.erased).keys() | rows.keys()
    found = 0
    for state in register.requests():
        stone = state.entry.tombstone
        if state.entry.action is Action.ERASE and stone in standing.erased:
            if stone in known and state.open:
                register.record_purge(state.entry.position, rows.get(stone, 0))
            found += stone in known or state.found
    removed = store.purge(erased)
    return PurgeReceipt(
        asked=len(standing.erased),
        found=found,
        not_found=len(standing.erased) - found,
        users=removed.users,
        rows=removed.rows,
        shards_rewritten=removed.shards_rewritten,
    )
