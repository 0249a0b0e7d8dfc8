"""Tables of recommendations: USER_ID, ITEM_ID, RANK and SCORE, as CSV or parquet.

Ids are the shop's own and stand in USER_ID alone: items and ranks can read like one. A user's rows
lie together; taking somebody out changes no byte of anybody else's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from lethe.errors import ArtifactCorrupt, StoreUnavailable

Form = Literal["csv", "parquet"]

USER, ITEM, RANK, SCORE = "USER_ID", "ITEM_ID", "RANK", "SCORE"
SCHEMA: Final = pa.schema(
    [(USER, pa.string()), (ITEM, pa.string()), (RANK, pa.int32()), (SCORE, pa.float32())]
)
_HEADER: Final = ",".join(f'"{name}"' for name in SCHEMA.names).encode() + b"\n"
_LINE_BREAK: Final = re.compile(r"[\r\n]")
_BLOCK: Final = 1 << 22  # bytes
_ROWS: Final = 1 << 17


def writer(path: Path, form: Form) -> AbstractContextManager[Any]:
    """What writes tables of `SCHEMA` into a file, with its method `write_table`."""
    made: AbstractContextManager[Any] = (
        pq.ParquetWriter(path, SCHEMA, compression="zstd")
        if form == "parquet"
        else pcsv.CSVWriter(path, SCHEMA)
    )
    return made


def fits(names: Iterable[str], form: Form) -> bool:
    """Whether ids can stand in a table of this form: of a CSV every line must be one row."""
    return form == "parquet" or not any(_LINE_BREAK.search(name) for name in names)


def runs(path: Path, form: Form) -> Iterator[tuple[str, int]]:
    """(user, rows) of a table, in its order; a user's rows can come in several runs.

    Raises:
        ArtifactCorrupt: it is no such table, or not whole.
        StoreUnavailable: it cannot be read.
    """
    for block in _blocks(path, form, [USER]):
        found = pc.run_end_encode(block.column(USER).combine_chunks())
        before = 0
        for user, end in zip(found.values.to_pylist(), found.run_ends.to_pylist(), strict=True):
            yield user or "", end - before
            before = end


def users_in(path: Path, form: Form) -> list[str]:
    """Everybody in a table, each once, in its order; errors as of `runs`."""
    return [user for user in dict.fromkeys(user for user, _ in runs(path, form)) if user]


def rows_of(path: Path, form: Form, users: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rows of some users, as a mapping by column; errors as of `runs`."""
    wanted = pa.array(sorted(users), pa.string())
    for block in _blocks(path, form, SCHEMA.names):
        yield from block.filter(pc.is_in(block.column(USER), value_set=wanted)).to_pylist()


def _blocks(path: Path, form: Form, columns: list[str]) -> Iterator[pa.Table]:
    try:
        yield from (_row_groups if form == "parquet" else _lines)(path, columns)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno:
            raise StoreUnavailable(f"{path.name} cannot be read: {error.strerror}") from None
        raise ArtifactCorrupt(f"{path.name} is not a whole table of recommendations") from None


def _row_groups(path: Path, columns: list[str]) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        if not file.schema_arrow.equals(SCHEMA):
            raise ArtifactCorrupt(f"{path.name} is no table of recommendations")
        for batch in file.iter_batches(_ROWS, columns=columns):
            yield pa.Table.from_batches([batch])


def _lines(path: Path, columns: list[str]) -> Iterator[pa.Table]:
    with path.open("rb") as stream:
        if stream.readline(len(_HEADER)) != _HEADER:
            raise ArtifactCorrupt(f"{path.name} is no table of recommendations")
        stream.seek(-1, os.SEEK_END)
        if stream.read() != b"\n":
            raise ArtifactCorrupt(f"{path.name} ends in the middle of a row")
        if stream.tell() == len(_HEADER):
            return
    converting = pcsv.ConvertOptions(
        include_columns=columns, column_types={one.name: one.type for one in SCHEMA}
    )
    with pcsv.open_csv(
        path, read_options=pcsv.ReadOptions(block_size=_BLOCK), convert_options=converting
    ) as reading:
        for batch in reading:
            yield pa.Table.from_batches([batch])


def without(path: Path, form: Form, into: Path, people: Collection[str]) -> tuple[int, int]:
    """Copy a table into another file (0600) without some people; users and rows that are left.

    Of a CSV the lines that stay are copied as they are. Errors as of `runs`.

    Raises:
        OSError: the disk refused.
    """
    gone, users, row = list[tuple[int, int]](), set[str](), 0
    for user, rows in runs(path, form):
        if user in people:
            gone.append((row, row + rows))
        else:
            users.add(user)
        row += rows
    (_copy_rows if form == "parquet" else _copy_lines)(path, into, gone)
    into.chmod(0o600)
    return len(users), row - sum(end - start for start, end in gone)


def _copy_rows(path: Path, into: Path, gone: list[tuple[int, int]]) -> None:
    first = 0
    with pq.ParquetFile(path) as file, writer(into, "parquet") as out:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            stays = np.ones(len(rows), np.bool_)
            for start, end in gone:
                stays[max(start - first, 0) : max(end - first, 0)] = False
            first += len(rows)
            out.write_table(rows.filter(pa.array(stays)))


def _copy_lines(path: Path, into: Path, gone: list[tuple[int, int]]) -> None:
    bounds = _offsets(path, [row + 1 for pair in gone for row in pair])  # line 0 is the header
    with path.open("rb") as source, into.open("wb") as out:
        for start, end in zip(bounds[::2], bounds[1::2], strict=True):
            _copy(source, out, start - source.tell())
            source.seek(end)
        _copy(source, out, path.stat().st_size - source.tell())


def _copy(source: Any, out: Any, left: int) -> None:
    while left and (chunk := source.read(min(_BLOCK, left))):
        out.write(chunk)
        left -= len(chunk)


def _offsets(path: Path, lines: list[int]) -> list[int]:
    """Where each of these lines begins, in bytes; they ascend, and the end of the file is one."""
    found, passed, base = list[int](), 0, 0
    with path.open("rb") as source:
        while chunk := source.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n")) + 1
            while len(found) < len(lines) and lines[len(found)] <= passed + len(ends):
                found.append(base + int(ends[lines[len(found)] - passed - 1]))
            passed, base = passed + len(ends), base + len(chunk)
    return found + [base] * (len(lines) - len(found))
