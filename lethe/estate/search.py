"""Looking for people in every store: decoding what compresses, counting places, naming nobody.

Pseudonyms are 32 hexadecimal characters and are found by that shape in any bytes. Ids as the shop
writes them can be as short as "7": where they may lie they are looked for as whole fields; in all
other stores only ids of at least `DISTINCTIVE` bytes are looked for, anywhere, since a shorter one
cannot be told from a count.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lethe.estate.stores import STORES, Store, files_of
from lethe.estate.workspace import Workspace

DISTINCTIVE = 8
_HEX = re.compile(rb"[0-9a-f]{32}")
_FIELD = re.compile(rb"[^\x00-\x1f,;|\t\"'<>{}\[\]:=]+")
_CHUNK = 1 << 22
_OVERLAP = 1 << 10


@dataclass(frozen=True)
class Hits:
    """In how many files of which store something was found, and how much was looked at.

    `short_ids` counts ids that could only be looked for where ids may lie.
    """

    files_by_store: dict[str, int]
    files_searched: int
    bytes_searched: int
    short_ids: int

    @property
    def total(self) -> int:
        """Files with a hit, over all stores."""
        return sum(self.files_by_store.values())


@dataclass(frozen=True)
class Needles:
    """Whom to look for. The repr hides them."""

    pseudonyms: frozenset[bytes]
    ids: frozenset[bytes]

    @classmethod
    def of(cls, pseudonyms: Iterable[str], ids: Iterable[str]) -> Needles:
        """From text."""
        return cls(
            frozenset(name.encode() for name in pseudonyms),
            frozenset(name.encode() for name in ids),
        )

    def __repr__(self) -> str:
        return f"Needles({len(self.pseudonyms)} pseudonyms, {len(self.ids)} ids)"

    def __bool__(self) -> bool:
        return bool(self.pseudonyms or self.ids)

    def found_in(self, content: bytes, fields: bool) -> bool:
        """True if a piece of content holds anybody; `fields` looks for short ids as well."""
        if any(match.group() in self.pseudonyms for match in _HEX.finditer(content)):
            return True
        if fields and any(
            match.group().strip(b" ") in self.ids for match in _FIELD.finditer(content)
        ):
            return True
        return any(len(name) >= DISTINCTIVE and name in content for name in self.ids)


def search(workspace: Workspace, needles: Needles, *, before_closing: bool) -> Hits:
    """Look for `needles` in every declared store.

    `before_closing` leaves out the stores that keep the person until the request is closed.
    A file that cannot be decoded is searched as it is and counted like any other.
    """
    found: dict[str, int] = {}
    files = size = 0
    for store in STORES:
        if before_closing and store.kept_until_closed:
            continue
        for path in files_of(workspace, store):
            files += 1
            size += path.stat().st_size
            if _holds(path, needles, store):
                found[store.name] = found.get(store.name, 0) + 1
    short = sum(len(name) < DISTINCTIVE for name in needles.ids)
    return Hits(found, files, size, short)


def _holds(path: Path, needles: Needles, store: Store) -> bool:
    return any(needles.found_in(piece, store.raw_ids) for piece in _pieces(path))


def _pieces(path: Path) -> Iterator[bytes]:
    """The file's bytes, overlapping by `_OVERLAP`, and what they decode to."""
    tail = b""
    with path.open("rb") as stream:
        start = stream.read(4)
        stream.seek(0)
        while chunk := stream.read(_CHUNK):
            yield tail + chunk
            tail = chunk[-_OVERLAP:]
    if start[:2] == b"\x1f\x8b":
        yield _gunzipped(path)
    elif start == b"PAR1":
        yield from _columns(path)
    elif start == b"PK\x03\x04":
        yield from _members(path)


def _gunzipped(path: Path) -> bytes:
    """As far as the file can be decompressed; a cut-off file still shows its beginning."""
    out = bytearray()
    try:
        with gzip.open(path) as stream:
            while chunk := stream.read(_CHUNK):
                out += chunk
    except (OSError, EOFError, zlib.error):
        return bytes(out)
    return bytes(out)


def _columns(path: Path) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        shard = pq.ParquetFile(path)
        for batch in shard.iter_batches():
            for column in batch.columns:
                if pa.types.is_string(column.type):
                    yield "\n".join(column.drop_null().unique().to_pylist()).encode()
    except (OSError, pa.ArrowException):
        return


def _members(path: Path) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            for name in archive.namelist():
                yield archive.read(name)
    except (OSError, zipfile.BadZipFile, zlib.error):
        return
