"""Files that hold other files or values: zip, tar, parquet, Arrow, SQLite, git packs."""

from __future__ import annotations

import io
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from lethe.estate.search.pieces import Layer, Piece, guarded, layers, within

_ROWS = 2_000
_SLICE = 1 << 16
_LARGEST = 1 << 28
_MOST_ROWS = 1 << 26  # of a row group that is read at once: four bytes each
_BLOBS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"PK\x03\x04", b"PAR1", b"\x28\xb5\x2f\xfd",
          b"\x78\x9c", b"\x78\x01", b"\x78\xda", b"\x78\x5e")  # fmt: skip


def opened(start: bytes, seekable: Callable[[], Any], layer: Layer) -> Iterator[Piece] | None:
    """What a container holds that begins with `start`; None if it is no container."""
    if start[257:262] == b"ustar":
        return _archived(seekable(), layer.below("tar"))
    readers: dict[bytes, tuple[str, Callable[[Any, Layer], Iterator[Piece]]]] = {
        b"PAR1": ("parquet", _parquet),
        b"ARROW1\0\0": ("arrow", _arrow),
        b"PK\x03\x04": ("zip", _zipped),
        b"SQLite format 3\0": ("database", _cells_of),
        b"PACK\0\0\0": ("git pack", _git_objects),
    }
    for magic, (how, reader) in readers.items():
        if start.startswith(magic):
            return reader(seekable(), layer.below(how))
    return None


def _zipped(stream: Any, layer: Layer) -> Iterator[Piece]:
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            yield layer.piece(entry.filename.encode())
            yield from guarded(within(partial(archive.open, entry), layer), layer.effort)


def _archived(stream: Any, layer: Layer) -> Iterator[Piece]:
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for entry in archive:
            yield layer.piece("\n".join((entry.name, entry.linkname)).encode())
            if entry.isfile():
                inner = within(partial(_member, archive, entry), layer)
                yield from guarded(inner, layer.effort)


def _member(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Any:
    found = archive.extractfile(entry)
    if found is None:
        raise EOFError
    return found


def _parquet(stream: Any, layer: Layer) -> Iterator[Piece]:
    """Columns with a dictionary page as dictionaries, or a value that no row has would be missed.

    They are read by row groups: by batches, pyarrow would build each dictionary over and over.
    """
    import pyarrow.parquet as pq

    about = pq.ParquetFile(stream).metadata
    flat = {name for name in about.schema.names if "." not in name}
    for number in range(about.num_row_groups):
        told = about.row_group(number)
        columns = [told.column(place) for place in range(told.num_columns)]
        kept = {
            column.path_in_schema
            for column in columns
            if column.has_dictionary_page and column.physical_type == "BYTE_ARRAY"
        } & flat
        if told.num_rows > _MOST_ROWS:
            kept = set()
        table = pq.ParquetFile(
            stream, read_dictionary=sorted(kept), page_checksum_verification=True
        )
        for name in sorted(kept):
            group = table.read_row_group(number, [name], use_threads=False)
            yield from _columns(group.to_batches(), layer)
        others = [name for name in table.schema_arrow.names if name not in kept]
        if others:
            batches = table.iter_batches(row_groups=[number], columns=others, use_threads=False)
            yield from _columns(batches, layer)


def _arrow(stream: Any, layer: Layer) -> Iterator[Piece]:
    import pyarrow as pa

    reader = pa.ipc.open_file(stream)
    yield from _columns(map(reader.get_batch, range(reader.num_record_batches)), layer)


def _columns(batches: Iterable[Any], layer: Layer) -> Iterator[Piece]:
    """Every text of a table; where ids may lie every other value as well, as text.

    A text that a column repeats within a batch is given once.
    """
    import pyarrow as pa

    before: dict[int, Any] = {}
    for batch in batches:
        for number, column in enumerate(batch.columns):
            values = column
            if pa.types.is_dictionary(column.type):
                values, known = column.dictionary, before.get(number)
                before[number] = column.dictionary
                if known is not None and values[: len(known)].equals(known):
                    values = values[len(known) :]
            if content := _text_of(values, layer.fields):
                yield layer.piece(content)


def _text_of(values: Any, fields: bool) -> bytes:
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = pa.types
    texts = (kinds.is_string, kinds.is_large_string, kinds.is_binary, kinds.is_large_binary)
    if not any(kind(values.type) for kind in texts):
        if not fields and not kinds.is_nested(values.type):
            return b""
        if kinds.is_integer(values.type) or kinds.is_floating(values.type):
            values = pc.cast(values, pa.string())
        else:
            values = pa.array(map(str, values.drop_null().to_pylist()), pa.string())
    values.validate(full=True)  # text that is none was not decoded rightly
    different = pc.cast(values.drop_null().unique(), pa.large_binary())
    one = pa.ListArray.from_arrays([0, len(different)], different)
    return bytes(pc.binary_join(one, pa.scalar(b"\n", pa.large_binary()))[0].as_py() or b"")


def cells(path: Path, layer: Layer) -> Iterator[Piece]:
    """Every text of a database: a long one lies on several pages, in parts."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=5)) as link:
        yield from _rows(link, layer)


def _cells_of(stream: Any, layer: Layer) -> Iterator[Piece]:
    """The same of a database inside a wrapping, which is read in memory."""
    content = bytearray(stream.read(_LARGEST))
    layer.effort.fault |= bool(stream.read(1))
    content[18:20] = b"\1\1"  # no write-ahead log: in memory there is none
    with closing(sqlite3.connect(":memory:")) as link:
        link.deserialize(bytes(content))
        yield from _rows(link, layer)


def _rows(link: sqlite3.Connection, layer: Layer) -> Iterator[Piece]:
    link.text_factory = bytes
    tables = link.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        quoted = table.decode().replace('"', '""')
        rows = link.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 - its own table
        while some := rows.fetchmany(_ROWS):
            held = [cell for row in some for cell in row if type(cell) is bytes]
            yield layer.piece(b"\n".join(held))
            for cell in held:
                if cell.startswith(_BLOBS):
                    yield from _beyond_its_bytes(cell, layer)


def _beyond_its_bytes(content: bytes, layer: Layer) -> Iterator[Piece]:
    """What bytes decode to that were looked at themselves already."""
    if layer.depth < 0:
        layer.effort.fault = True
        return
    yield from (p for p in layers(io.BytesIO(content), layer) if p.how != layer.how)


def _git_objects(stream: Any, layer: Layer) -> Iterator[Piece]:
    """Every object of a git pack, inflated; of a difference to another one, what it adds.

    The format is that of gitformat-pack(5).
    """
    header = stream.read(12)
    for _ in range(int.from_bytes(header[8:12], "big")):
        kind, byte = None, 0x80
        while byte & 0x80:
            byte = stream.read(1)[0]
            kind = (byte >> 4) & 7 if kind is None else kind
        if kind == 6:  # noqa: PLR2004 - the base lies so many bytes before
            while stream.read(1)[0] & 0x80:
                continue
        elif kind == 7:  # noqa: PLR2004 - the base has this name
            stream.read(20)
        yield from layers(io.BytesIO(_inflated(stream)), layer)


def _inflated(stream: Any) -> bytes:
    """One zlib stream; the stream below stands right after it."""
    inflating, parts, size = zlib.decompressobj(), [], 0
    while not inflating.eof:
        given = stream.read(_SLICE)
        parts.append(inflating.decompress(given, _LARGEST))
        size += len(parts[-1])
        if size >= _LARGEST or not given:
            raise EOFError
    stream.seek(-len(inflating.unused_data), io.SEEK_CUR)
    return b"".join(parts)
