"""Interactions as whole numbers: each text by its place among the texts, so that sorting is cheap.

A folded table has the columns of INTERACTIONS, texts as dictionaries; a column without any value
may be absent. `Folded` are sorted and distinct rows, and become tables again piece by piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lethe.interactions import columns as c
from lethe.interactions.sorting import in_order

_ORDER: Final = (
    *(c.USER, c.TIMESTAMP, c.ITEM, c.EVENT_TYPE, c.EVENT_VALUE, c.IMPRESSIONS, c.EVENT_ID),
)
TEXTS: Final = tuple(field.name for field in c.INTERACTIONS if field.type == pa.string())
_TEXT: Final = pa.dictionary(pa.int32(), pa.string())

Codes = npt.NDArray[np.int32]
Months = npt.NDArray[np.uint16]

_DAY: Final = 86_400
_DAYS: Final = np.arange(c.TIMESTAMP_LIMIT // _DAY).astype("datetime64[D]")
_MONTH_OF_DAY: Final[Months] = _DAYS.astype("datetime64[M]").astype(np.int64).astype(np.uint16)


def one_array(column: pa.ChunkedArray) -> c.Array:
    """A column as one array, its dictionaries as one."""
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return column.combine_chunks()


def fold(table: pa.Table) -> pa.Table:
    """A table in schema INTERACTIONS, texts as dictionaries or not, as a folded table.

    -0.0 becomes 0.0, its equal.
    """
    columns = {}
    for name in table.column_names:
        column = one_array(table.column(name))
        if column.null_count == len(column) and name not in c.REQUIRED:
            continue
        if name in TEXTS and column.type != _TEXT:
            column = column.dictionary_encode()
        columns[name] = pc.add(column, 0.0) if name == c.EVENT_VALUE else column
    return pa.table(columns)


def compact(column: c.Array) -> c.Array:
    """A dictionary column with no text in its dictionary that stands in no row."""
    codes = column.indices.drop_null().to_numpy()
    used = np.flatnonzero(np.bincount(codes, minlength=len(column.dictionary)))
    if len(used) == len(column.dictionary):
        return column
    place = np.zeros(len(column.dictionary), dtype=np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    codes = pc.take(pa.array(place), column.indices)
    return pa.DictionaryArray.from_arrays(codes, column.dictionary.take(pa.array(used)))


def together(tables: Sequence[pa.Table]) -> pa.Table:
    """Folded tables as one, each column a single array."""
    whole = pa.concat_tables(tables, promote_options="default")
    return pa.table({name: one_array(whole.column(name)) for name in whole.column_names})


@dataclass(frozen=True, eq=False, repr=False)
class Folded:
    """Rows in ascending order, no two the same.

    `values` holds the distinct values of a column, ascending; `codes` the place of each row's
    value in it, one beyond the last for null. A column that is in neither is null.
    """

    values: dict[str, c.Array]
    codes: dict[str, Codes]
    timestamp: c.Numbers

    def __len__(self) -> int:
        return len(self.timestamp)

    def at(self, rows: npt.NDArray[np.bool_] | c.Numbers | slice) -> Folded:
        """Some of the rows."""
        codes = {name: codes[rows] for name, codes in self.codes.items()}
        return Folded(self.values, codes, self.timestamp[rows])

    def table(self) -> pa.Table:
        """The rows in schema INTERACTIONS."""
        columns = []
        for field in c.INTERACTIONS:
            if field.name == c.TIMESTAMP:
                columns.append(pa.array(self.timestamp))
            elif field.name not in self.codes:
                columns.append(pa.nulls(len(self), field.type))
            else:
                codes, values = self.codes[field.name], self.values[field.name]
                columns.append(values.take(pa.array(codes, mask=codes == len(values))))
        return pa.table(columns, schema=c.INTERACTIONS)

    def months(self) -> Iterator[tuple[str, Folded]]:
        """The rows of each month (UTC) by its name, such as "2011-03", ascending."""
        number = month_numbers(self.timestamp)
        order = np.argsort(number, kind="stable")
        counts = np.bincount(number)
        ends = np.cumsum(counts)
        for one in np.flatnonzero(counts).tolist():
            yield month_name(one), self.at(order[ends[one] - counts[one] : ends[one]])


def month_numbers(seconds: c.Numbers) -> Months:
    """Months since 1970, UTC, of Unix seconds before 2100: small numbers, which sort fast.

    >>> [month_name(one) for one in month_numbers(np.array([0, 86_400 * 59]))]
    ['1970-01', '1970-03']
    """
    return _MONTH_OF_DAY[seconds // _DAY]


def month_name(number: int) -> str:
    """Such as "2011-03"."""
    return str(np.datetime64(int(number), "M"))


def distinct_rows(table: pa.Table) -> Folded:
    """A folded table sorted, equal rows once, and of the rows with one user and event id the first.

    Nulls sort last.
    """
    codes, values = dict[str, Codes](), dict[str, c.Array]()
    for name in table.column_names:
        if name != c.TIMESTAMP:
            codes[name], values[name] = _ranked(one_array(table.column(name)))
    times = one_array(table.column(c.TIMESTAMP)).to_numpy()
    start = times.min(initial=c.TIMESTAMP_LIMIT)
    held = [name for name in _ORDER if name in codes or name == c.TIMESTAMP]
    columns = [times - start if name == c.TIMESTAMP else codes.pop(name) for name in held]
    found = dict(zip(held, in_order(columns, distinct=True), strict=True))
    rows = Folded(values, found, found.pop(c.TIMESTAMP) + start)
    return _first_of_events(rows) if c.EVENT_ID in rows.codes else rows


def _ranked(column: c.Array) -> tuple[Codes, c.Array]:
    """Codes in the order of the values; one beyond the last for null."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    order = pc.sort_indices(column.dictionary)
    rank = np.empty(len(order) + 1, dtype=np.int32)
    rank[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    rank[-1] = len(order)
    places = pc.fill_null(column.indices, len(order)).to_numpy()
    return rank[places], column.dictionary.take(order)


def _first_of_events(rows: Folded) -> Folded:
    events, most = rows.codes[c.EVENT_ID], len(rows.values[c.EVENT_ID])
    named = np.flatnonzero(events < most)
    pairs = rows.codes[c.USER][named].astype(np.int64) * most + events[named]
    keep = events == most
    keep[named[np.unique(pairs, return_index=True)[1]]] = True
    return rows.at(keep)
