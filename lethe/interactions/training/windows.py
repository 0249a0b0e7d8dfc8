"""The training set on disk, and the windows of it that recipes learn from and are judged on.

A folder that `lethe.interactions.training.snapshot.build` wrote: `pairs.parquet` (one row per kept
interaction: user int32, item int32, timestamp int64, weight float32), `users.txt`, `items.json`,
at most two feature tables, and `snapshot.json` with the digest of each. The definition of the
matrix stands in `lethe.interactions.training.snapshot`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy

from lethe.durable import read_json, sha256_file
from lethe.errors import ArtifactCorrupt
from lethe.interactions.training import splits
from lethe.interactions.training.fading import faded
from lethe.interactions.training.matrix import Features, InteractionMatrix
from lethe.interactions.training.splits import (
    HeldOutWindow,
    Ints,
    Longs,
    Rows,
    Split,
    Window,
    present,
)

FORMAT = 1
SNAPSHOT = "snapshot.json"
PAIRS = "pairs.parquet"
USERS = "users.txt"
ITEMS = "items.json"
FEATURES = {"item": "item_features.parquet", "user": "user_features.parquet"}
FILES = (PAIRS, USERS, ITEMS, *FEATURES.values())
MILLIONTHS = 1_000_000


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What a window holds, aligned to a matrix: `csr` float32 (n_users, n_items) of that matrix.

    Rows of users or items that the matrix does not know cannot stand in `csr`; they are counted:
    `cold_users` and `cold_items` are distinct, `cold_rows` interactions that touch one of them.
    """

    csr: scipy.sparse.csr_matrix
    cold_users: int
    cold_items: int
    cold_rows: int


@dataclass(frozen=True, eq=False, repr=False)
class TrainingSet:
    """One snapshot: ids, kept interactions in time order, features and how they are split.

    `user` and `item` index into `users` and `items`; `weight` is in millionths (int64), before
    any of it fades: what a row is worth depends on the window that is learned from.
    `features` maps "item" and "user" to (row index, name) pairs, absent if there are none.
    `canaries` are the indices of users who are learned from and never held out. `names` is
    the generation of the pseudonyms.
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    user: Ints
    item: Ints
    timestamp: Longs
    weight: Longs
    features: dict[str, tuple[Ints, tuple[str, ...]]]
    split: Split
    maximum_weight: float
    position: int
    head: str
    canaries: tuple[int, ...] = ()
    names: str = ""
    half_life_days: float | None = None

    @classmethod
    def read(cls, folder: Path) -> TrainingSet:
        """Read a snapshot, each file against its digest.

        Raises:
            ArtifactCorrupt: a file is missing, extra, altered, or the format is another one.
        """
        record = _checked_record(folder)
        # column by column: beside one another as read and as kept they would take twice the room
        weight = _numbers(folder, "weight").astype(np.float64)
        weight *= MILLIONTHS
        users = tuple((folder / USERS).read_text(encoding="ascii").split())
        features = {
            key: (table.column(key).to_numpy(), tuple(table.column("name").to_pylist()))
            for key, name in FEATURES.items()
            if name in record["files"]
            for table in (_table(folder / name),)
        }
        return cls(
            users=users,
            items=tuple(read_json(folder / ITEMS)),
            user=_numbers(folder, "user"),
            item=_numbers(folder, "item"),
            timestamp=_numbers(folder, "timestamp"),
            weight=np.rint(weight, out=weight).astype(np.int64),
            features=features,
            split=splits.read(record["rules"], record["cuts"]),
            maximum_weight=record["rules"]["maximum_weight"],
            position=record["register_position"],
            head=record["register_head"],
            canaries=tuple(record.get("canaries", ())),
            names=str(record.get("names", "")),
            half_life_days=record["rules"].get("half_life_days"),
        )

    def within(self, window: Window | HeldOutWindow) -> Rows:
        """A mask of the rows that lie in `window`."""
        return self.split.within(window, self.user, self.timestamp)

    def matrix(self, window: Window) -> InteractionMatrix:
        """The matrix of a window: only users, items and categories that occur in it."""
        rows = slice(None) if window == "all" else self.within(window)
        user, item, weight = self.user[rows], self.item[rows], self.weight[rows]
        if self.half_life_days is not None:
            weight = faded(weight, self.timestamp[rows], self.half_life_days)
        known_users, known_items = present(user), present(item)
        csr = self._summed(
            _places(known_users)[user],
            _places(known_items)[item],
            weight,
            (len(known_users), len(known_items)),
        )
        return InteractionMatrix(
            users=tuple(self.users[index] for index in known_users.tolist()),
            items=tuple(self.items[index] for index in known_items.tolist()),
            csr=csr,
            item_features=self._features("item", known_items),
            user_features=self._features("user", known_users),
        )

    def held_out(self, window: HeldOutWindow, matrix: InteractionMatrix) -> HeldOut:
        """People's interactions of `window`, unfaded, in the rows of `matrix`."""
        rows = self.within(window)
        rows &= ~np.isin(self.user, np.array(self.canaries, dtype=np.int32))
        user = _positions(self.users, matrix.users)[self.user[rows]]
        item = _positions(self.items, matrix.items)[self.item[rows]]
        warm = (user >= 0) & (item >= 0)
        return HeldOut(
            csr=self._summed(user[warm], item[warm], self.weight[rows][warm], matrix.csr.shape),
            cold_users=len(present(self.user[rows][user < 0])),
            cold_items=len(present(self.item[rows][item < 0])),
            cold_rows=int((~warm).sum()),
        )

    def _summed(
        self, user: Ints | Longs, item: Ints | Longs, weight: Longs, shape: tuple[int, int]
    ) -> scipy.sparse.csr_matrix:
        """Sum the millionths of each pair, cap, divide once. Integers: no order can matter."""
        sums = scipy.sparse.coo_matrix((weight, (user, item)), shape=shape).tocsr()  # canonical
        np.minimum(sums.data, round(self.maximum_weight * MILLIONTHS), out=sums.data)
        data = np.empty(len(sums.data), np.float32)  # divided in float64, without a column of it
        np.divide(sums.data, MILLIONTHS, out=data, dtype=np.float64, casting="unsafe")
        indices, indptr = (
            part.astype(np.int32, copy=False) for part in (sums.indices, sums.indptr)
        )
        return scipy.sparse.csr_matrix((data, indices, indptr), shape=shape)

    def _features(self, key: str, known: Longs) -> Features | None:
        """One-hot rows of `known`; a category that none of them carries does not exist."""
        if key not in self.features:
            return None
        row, name = self.features[key]
        position = np.searchsorted(known, row)
        present = position < len(known)
        present[present] = known[position[present]] == row[present]
        carried = np.array(name, dtype=object)[present].tolist()
        names = tuple(sorted(set(carried)))
        if not names:
            return None
        column_of = {value: column for column, value in enumerate(names)}
        csr = scipy.sparse.csr_matrix(
            (
                np.ones(len(carried), dtype=np.float32),
                (position[present], [column_of[value] for value in carried]),
            ),
            shape=(len(known), len(names)),
        )
        csr.sort_indices()
        return Features(names=names, csr=csr)


def _positions(own: tuple[str, ...], other: tuple[str, ...]) -> Longs:
    """For each id of `own` its index in `other`, or -1.

    >>> _positions(("a", "b", "c"), ("b", "z")).tolist()
    [-1, 0, -1]
    """
    index = {name: position for position, name in enumerate(other)}
    return np.array([index.get(name, -1) for name in own], dtype=np.int64)


def _places(known: Longs) -> Ints:
    """For each code up to the last known one its place among the known ones; -1 for the others.

    >>> _places(np.array([0, 3])).tolist()
    [0, -1, -1, 1]
    """
    places = np.full(int(known.max(initial=-1)) + 1, -1, dtype=np.int32)
    places[known] = np.arange(len(known), dtype=np.int32)
    return places


def _numbers(folder: Path, column: str) -> Any:
    return _table(folder / PAIRS, [column]).column(0).to_numpy()


def _table(path: Path, columns: list[str] | None = None) -> pa.Table:
    options = {"page_checksum_verification": True, "use_threads": False}
    return pq.read_table(path, columns=columns, **options)


def _checked_record(folder: Path) -> dict[str, Any]:
    if not (folder / SNAPSHOT).is_file():
        raise ArtifactCorrupt(f"{folder.name} holds no {SNAPSHOT}: the snapshot is not complete")
    try:
        record = read_json(folder / SNAPSHOT)
    except ValueError:
        raise ArtifactCorrupt(f"{SNAPSHOT} is not readable") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ArtifactCorrupt(f"{SNAPSHOT} is not of format {FORMAT}")
    found = {path.name for path in folder.iterdir()} - {SNAPSHOT}
    if found != set(record["files"]):
        raise ArtifactCorrupt(
            f"{folder.name} holds {len(found)} files beside {SNAPSHOT}, "
            f"which names {len(record['files'])}: they are not the same files"
        )
    for name, digest in record["files"].items():
        if name not in FILES or (folder / name).is_symlink():
            raise ArtifactCorrupt(f"{name} does not belong in a snapshot")
        if sha256_file(folder / name) != digest:
            raise ArtifactCorrupt(f"{name} differs from the digest in {SNAPSHOT}")
    return record
