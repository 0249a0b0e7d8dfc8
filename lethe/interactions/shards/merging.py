"""Batches of interactions become one set of rows, whatever the order in which they came.

Here are the tables' own rules: what conforms, where a row lies, which rows are one, and the one
form in which a table is written, so that equal content is equal bytes.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from lethe.durable import replacing, sync_folder
from lethe.errors import ArtifactCorrupt
from lethe.interactions import columns as c
from lethe.interactions.intake.verdicts import mask
from lethe.interactions.shards.folding import (
    TEXTS,
    distinct_rows,
    fold,
    month_name,
    month_numbers,
    one_array,
    together,
)

_AHEAD: Final = 2
"""Tables that may wait to be written, or to be looked at; each is held in memory."""


def names_of(manifest: Mapping[str, Any]) -> str:
    """The generation of the names in the shards of a manifest; empty before the first name key."""
    return str(manifest.get("names", ""))


def laid_over(old: pa.Table, new: pa.Table, key: str) -> pa.Table:
    """Attributes `new` over `old`: where both name a key and a column, the new value stands.

    >>> old = pa.table({"item": ["a", "b"], "colour": ["red", "blue"]})
    >>> new = pa.table({"item": ["b", "c"], "size": ["s", "l"]})
    >>> laid_over(old, new, "item").to_pydict()["colour"]
    ['red', 'blue', None]
    """
    keys = pc.unique(pa.concat_tables([old.select([key]), new.select([key])]).column(0))
    in_old = pc.index_in(keys, value_set=old.column(key).combine_chunks())
    in_new = pc.index_in(keys, value_set=new.column(key).combine_chunks())
    columns = {key: keys}
    for name in dict.fromkeys((*old.column_names[1:], *new.column_names[1:])):
        missing = pa.nulls(len(keys), pa.string())
        was = old.column(name).take(in_old) if name in old.column_names else missing
        now = new.column(name).take(in_new) if name in new.column_names else was
        columns[name] = pc.if_else(pc.is_valid(in_new), now, was)
    return pa.table(columns)


def encoded(table: pa.Table) -> pa.Buffer:
    """A table as the bytes of its file; nothing where no row is left.

    Neither statistics nor dictionaries of people and events: both would keep an id in the file's
    footer or pages beside the rows themselves.
    """
    out = pa.BufferOutputStream()
    if table.num_rows:
        personal = (c.USER, c.EVENT_ID)
        parquet.write_table(
            table.combine_chunks(),
            out,
            compression="zstd",
            use_dictionary=[name for name in table.column_names if name not in personal],
            write_statistics=[c.TIMESTAMP] if c.TIMESTAMP in table.column_names else False,
            write_page_checksum=True,
            store_schema=False,
        )
    return out.getvalue()


def write_table(path: Path, content: pa.Table | pa.Buffer) -> None:
    """Write a table, encoded or not, or remove the file where no row is left."""
    content = encoded(content) if isinstance(content, pa.Table) else content
    if content.size:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        return
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_folder(path.parent)


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A file's table, or some columns of it in the order asked for; page checksums are checked.

    Raises:
        ArtifactCorrupt: it cannot be read; names it.
    """
    return _read(path, columns, ())


def read_folded(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """As `read_table`, texts of interactions as dictionaries."""
    return _read(path, columns, [name for name in TEXTS if columns is None or name in columns])


def read_ahead(
    paths: Sequence[Path],
    columns: Sequence[str] | None,
    read: Callable[[Path, Sequence[str] | None], pa.Table],
) -> Iterator[pa.Table]:
    """Each file's table in order; the next ones are read while one is looked at."""
    with ThreadPoolExecutor(_AHEAD) as threads:
        ahead = deque[Future[pa.Table]]()
        for path in paths:
            ahead.append(threads.submit(read, path, columns))
            if len(ahead) > _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _read(path: Path, columns: Sequence[str] | None, folded: Sequence[str]) -> pa.Table:
    options = {"page_checksum_verification": True, "read_dictionary": folded}
    try:
        with parquet.ParquetFile(path, **options) as file:
            table = file.read(None if columns is None else list(columns), use_threads=False)
            table = table.select(columns or table.column_names)
            return table.unify_dictionaries().combine_chunks() if folded else table.combine_chunks()
    except (pa.ArrowException, OSError):
        raise ArtifactCorrupt(f"{path.parent.name}/{path.name} cannot be read") from None


@dataclass(frozen=True, eq=False, repr=False)
class Merged:
    """A shard as it becomes: its month, rows, how many there were, and whether it changes."""

    month: str
    rows: pa.Table
    rows_before: int
    changed: bool


def merged(paths: dict[str, Path], new: pa.Table) -> Iterator[Merged]:
    """One bucket's shards that new rows, a folded table, touch: as they become, by month."""
    months = _months(new.column(c.TIMESTAMP))
    if c.EVENT_ID in new.column_names:
        events = one_array(new.column(c.EVENT_ID)).dictionary
        for month in paths.keys() - months:
            ids = read_table(paths[month], (c.EVENT_ID,)).column(0)
            if pc.any(pc.is_in(ids, value_set=events)).as_py():
                months.add(month)
    old = {month: fold(read_folded(paths[month])) for month in sorted(months & paths.keys())}
    before = {month: table.num_rows for month, table in old.items()}
    parts = dict(distinct_rows(together([*old.values(), new])).months())
    del old, new
    for month in sorted(months):
        rows = parts.pop(month).table() if month in parts else c.INTERACTIONS.empty_table()
        same = before.get(month) == rows.num_rows and rows.equals(read_table(paths[month]))
        yield Merged(month, rows, before.get(month, 0), not same)


def distinct(table: pa.Table) -> pa.Table:
    """Sorted rows, equal rows once, and of the rows with one user and event id only the first."""
    return distinct_rows(fold(table)).table()


def parted(table: pa.Table, people: c.Array) -> tuple[pa.Table, pa.Table] | None:
    """A table's rows: these people's, and everybody else's. None if it holds none of theirs."""
    theirs = mask(pc.is_in(table.column(c.USER), value_set=people).combine_chunks())
    if not theirs.any():
        return None
    ends = [0, *(np.flatnonzero(theirs[1:] != theirs[:-1]) + 1).tolist(), len(theirs)]
    # A person's rows lie side by side: what is between them is copied as a piece.
    pieces = [
        table.slice(start, end - start)
        for start, end in itertools.pairwise(ends)
        if not theirs[start]
    ]
    others = pa.concat_tables(pieces) if pieces else table.slice(0, 0)
    return table.filter(pa.array(theirs)), others


class Writing:
    """Tables on their way to disk: encoded side by side, written in the order given.

    Leaving the `with` block waits for all. Once one has failed, or the block has, none follows.
    """

    def __init__(self, write: Callable[[Path, pa.Buffer], None]) -> None:
        self._write = write
        self._failed = self._left = False  # the first is the thread's alone
        self._encoding, self._thread = ThreadPoolExecutor(_AHEAD), ThreadPoolExecutor(1)
        self._waiting = deque[Future[None]]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._left = kind is not None
        self._thread.shutdown()
        self._encoding.shutdown()
        while kind is None and self._waiting:
            self._waiting.popleft().result()

    def put(self, path: Path, table: pa.Table) -> None:
        """Write a table soon; raises what an earlier one raised."""
        while len(self._waiting) >= _AHEAD:
            self._waiting.popleft().result()
        content = self._encoding.submit(encoded, table)
        self._waiting.append(self._thread.submit(self._next, path, content))

    def _next(self, path: Path, content: Future[pa.Buffer]) -> None:
        if self._left or self._failed:
            return
        self._failed = True  # until it is written
        self._write(path, content.result())
        self._failed = False


def _months(times: pa.ChunkedArray) -> set[str]:
    held = np.bincount(month_numbers(one_array(times).to_numpy()))
    return {month_name(number) for number in np.flatnonzero(held).tolist()}
