"""Tables on their way into the shards: what conforms, whose bucket it is, and where it waits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from lethe.errors import BadInput
from lethe.interactions import columns as c
from lethe.interactions.intake.verdicts import mask
from lethe.interactions.shards.folding import compact, fold, one_array, together

_PSEUDONYM: Final = r"\A[0-9a-f]{32}\z"
_DIGITS: Final = np.zeros(256, np.uint8)
_DIGITS[list(b"0123456789abcdef")] = range(16)


@dataclass(frozen=True)
class Appended:
    """What an append did: rows that are new, and rows that were there already."""

    rows_new: int
    rows_duplicate: int


class Gathering:
    """Tables waiting to be merged, by user bucket; beyond `spill_bytes` they wait in `folder`.

    They wait folded (see `folding`). `appended` is set once they have been merged.
    """

    def __init__(self, folder: Path, buckets: int, spill_bytes: int) -> None:
        self._folder, self._buckets, self._spill_bytes = folder, buckets, spill_bytes
        self._tables: dict[int, list[pa.Table]] = {}
        self._bytes = 0
        self._spilled: list[tuple[int, Path]] = []
        self.rows = 0
        self.appended = Appended(0, 0)

    def add(self, table: pa.Table) -> None:
        """Take a table in schema INTERACTIONS whose users are pseudonyms; texts may be folded.

        Raises:
            BadInput: another schema, a null in a required column, a user that is no pseudonym, a
                timestamp out of range, a value that is not finite.
        """
        for number, part in _by_bucket(conforming(table), self._buckets):
            self._tables.setdefault(number, []).append(part)
            self._bytes += part.nbytes
        self.rows += table.num_rows
        if self._bytes > self._spill_bytes:
            self._spill()

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """What is added within this block stays if the block ends well; otherwise none of it.

        Whole files take turns in one gathering, so that many of them rewrite a shard once.
        """
        tables, size, spilled, rows = self._tables, self._bytes, len(self._spilled), self.rows

        def take_back() -> None:
            for _, path in self._spilled[spilled:]:
                path.unlink(missing_ok=True)
            del self._spilled[spilled:]
            self._tables, self._bytes, self.rows = tables, size, rows

        self._tables, self._bytes = {}, 0
        with contextlib.ExitStack() as unless_it_ends_well:
            unless_it_ends_well.callback(take_back)
            yield
            unless_it_ends_well.pop_all()
        for number, parts in self._tables.items():
            tables.setdefault(number, []).extend(parts)
        self._tables, self._bytes = tables, self._bytes + size
        if self._bytes > self._spill_bytes:
            self._spill()

    def merged_buckets(self) -> Iterator[tuple[int, pa.Table]]:
        """Each bucket that was added to, with all of its rows as a folded table, ascending."""
        for number in sorted({*self._tables, *(bucket for bucket, _ in self._spilled)}):
            parts = self._tables.pop(number, [])
            for bucket, path in self._spilled:
                if bucket == number:
                    with ipc.open_file(path) as file:
                        parts.append(file.read_all())
            yield number, together(parts)

    def _spill(self) -> None:
        for number in list(self._tables):
            path = self._folder / f"{len(self._spilled)}.arrow"
            table = together(self._tables.pop(number))
            with ipc.new_file(path, table.schema) as file:
                file.write_table(table)
            self._spilled.append((number, path))
        self._bytes = 0


def _by_bucket(table: pa.Table, buckets: int) -> Iterator[tuple[int, pa.Table]]:
    """A folded table cut by the user's bucket; no part holds a user of another bucket."""
    users = one_array(table.column(c.USER))
    bucket = buckets_of(users.dictionary, buckets).astype(np.uint8)[users.indices.to_numpy()]
    order = np.argsort(bucket, kind="stable")  # of so small numbers, a pass over the rows
    table = table.take(pa.array(order)).combine_chunks()
    counts = np.bincount(bucket, minlength=buckets)
    ends = np.cumsum(counts)
    for number in np.flatnonzero(counts).tolist():
        part = table.slice(int(ends[number] - counts[number]), int(counts[number]))
        place = part.column_names.index(c.USER)
        yield number, part.set_column(place, c.USER, compact(one_array(part.column(c.USER))))


def conforming(table: pa.Table) -> pa.Table:
    """`table` folded, in exactly the schema's types, -0.0 written as 0.0; BadInput if it is not.

    Messages count rows and never show one.
    """
    if set(table.column_names) != set(c.INTERACTIONS.names):
        raise BadInput("interactions have other columns than the schema's")
    try:
        table = fold(
            pa.table(
                {
                    field.name: table.column(field.name)
                    if pa.types.is_dictionary(table.column(field.name).type)
                    else table.column(field.name).cast(field.type)
                    for field in c.INTERACTIONS
                }
            )
        )
    except pa.ArrowInvalid:
        raise BadInput("interactions cannot be cast to the schema") from None
    blank = [name for name in c.REQUIRED if table.column(name).null_count]
    if blank:
        raise BadInput(f"interactions without {', '.join(blank)}")
    check_pseudonyms(table.column(c.USER))
    time = table.column(c.TIMESTAMP)
    wrong = mask(pc.or_(pc.less(time, 0), pc.greater_equal(time, c.TIMESTAMP_LIMIT)))
    if c.EVENT_VALUE in table.column_names:
        wrong |= mask(pc.invert(pc.is_finite(table.column(c.EVENT_VALUE))))
    if wrong.any():
        raise BadInput(f"{int(wrong.sum())} interactions with a time or value out of range")
    return table


def check_pseudonyms(users: c.Array) -> None:
    """Raise BadInput where a text is not 32 lower-case hex characters: raw ids stop here."""
    if isinstance(users, pa.ChunkedArray):
        users = one_array(users)
    if pa.types.is_dictionary(users.type):
        good = mask(c.matching(users.dictionary, _PSEUDONYM))[users.indices.to_numpy()]
    else:
        good = mask(c.matching(users, _PSEUDONYM))
    if wrong := len(users) - int(good.sum()):
        raise BadInput(f"{wrong} of {len(users)} rows carry a user that is not a pseudonym")


def buckets_of(users: c.Array, buckets: int) -> c.Numbers:
    """The bucket of each pseudonym: its first four hex digits, modulo `buckets`.

    >>> buckets_of(pa.array(["000b" + "0" * 28, "ffff" + "0" * 28]), 8).tolist()
    [3, 7]
    """
    if isinstance(users, pa.ChunkedArray):
        users = users.combine_chunks()
    four = pc.cast(pc.utf8_slice_codeunits(users, 0, 4), pa.binary(4))
    digits = np.frombuffer(four.buffers()[1], np.uint8).reshape(-1, 4)[four.offset :][: len(users)]
    values = _DIGITS[digits].astype(np.int64) @ (4096, 256, 16, 1)
    numbers: c.Numbers = values % buckets
    return numbers
