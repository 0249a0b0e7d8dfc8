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


@dataclass
class _Inflated:
    """A zlib stream, such as a git object, read forwards and from the start again."""

    stream: Any
    rest: bytes = b""

    def __enter__(self) -> _Inflated:
        self.seek(0)
        return self

    def __exit__(self, *_: object) -> None:
        pass  # the stream below is not ours to close

    def seek(self, at: int) -> None:
        self.stream.seek(at)
        self.inflating, self.rest = zlib.decompressobj(), b""

    def read1(self, size: int) -> bytes:
        while not self.inflating.eof:
            given = self.rest or self.stream.read(1 << 16)
            part = self.inflating.decompress(given, size)
            self.rest = self.inflating.unconsumed_tail
            if part:
                return part
            if not given:
                raise EOFError
        return b""


@dataclass
class _LeftOpen:
    """A stream that pyarrow must not close when it is done."""

    stream: Any
    closed: bool = False

    def read(self, size: int) -> bytes:
        return bytes(self.stream.read(size))

    def close(self) -> None:
        self.closed = True


@dataclass
class _Unpacked:
    """A stream that pyarrow decompresses, read forwards and from the start again."""

    stream: Any
    codec: str

    def __enter__(self) -> _Unpacked:
        self.seek(0)
        return self

    def __exit__(self, *_: object) -> None:
        pass  # the stream below is not ours to close

    def seek(self, at: int) -> None:
        import pyarrow as pa

        self.stream.seek(at)
        source = pa.PythonFile(_LeftOpen(self.stream), mode="r")
        self.inflating = pa.CompressedInputStream(source, self.codec)

    def read1(self, size: int) -> bytes:
        return bytes(self.inflating.read(min(size, 1 << 20)))


STREAMS: dict[bytes, tuple[str, Callable[[Any], AbstractContextManager[Any]]]] = {
    b"\x1f\x8b": ("gzip", lambda stream: gzip.GzipFile(fileobj=stream)),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMAFile),
    b"\x5d\x00\x00": ("lzma", lzma.LZMAFile),
    b"\x78\x01": ("zlib", _Inflated),
    b"\x78\x5e": ("zlib", _Inflated),
    b"\x78\x9c": ("zlib", _Inflated),
    b"\x78\xda": ("zlib", _Inflated),
    b"\x28\xb5\x2f\xfd": ("zstd", lambda stream: _Unpacked(stream, "zstd")),
    b"\x04\x22\x4d\x18": ("lz4", lambda stream: _Unpacked(stream, "lz4")),
}
"""First bytes -> what the wrapping is called, and what opens it."""
