"""The kept rows as columns of numbers, beside the names that the numbers stand for."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lethe.interactions.columns import TIMESTAMP_LIMIT
from lethe.interactions.sorting import in_order
from lethe.interactions.training.splits import Ints, Longs, Rows, present

_FEW = 256  # weights


@dataclass(frozen=True, eq=False, repr=False)
class Log:
    """Kept rows: indices into two lists of names, Unix seconds, millionths (int32)."""

    users: list[str]
    items: list[str]
    user: Ints
    item: Ints
    timestamp: Longs
    weight: Ints

    def keep(self, rows: Rows | Longs) -> Log:
        return Log(
            self.users,
            self.items,
            self.user[rows],
            self.item[rows],
            self.timestamp[rows],
            self.weight[rows],
        )

    def of(self, names: Set[str]) -> Rows:
        """A mask of the rows whose user is one of `names`."""
        theirs: Rows = np.array([name in names for name in self.users], dtype=np.bool_)
        return theirs[self.user]

    def ordered(self) -> Log:
        """Names ascending and every one in use; rows by time, user, item and weight.

        This log is used up: the answer lies in its columns.
        """
        log = self.named()
        start, weights = log.timestamp.min(initial=TIMESTAMP_LIMIT), np.unique(log.weight)
        level = np.zeros(len(log.weight), np.uint8 if len(weights) <= _FEW else np.uint32)
        for place, weight in enumerate(weights[1:].tolist(), 1):
            level[log.weight == weight] = place
        timestamp = np.subtract(log.timestamp, start, out=log.timestamp)
        timestamp, user, item, level = in_order([timestamp, log.user, log.item, level])
        timestamp += start
        return Log(log.users, log.items, user, item, timestamp, weights[level])

    def named(self) -> Log:
        """Names ascending and every one in use; rows in the order that they have.

        Rows that are ordered stay so. This log is used up: the answer lies in its columns.
        """
        users, user = _ascending(self.users, self.user)
        items, item = _ascending(self.items, self.item)
        return Log(users, items, user, item, self.timestamp, self.weight)


def _ascending(names: list[str], codes: Ints) -> tuple[list[str], Ints]:
    used = present(codes)
    texts = pa.array(names, pa.string()).take(pa.array(used))
    order = pc.sort_indices(texts)
    place = np.full(len(names), -1, dtype=np.int32)
    place[used[order.to_numpy()]] = np.arange(len(used), dtype=np.int32)
    np.take(place, codes, out=codes, mode="clip")  # without a second column beside this one
    return texts.take(order).to_pylist(), codes
