"""Text files become whole lines, and lines become columns of text.

A block without a quote, a carriage return and a blank line has no line that needs a look of its
own: the one parser splits it, and tells the lines of another width.
"""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import csv

from lethe.errors import BadFile
from lethe.interactions import columns as c
from lethe.interactions.intake.rules import TableRules
from lethe.interactions.intake.verdicts import RefusedRow

_CHUNK: Final = 4 << 20
_LINE_BYTES: Final = 1 << 20
_ODD: Final = (b'"', b"\r", b"\n\n")


def _chunks(path: Path, encoding: str, cap: int, size: int) -> Iterator[bytes]:
    """The file as UTF-8 without a byte order mark, decompressed and decoded as it is read."""
    decoder = codecs.getincrementaldecoder(encoding)()
    total, some = 0, False
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            while raw := stream.read(size):
                text = decoder.decode(raw).encode()
                text = text.removeprefix(codecs.BOM_UTF8) if total == 0 else text
                some, total = some or bool(text), total + len(raw)
                yield text
                if total > cap:
                    raise BadFile(path.name, f"more than {cap} bytes when decompressed")
        yield decoder.decode(b"", final=True).encode()
        if not some:
            raise BadFile(path.name, "zero bytes")
    except UnicodeError:
        raise BadFile(path.name, f"it is not {encoding} text") from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise BadFile(path.name, "its gzip stream is cut short or damaged") from None


def whole_lines(path: Path, encoding: str, cap: int, size: int = _CHUNK) -> Iterator[bytes]:
    """Blocks of whole lines, each ended by a line feed.

    Raises:
        BadFile: the file cannot be decoded, or a line or all of it is too long.
    """
    rest = b""
    for chunk in _chunks(path, encoding, cap, size):
        whole, feed, rest = (rest + chunk).rpartition(b"\n")
        if len(rest) > _LINE_BYTES:
            raise BadFile(path.name, f"a line of more than {_LINE_BYTES} bytes")
        if feed:
            yield (whole + feed).replace(b"\r\n", b"\n")
    if rest:
        yield rest.removesuffix(b"\r") + b"\n"


def text_blocks(
    path: Path, table: TableRules, header: tuple[str, ...], cap: int
) -> Iterator[c.Block]:
    """The rows of a text file in blocks; `cap` bounds its decompressed bytes.

    Raises:
        BadFile: it breaks a rule as a whole.
    """
    first, skip = 1, table.header is None
    for whole in whole_lines(path, table.encoding, cap):
        body = whole.partition(b"\n")[2] if skip else whole
        block = _text_block(path.name, body, first, table, header)
        first, skip = first + block.read, False
        yield block


class _Lines:
    """The lines of a block, cut apart only if somebody asks for one."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    @cached_property
    def all(self) -> list[bytes]:
        return self.body.split(b"\n")[:-1]


def _text_block(
    name: str, body: bytes, first: int, table: TableRules, header: tuple[str, ...]
) -> c.Block:
    lines, delimiter, faults = _Lines(body), table.delimiter_of(name), dict[int, str]()
    kept: c.Numbers | None = None
    if body.startswith(b"\n") or any(odd in body for odd in _ODD):
        faults = line_faults(lines.all, delimiter)
        kept = np.delete(np.arange(len(lines.all)), sorted(faults))
        if faults:
            body = b"".join(lines.all[index] + b"\n" for index in kept.tolist())
    columns, misfits = split(body, header, delimiter)
    faults |= {(i if kept is None else int(kept[i])): fault for i, fault in misfits.items()}
    rows = np.delete(np.arange(lines.body.count(b"\n")), sorted(faults))
    if len(rows) != columns.num_rows:
        raise BadFile(name, "its lines cannot be told apart")
    refused = [
        RefusedRow(first + i, rule, lines.all[i].decode()) for i, rule in faults.items() if rule
    ]
    blanks = len(faults) - len(refused)
    return c.Block(
        columns,
        rows + first,
        lambda index: lines.all[rows[index]].decode(),
        tuple(refused),
        blanks,
    )


def line_faults(lines: list[bytes], delimiter: str) -> dict[int, str]:
    """The lines that cannot be one row, by index; a blank line has an empty fault."""
    mark = re.escape(delimiter.encode())
    cell = rb'(?:"[^"]*(?:""[^"]*)*"|[^"%b][^%b]*|)' % (mark, mark)
    row = re.compile(rb"%b(?:%b%b)*" % (cell, mark, cell))
    faults: dict[int, str] = {}
    for index, line in enumerate(lines):
        if not line:
            faults[index] = ""
        elif b"\r" in line:
            faults[index] = "a carriage return inside a line"
        elif b'"' in line and not row.fullmatch(line):
            faults[index] = "a quote is not closed on its line"
    return faults


def split(body: bytes, header: tuple[str, ...], delimiter: str) -> tuple[pa.Table, dict[int, str]]:
    """Split whole lines into string columns; the lines of another width by index, with the fault.

    Nothing is guessed: `00123`, `1e5`, `NA` and the empty text stay what they are.
    """
    misfits: dict[int, str] = {}

    def misfit(row: csv.InvalidRow) -> str:
        fields = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        misfits[row.number - 1] = fields
        return "skip"

    if not body:
        return pa.table({name: pa.array([], pa.string()) for name in header}), misfits
    table = csv.read_csv(
        pa.BufferReader(body),
        csv.ReadOptions(use_threads=False, block_size=len(body) + 1, column_names=header),
        csv.ParseOptions(delimiter=delimiter, invalid_row_handler=misfit),
        csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            null_values=[],
            strings_can_be_null=False,
        ),
    )
    return table, misfits
