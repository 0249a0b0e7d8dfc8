"""Raw ids in rows become pseudonyms, and rows of lives that are over fall out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lethe.interactions.columns import TIMESTAMP, USER, Array
from lethe.interactions.rights.identity import Identity

_AS_COLUMNS: Final = pa.schema(
    [("raw", pa.string()), (USER, pa.string()), ("erased", pa.bool_()), ("since", pa.int64())]
)

_ROWS, _MOST_ROWS = 1 << 19, 1 << 21


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

    def __len__(self) -> int:
        """How many are known."""
        return int(self._known.num_rows)

    def of(self, raw: Array) -> tuple[Array, pa.Table]:
        """For each raw id (one may come many times) its place, int32, among those that are known.

        Of each who is known: `user` (the pseudonym), `erased` and `since`, an int64, Unix seconds:
        rows from before belong to a life that is over.
        """
        if self._known.num_rows > self._most:
            self._known = _AS_COLUMNS.empty_table()
        places = pc.index_in(raw, value_set=self._known["raw"].combine_chunks())
        if places.null_count:
            new = pc.is_null(places)
            others = raw.filter(new).dictionary_encode()
            order = pc.sort_indices(others.dictionary)
            place = np.empty(len(order), np.int32)
            place[order.to_numpy()] = np.arange(len(order), dtype=np.int32) + len(self)
            places = pc.replace_with_mask(places, new, pa.array(place).take(others.indices))
            met = self._columns(others.dictionary.take(order))
            self._known = pa.concat_tables([self._known, met]).combine_chunks()
        return places, self._known.drop_columns(["raw"])

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
    """The rows that may stay, `user` now a pseudonym, as a dictionary of all who are known.

    Rows of erased lives go, and of a new life those from before it began.
    """
    places, known = people.of(table[USER].combine_chunks())
    names, erased, since = (known[name].combine_chunks() for name in _AS_COLUMNS.names[1:])
    users = pa.DictionaryArray.from_arrays(places, names)
    table = table.set_column(table.column_names.index(USER), USER, users)
    if not pc.any(erased).as_py() and not pc.max(since).as_py():
        return table  # times are never negative
    stays = pc.and_(
        pc.invert(erased.take(places)),
        pc.greater_equal(table[TIMESTAMP].combine_chunks(), since.take(places)),
    )
    return table.filter(stays)


class NamingAhead:
    """Rows are named on a thread of their own, while others are read and gathered. To be closed."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._thread = ThreadPoolExecutor(1)

    def close(self) -> None:
        """Name nothing more."""
        self._thread.shutdown(cancel_futures=True)

    def enough(self) -> int:
        """How many rows should wait for one another (some 80 bytes each) to be named together.

        Files are many and small, and to name rows costs a look at everybody who is known: as many
        as people are known, within limits.
        """
        return min(max(_ROWS, len(self._people)), _MOST_ROWS)

    def rows(self, tables: Sequence[pa.Table]) -> Future[pa.Table]:
        """The rows of these tables as `pseudonymised` makes them, after all asked for before."""
        return self._thread.submit(pseudonymised, pa.concat_tables(tables), self._people)

    def ids(self, raw: Array) -> pa.Table:
        """`user`, `erased` and `since` of raw ids, in order."""
        places, known = self._thread.submit(self._people.of, raw).result()
        return known.take(places).combine_chunks()
