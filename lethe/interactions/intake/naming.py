"""Raw ids in rows become pseudonyms, and rows of lives that are over fall out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lethe.interactions.columns import TIMESTAMP, USER, Array
from lethe.interactions.rights.identity import Identity

_AS_COLUMNS: Final = pa.schema(
    [("raw", pa.string()), (USER, pa.string()), ("erased", pa.bool_()), ("since", pa.int64())]
)


class People:
    """Who raw ids are. Each is asked for once, of `identified`: one identity for each, in order.

    More than `most` ids are not remembered from one call to the next: those come and are asked
    for again.
    """

    def __init__(
        self, identified: Callable[[Sequence[str]], Sequence[Identity]], most: int = 0
    ) -> None:
        self._identified, self._most = identified, most
        self._known = _AS_COLUMNS.empty_table()

    def of(self, raw: Array) -> pa.Table:
        """For each of distinct raw ids, in order: `user` (the pseudonym), `erased` and `since`.

        `since` is an int64, Unix seconds: rows from before belong to a life that is over.
        """
        if self._known.num_rows > self._most:
            self._known = _AS_COLUMNS.empty_table()
        found = pc.index_in(raw, value_set=self._known["raw"].combine_chunks())
        place = pc.fill_null(found, -1).to_numpy().copy()
        new = np.flatnonzero(place < 0)
        if len(new):
            texts = raw.take(pa.array(new))
            order = pc.sort_indices(texts)
            place[new[order.to_numpy()]] = np.arange(len(new)) + self._known.num_rows
            met = self._columns(texts.take(order))
            self._known = pa.concat_tables([self._known, met]).combine_chunks()
        return self._known.drop_columns(["raw"]).take(pa.array(place)).combine_chunks()

    def _columns(self, raw: Array) -> pa.Table:
        people = self._identified(raw.to_pylist())
        columns = [
            raw,
            pa.array([one.pseudonym for one in people], pa.string()),
            pa.array([one.erased for one in people], pa.bool_()),
            pa.array([one.not_before for one in people], pa.int64()),
        ]
        return pa.table(columns, schema=_AS_COLUMNS)


def pseudonymised(table: pa.Table, people: People) -> pa.Table:
    """The rows that may stay, `user` now a pseudonym, as a dictionary.

    Rows of erased lives go, and of a new life those from before it began.
    """
    column = table[USER].combine_chunks().dictionary_encode()
    found = people.of(column.dictionary)
    names, erased, since = (found[name].combine_chunks() for name in _AS_COLUMNS.names[1:])
    users = pa.DictionaryArray.from_arrays(column.indices, names)
    table = table.set_column(table.column_names.index(USER), USER, users)
    if not pc.any(erased).as_py() and not pc.max(since).as_py():
        return table  # times are never negative
    stays = pc.and_(
        pc.invert(erased.take(column.indices)),
        pc.greater_equal(table[TIMESTAMP].combine_chunks(), since.take(column.indices)),
    )
    return table.filter(stays)
