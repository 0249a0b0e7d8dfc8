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
        """Names ascending and every one in use; rows by time, user, item and weight."""
        log = self.named()
        start, weights = log.timestamp.min(initial=TIMESTAMP_LIMIT), np.unique(log.weight)
        level = np.searchsorted(weights, log.weight).astype(np.int32)  # few, and so few bits
        rows = (log.timestamp - start, log.user, log.item, level)
        timestamp, user, item, weight = in_order(rows)
        timestamp += start
        return Log(log.users, log.items, user, item, timestamp, weights[weight])

    def named(self) -> Log:
        """Names ascending and every one in use; rows in the order that they have.

        Rows that are ordered stay so.
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
    return texts.take(order).to_pylist(), place[codes]
