"""Looking for a person in a folder, without a line of the code that is being judged.

Every file is read as bytes; what is compressed is decompressed, parquet is read column by column,
SQLite table by table (its free pages are in the bytes). Each name is looked for in eight spellings.
"""

from __future__ import annotations

import base64
import gzip
import io
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq


def spellings(name: str) -> set[bytes]:
    """A name as text, as UTF-16, in hexadecimal, and in base64 at its three offsets."""
    raw = name.encode()
    found = {raw, name.encode("utf-16-le"), raw.hex().encode(), raw.hex().upper().encode()}
    for offset in range(3):
        body = base64.b64encode(b"\0" * offset + raw)
        found.add(body[4 if offset else 0 : len(body) // 4 * 4 - 4])
    return found


def contents(path: Path) -> Iterator[bytes]:
    """A file's bytes, and everything that they decode to."""
    raw = path.read_bytes()
    yield raw
    if raw.startswith(b"\x1f\x8b"):
        yield gzip.decompress(raw)
    elif raw.startswith(b"PAR1"):
        for column in pq.read_table(io.BytesIO(raw)).columns:
            yield "\n".join(map(str, column.to_pylist())).encode()
    elif raw.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    elif raw.startswith(b"SQLite format 3"):
        yield from _tables(path)


def _tables(path: Path) -> Iterator[bytes]:
    link = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        for (name,) in link.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
            for row in link.execute(f'SELECT * FROM "{name}"'):  # noqa: S608 - its own table
                yield "\n".join(map(str, row)).encode()
    finally:
        link.close()


def found(folder: Path, names: Iterable[str]) -> list[str]:
    """Which files below `folder` hold one of the names, in their content or in their own name."""
    needles = {form for name in names for form in spellings(name)}
    assert needles, "nobody to look for"
    hits = []
    for path in sorted(folder.rglob("*")):
        shown = path.relative_to(folder).as_posix()
        told = [shown.encode(), *(contents(path) if path.is_file() else ())]
        if any(needle in content for content in told for needle in needles):
            hits.append(shown)
    return hits
