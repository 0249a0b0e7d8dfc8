"""A file in pieces of bounded size: its bytes, and what they decode to."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

_CHUNK = 1 << 22
_OVERLAP = 1 << 10
_NESTING = 3
_MOST_DECODED = 1 << 34
_IN_MEMORY = 1 << 28
_ROWS = 2_000
_UNDECODABLE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
                RuntimeError, NotImplementedError, sqlite3.Error)  # fmt: skip
_STREAMS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_FOREIGN = (b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"Rar!", b"\x04\x22\x4d\x18", b"\x1f\x9d")


@dataclass(frozen=True)
class Piece:
    """A part of a file. At an edge that is not the file's own, a word may be cut off."""

    content: bytes
    first: bool = True
    last: bool = True

    def whole(self, match: re.Match[bytes]) -> bool:
        """False if the match could be part of a longer word."""
        starts = self.first or match.start() > 0
        return starts and (self.last or match.end() < len(self.content))


@dataclass
class Effort:
    """How many decoded bytes may still come, and whether something stayed undecoded."""

    left: int = _MOST_DECODED
    fault: bool = False


def pieces(path: Path, effort: Effort | None = None, fields: bool = True) -> Iterator[Piece]:
    """The file's bytes, and what they decode to, in overlapping pieces of bounded size."""
    effort = effort or Effort()
    with path.open("rb") as stream:
        if stream.read(16) == b"SQLite format 3\0":
            stream.seek(0)
            yield from _overlapping(stream)
            yield from _guarded(_cells(path), effort)
        else:
            yield from _layers(stream, effort, fields, _NESTING)


def _layers(stream: Any, effort: Effort, fields: bool, depth: int) -> Iterator[Piece]:
    stream.seek(0)
    start = stream.read(16)
    stream.seek(0)
    yield from _overlapping(stream)
    stream.seek(0)
    if start.startswith(_FOREIGN):
        effort.fault = True
    elif start.startswith(b"PAR1"):
        yield from _guarded(_columns(_seekable(stream, effort), fields), effort)
    elif start.startswith(b"PK\x03\x04"):
        yield from _guarded(_members(_seekable(stream, effort), effort, fields, depth), effort)
    for magic, opened in _STREAMS.items():
        if start.startswith(magic):
            yield from _guarded(_inner(partial(opened, stream), effort, fields, depth), effort)


def _overlapping(stream: Any) -> Iterator[Piece]:
    tail, chunk = b"", stream.read(_CHUNK)
    first = True
    while chunk:
        after = stream.read(_CHUNK)
        yield Piece(tail + chunk, first, not after)
        tail, chunk, first = (tail + chunk)[-_OVERLAP:], after, False


def _guarded(decoded: Iterator[Piece], effort: Effort) -> Iterator[Piece]:
    """What can be decoded; where that ends early, the effort notes it."""
    import pyarrow as pa

    try:
        for piece in decoded:
            effort.left -= len(piece.content)
            if effort.left < 0:
                effort.fault = True
                return
            yield piece
    except (*_UNDECODABLE, pa.ArrowException):
        effort.fault = True


@dataclass
class _Decoded:
    """A decoding stream that ends where it breaks, after all that came before."""

    stream: Any
    effort: Effort

    def seek(self, at: int) -> None:
        self.stream.seek(at)

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            try:
                part = self.stream.read1(size)
            except _UNDECODABLE:
                self.effort.fault = True
                break
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _seekable(stream: Any, effort: Effort) -> Any:
    """The stream itself, or its content in memory if it can only be read forwards."""
    if not isinstance(stream, _Decoded):
        return stream
    content = stream.read(_IN_MEMORY)
    effort.fault |= bool(stream.read(1))
    return io.BytesIO(content)


def _inner(
    opened: Callable[[], IO[bytes]], effort: Effort, fields: bool, depth: int
) -> Iterator[Piece]:
    if depth == 0:
        effort.fault = True
        return
    with opened() as stream:
        yield from _layers(_Decoded(stream, effort), effort, fields, depth - 1)


def _members(stream: Any, effort: Effort, fields: bool, depth: int) -> Iterator[Piece]:
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            yield Piece(entry.filename.encode())
            inner = _inner(partial(archive.open, entry), effort, fields, depth)
            yield from _guarded(inner, effort)


def _columns(stream: Any, fields: bool) -> Iterator[Piece]:
    """Every text of a parquet file; where ids may lie every other value as well, as text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = pa.types
    for batch in pq.ParquetFile(stream).iter_batches():
        for column in batch.columns:
            values = column.dictionary_decode() if kinds.is_dictionary(column.type) else column
            if kinds.is_string(values.type) or kinds.is_large_string(values.type):
                yield Piece("\n".join(values.drop_null().unique().to_pylist()).encode())
            elif kinds.is_binary(values.type) or kinds.is_large_binary(values.type):
                yield Piece(b"\n".join(values.drop_null().unique().to_pylist()))
            elif fields or kinds.is_nested(values.type):
                yield Piece("\n".join(map(str, values.drop_null().to_pylist())).encode())


def _cells(path: Path) -> Iterator[Piece]:
    """Every text of a database: a long one lies on several pages, in parts."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=5)) as link:
        link.text_factory = bytes
        tables = link.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            quoted = table.decode().replace('"', '""')
            rows = link.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 - its own table
            while some := rows.fetchmany(_ROWS):
                yield Piece(b"\n".join(cell for row in some for cell in row if type(cell) is bytes))
