"""Raw ids in rows become pseudonyms, and rows of lives that are over fall out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lethe.interactions.columns import TIMESTAMP, USER
from lethe.interactions.rights.identity import Identity


def pseudonymised(
    table: pa.Table, identified: Callable[[Sequence[str]], Sequence[Identity]]
) -> pa.Table:
    """The rows that may stay, `user` now a pseudonym.

    `identified` answers one identity for each distinct raw id, in the order given. Rows of erased
    lives go, and of a new life those from before it began.
    """
    column = table[USER].combine_chunks().dictionary_encode()
    people = identified(column.dictionary.to_pylist())
    codes = pa.array([person.pseudonym for person in people], pa.string())
    gone = pa.array([person.erased for person in people], pa.bool_())
    start = pa.array([person.not_before for person in people], pa.int64())
    stays = pc.and_(
        pc.invert(gone.take(column.indices)),
        pc.greater_equal(table[TIMESTAMP].combine_chunks(), start.take(column.indices)),
    )
    place = table.column_names.index(USER)
    return table.set_column(place, USER, codes.take(column.indices)).filter(stays)
