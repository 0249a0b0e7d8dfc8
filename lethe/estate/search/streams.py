"""Decompressors that read forwards, and from the start again."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

Read = Callable[[int], bytes]


@dataclass
class _Undone:
    """A stream with its wrapping undone, read forwards and from the start again.

    `begin` starts at the beginning of the stream below and answers how to read on.
    """

    stream: Any
    begin: Callable[[Any], Read]

    def __enter__(self) -> _Undone:
        self.seek(0)
        return self

    def __exit__(self, *_: object) -> None:
        pass  # the stream below is not ours to close

    def seek(self, at: int) -> None:
        self.stream.seek(at)
        self.read1 = self.begin(self.stream)


def _inflating(stream: Any) -> Read:
    """zlib, such as a git object."""
    inflater, rest = zlib.decompressobj(), b""

    def read(size: int) -> bytes:
        nonlocal rest
        while not inflater.eof:
            given = rest or stream.read(1 << 16)
            part = inflater.decompress(given, size)
            rest = inflater.unconsumed_tail
            if part:
                return part
            if not given:
                raise EOFError
        return b""

    return read


@dataclass
class _LeftOpen:
    """A stream that pyarrow must not close when it is done."""

    stream: Any
    closed: bool = False

    def read(self, size: int) -> bytes:
        return bytes(self.stream.read(size))

    def close(self) -> None:
        self.closed = True


def _unpacking(codec: str) -> Callable[[Any], Read]:
    """What pyarrow decompresses."""

    def begin(stream: Any) -> Read:
        import pyarrow as pa

        unpacked = pa.CompressedInputStream(pa.PythonFile(_LeftOpen(stream), mode="r"), codec)
        return lambda size: bytes(unpacked.read(min(size, 1 << 20)))

    return begin


def _undoing(begin: Callable[[Any], Read]) -> Callable[[Any], AbstractContextManager[Any]]:
    return lambda stream: _Undone(stream, begin)


STREAMS: dict[bytes, tuple[str, Callable[[Any], AbstractContextManager[Any]]]] = {
    b"\x1f\x8b": ("gzip", lambda stream: gzip.GzipFile(fileobj=stream)),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMAFile),
    b"\x5d\x00\x00": ("lzma", lzma.LZMAFile),
    b"\x78\x01": ("zlib", _undoing(_inflating)),
    b"\x78\x5e": ("zlib", _undoing(_inflating)),
    b"\x78\x9c": ("zlib", _undoing(_inflating)),
    b"\x78\xda": ("zlib", _undoing(_inflating)),
    b"\x28\xb5\x2f\xfd": ("zstd", _undoing(_unpacking("zstd"))),
    b"\x04\x22\x4d\x18": ("lz4", _undoing(_unpacking("lz4"))),
}
"""First bytes -> what the wrapping is called, and what opens it."""
