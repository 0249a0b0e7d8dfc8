"""A shard store in memory: what `snapshot.build` asks of the real one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from lethe.interactions.columns import INTERACTIONS

Event = tuple[str, str, int, str, float | None]
Attributes = dict[str, list[str | None]]


class InteractionStore:
    """Shards of (user, item, timestamp, event type, event value), and attributes by column."""

    def __init__(
        self,
        shards: Iterable[Sequence[Event]],
        items: Attributes | None = None,
        users: Attributes | None = None,
    ) -> None:
        self._shards = [list(shard) for shard in shards]
        self._attributes = {"items": items, "users": users}

    def scan(self, columns: Sequence[str], *, folded: bool = False) -> Iterator[pa.Table]:
        for shard in self._shards:
            rows = [(*event, None, None) for event in shard]
            arrays = [
                pa.array([row[place] for row in rows], field.type)
                for place, field in enumerate(INTERACTIONS)
            ]
            yield pa.table(arrays, schema=INTERACTIONS).select(list(columns))

    def attributes(self, kind: str) -> pa.Table | None:
        columns = self._attributes[kind]
        if columns is None:
            return None
        return pa.table({name: pa.array(cells, pa.string()) for name, cells in columns.items()})
