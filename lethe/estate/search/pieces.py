"""A file in pieces of bounded size: its bytes, and what they decode to."""

from __future__ import annotations

import io
import lzma
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lethe.estate.search.streams import STREAMS

_CHUNK = 1 << 22
_OVERLAP = 1 << 11
_NESTING = 3
_MOST_DECODED = 1 << 34
_IN_MEMORY = 1 << 28
_START = 512
_UNDECODABLE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
                tarfile.TarError, RuntimeError, sqlite3.Error)  # fmt: skip
_FOREIGN = (b"7z\xbc\xaf", b"Rar!", b"\x1f\x9d", b"MSCF")
_UNSURE = {"zlib", "lzma"}  # two or three bytes with which a text can begin as well


@dataclass(frozen=True)
class Piece:
    """A part of a file. At an edge that is not the file's own, a word may be cut off.

    `seen` counts the bytes at the beginning that the piece before ended with; `how` names what was
    undone to get here, the outermost first.
    """

    content: bytes
    first: bool = True
    last: bool = True
    seen: int = 0
    how: tuple[str, ...] = ()

    def whole(self, start: int, end: int) -> bool:
        """False if what lies there could be part of a longer word."""
        return (self.first or start > 0) and (self.last or end < len(self.content))

    def is_new(self, end: int) -> bool:
        """False if what ends there is counted in the piece before or in the one after."""
        return end >= self.seen and (self.last or end < len(self.content))


@dataclass
class Effort:
    """How many decoded bytes may still come, and whether something stayed undecoded."""

    left: int = _MOST_DECODED
    fault: bool = False


@dataclass(frozen=True)
class Layer:
    """What is being decoded: under how many wrappings, where ids may lie, with which effort."""

    effort: Effort
    fields: bool
    depth: int = _NESTING
    how: tuple[str, ...] = ()

    def below(self, how: str) -> Layer:
        """One wrapping further in."""
        return replace(self, depth=self.depth - 1, how=(*self.how, how))

    def piece(self, content: bytes) -> Piece:
        """A piece that stands for itself."""
        return Piece(content, how=self.how)


def pieces(path: Path, effort: Effort | None = None, fields: bool = True) -> Iterator[Piece]:
    """The file's bytes, and what they decode to, in overlapping pieces of bounded size."""
    layer = Layer(effort or Effort(), fields)
    with path.open("rb") as stream:
        if stream.read(16) == b"SQLite format 3\0":
            from lethe.estate.search.containers import cells

            yield from _overlapping(stream, ())
            yield from guarded(cells(path, layer.below("database")), layer.effort)
        else:
            yield from layers(stream, layer)


def layers(stream: Any, layer: Layer) -> Iterator[Piece]:
    """The bytes of a seekable stream, and what they decode to."""
    from lethe.estate.search.containers import opened

    stream.seek(0)
    start = stream.read(_START)
    yield from _overlapping(stream, layer.how)
    stream.seek(0)
    if start.startswith(_FOREIGN):
        layer.effort.fault = True
    inner = opened(start, partial(_seekable, stream, layer.effort), layer)
    if inner is not None:
        yield from guarded(inner, layer.effort)
        return
    for magic, (how, decoder) in STREAMS.items():
        if start.startswith(magic):
            yield from _decoded(how, partial(decoder, stream), layer)


def _decoded(
    how: str, opening: Callable[[], AbstractContextManager[Any]], layer: Layer
) -> Iterator[Piece]:
    """A compressed stream; one that is none from its first byte on may be text after all."""
    before, found = layer.effort.fault, 0
    for piece in guarded(within(opening, layer.below(how)), layer.effort):
        found += len(piece.content)
        yield piece
    if how in _UNSURE and not found:
        layer.effort.fault = before


def within(opening: Callable[[], AbstractContextManager[Any]], layer: Layer) -> Iterator[Piece]:
    """What a wrapping holds; under too many of them nobody looks further."""
    if layer.depth < 0:
        layer.effort.fault = True
        return
    with opening() as stream:
        yield from layers(_Decoded(stream, layer.effort), layer)


def _overlapping(stream: Any, how: tuple[str, ...]) -> Iterator[Piece]:
    stream.seek(0)
    tail, chunk = b"", stream.read(_CHUNK)
    first = True
    while chunk:
        after = stream.read(_CHUNK)
        content = tail + chunk
        yield Piece(content, first, not after, len(tail), how)
        tail, chunk, first = content[-_OVERLAP:], after, False


def guarded(decoded: Iterator[Piece], effort: Effort) -> Iterator[Piece]:
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
