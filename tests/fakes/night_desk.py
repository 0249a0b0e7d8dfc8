"""A workspace with a real register, vault, shards and quarantine between in-memory ledgers.

What the ledgers keep lies as files where the real ones keep theirs, so that a search finds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lethe.adapters.catalogue import Catalogue, DataVersion
from lethe.durable import write_json
from lethe.estate.vault import Vault
from lethe.estate.workspace import Workspace
from lethe.interactions.columns import INTERACTIONS
from lethe.interactions.rights.identity import Keys, pseudonym, tombstone
from lethe.interactions.rights.register import Action, Intent, Register, Request
from lethe.interactions.shards.store import ShardStore
from lethe.nights.desk import Desk
from lethe.params import Params
from lethe.solutions.factors import Factors, Manifest, Solution, write_solution
from lethe.stages import opening
from tests.fakes.data_versions import FakeDataVersions
from tests.fakes.solution_versions import FakeSolutionVersions

KEYS = Keys(pseudonym=bytes(32), tombstone=b"\1" * 32)
PARAMS = Params.model_validate(
    {
        "tuning": {"recipes": {"als": {"factors": {"kind": "categorical", "choices": [8]}}}},
        "purge": {"buckets": 2},
    }
)


class OnDisk:
    """The fake DVC's objects as files: a dict as far as the fake asks for one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __setitem__(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    def __getitem__(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def __delitem__(self, name: str) -> None:
        (self.folder / name).unlink()

    def keys(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())


def name_of(raw: str) -> str:
    return pseudonym(KEYS.pseudonym, raw, 0)


def stone_of(raw: str) -> str:
    return tombstone(KEYS.tombstone, name_of(raw))


@dataclass
class World:
    """One workspace; `people` are the raw ids that a shop's exports ever held."""

    root: Path
    people: list[str]
    data: FakeDataVersions = field(init=False)
    desk: Desk = field(init=False)
    clock: int = 1_770_000_000

    def __post_init__(self) -> None:
        workspace = Workspace(self.root)
        workspace.temporary.mkdir(parents=True)
        workspace.quarantine.mkdir(parents=True)
        register = Register.open(workspace.register_url(), wait_seconds=1)
        register.initialise()
        versions: Any = FakeSolutionVersions(workspace.mlflow / "artifacts")
        versions.initialise()
        self.data = FakeDataVersions(
            self.root, {"interactions": ("data/interactions", lambda: None)}
        )
        self.data.content = OnDisk(self.root / ".dvc/cache")  # type: ignore[assignment]
        self.desk = Desk(workspace, PARAMS, register, KEYS, versions)

    @property
    def workspace(self) -> Workspace:
        return self.desk.workspace

    @property
    def vault(self) -> Vault:
        return Vault(self.workspace.vault, self.desk.keys)

    @property
    def versions(self) -> FakeSolutionVersions:
        versions: Any = self.desk.versions
        return versions  # type: ignore[no-any-return]

    def ask(self, action: Action, *raw: str) -> None:
        self.clock += 60
        self.desk.register.append([Request(action, stone_of(name), self.clock) for name in raw])

    def take_in(self, *raw: str) -> None:
        """Rows of these people arrive, and the vault learns who they are."""
        standing = self.desk.register.standing()
        live = [name for name in raw if stone_of(name) not in standing.erased]
        self.vault.remember((name_of(name), stone_of(name), name) for name in live)
        rows = [
            (name_of(name), f"item-{number}", self.clock + number, "view", None, None, None)
            for name in live
            for number in range(3)
        ]
        columns = list(zip(*rows, strict=True)) if rows else [()] * 7
        arrays = [pa.array(c, f.type) for c, f in zip(columns, INTERACTIONS, strict=True)]
        self.store().append(pa.table(arrays, schema=INTERACTIONS))

    def store(self) -> ShardStore:
        names = self.desk.keys.generation
        return ShardStore(self.workspace.interactions, PARAMS.purge.buckets, names)

    def purge_and_version(self) -> DataVersion:
        """Steps 2 and 3, at the register's head."""
        register, store = self.desk.register, self.store()
        head = register.head()
        self._purge(store)
        store.seal(head.position, head.digest)
        counts = store.counts()
        self.clock += 60
        made = DataVersion(
            self.data.commit("interactions"), counts.rows, counts.users, counts.items,
            head.position, head.digest, self.clock,
        )  # fmt: skip
        Catalogue(self.workspace.catalogue).add(made)
        return made

    def _purge(self, store: ShardStore) -> None:
        """Note what goes for whose request, then let it go; as the stage does."""
        register, standing = self.desk.register, self.desk.register.standing()
        rows = opening.rows_by_user(store)
        stones = {tombstone(KEYS.tombstone, user): user for user in rows}
        known = self.vault.by_tombstone(standing.erased).keys() | stones.keys()
        for state in register.requests():
            stone = state.entry.tombstone
            if state.entry.action is Action.ERASE and stone in standing.erased & known:
                register.record_purge(state.entry.position, rows[stones.get(stone, "")])
        store.purge({user for stone, user in stones.items() if stone in standing.erased})

    def train(self, data: DataVersion) -> int:
        """Steps 4 to 7: a version of everybody in the data who is not kept out."""
        barred = self.desk.register.standing(upto=data.register_position).excluded
        held = sorted(
            {user for table in self.store().scan(("user",)) for user in table["user"].to_pylist()}
        )
        users = tuple(u for u in held if tombstone(KEYS.tombstone, u) not in barred)
        return self.record(users, data)

    def record(self, users: tuple[str, ...], data: DataVersion) -> int:
        factors = Factors(
            np.full((len(users), 2), data.register_position + 1, np.float32),
            np.full((3, 2), self.clock % 9_973, np.float32),
        )
        solution = Solution(
            factors=factors,
            users=users,
            items=("item-0", "item-1", "item-2"),
            popular=np.arange(3, dtype=np.int32),
            manifest=Manifest(
                recipe="als",
                hyperparameters={},
                seed=1,
                matrix_digest="0" * 64,
                data_version=data.digest,
                register_position=data.register_position,
                register_head=data.register_head,
                environment={},
                names=self.desk.keys.generation,
            ),
        )
        folder = self.workspace.candidates / "als"
        write_solution(folder, solution)
        labels = {"data_version": data.digest, "register_position": data.register_position}
        version = self.versions.record("run", folder, "", labels)
        write_json(self.workspace.certificates / f"version-{version}.json", {"version": version})
        return version

    def promote(self, version: int, position: int) -> None:
        """Step 9, as the protocol leaves the register and the alias."""
        register = self.desk.register
        number = register.intend(
            Intent(version, "a" * 64, "c" * 64, position, self.versions.champion(), self.clock)
        )
        self.versions.set_champion(version)
        register.done(number, self.clock)

    def night(self, *, promoted: bool = True) -> int | None:
        """Steps 2 to 9. A refused night leaves its version behind and the champion in place."""
        data = self.purge_and_version()
        if not data.users:
            return None
        version = self.train(data)
        if promoted:
            self.promote(version, data.register_position)
        return version

    def bytes_everywhere(self, *but: str) -> bytes:
        """Every byte below the workspace except in files called `but`; shards decoded."""
        import pyarrow.parquet as pq

        found = bytearray()
        for path in sorted(self.root.rglob("*")):
            if path.is_file() and path.name not in but:
                content = path.read_bytes()
                found += content + str(path).encode()
                if content.startswith(b"PAR1"):
                    table = pq.read_table(pa.BufferReader(content))
                    found += str(table.to_pylist()).encode()
        return bytes(found)
