"""Landed files become blocks of canonical rows; what cannot be used is named, counted and kept.

One line is one row: a quoted field may hold delimiters and doubled quotes, not a line break, so a
quote that is never closed costs its own row and cannot swallow the next ones. Rows are numbered
from 1 after the header, blank lines included. A file is read in blocks of about 4 MiB; the caps
hold while it is decompressed.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from lethe.durable import canonical_json, sha256_file
from lethe.errors import BadConfiguration, BadFile
from lethe.interactions import columns as c
from lethe.interactions.intake.lines import text_blocks, whole_lines
from lethe.interactions.intake.rules import (
    IntakeRules,
    InteractionRules,
    Kind,
    LandedFile,
    TableRules,
)
from lethe.interactions.intake.verdicts import RefusedFile, RefusedRow, Verdicts, mask

_Header: TypeAlias = tuple[str, ...]
_IGNORED: Final = (".part", ".sha256")
_TEXT_NAMES: Final = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_AT_ONCE: Final = 2  # files that are surveyed
_AHEAD: Final = 3  # files
_LONG: Final = 1 << 20  # bytes of a file of which more than the first batch is read ahead
_BATCH: Final = 32_768  # rows of parquet at a time


@dataclass(frozen=True)
class Batch:
    """Some rows of a file: rows_read == table.num_rows + dropped + refused.

    `table` is in schema INTERACTIONS, but `user` is still the canonical raw id.
    """

    table: pa.Table = field(repr=False)
    rows_read: int
    dropped: dict[str, int]
    refused: list[RefusedRow] = field(repr=False)


def survey(landing: Path, rules: IntakeRules) -> tuple[LandedFile | RefusedFile, ...]:
    """What lies in `landing`, sorted by name; only headers are read.

    A file belongs to the first of interactions, items and users whose globs match its name and
    whose required columns all stand in its header. Folders, hidden files, `*.part` and `*.sha256`
    are no landed files; where NAME.sha256 exists, its digest must be the file's.

    Raises:
        BadConfiguration: there is no such folder.
    """
    if not landing.is_dir():
        raise BadConfiguration(f"the landing folder {landing.name} is missing")
    paths = [
        path
        for path in sorted(landing.iterdir(), key=lambda entry: entry.name)
        if not path.name.startswith(".") and path.suffix not in _IGNORED and path.is_file()
    ]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return tuple(threads.map(partial(_surveyed, rules=rules), paths))


def _surveyed(path: Path, rules: IntakeRules) -> LandedFile | RefusedFile:
    digest = sha256_file(path)
    try:
        kind = _kind(path, digest, rules)
    except BadFile as error:
        return RefusedFile(path, path.name, digest, error.rule)
    return LandedFile(path, path.name, kind, digest, path.stat().st_size)


def _kind(path: Path, digest: str, rules: IntakeRules) -> Kind:
    side_car = path.with_name(f"{path.name}.sha256")
    if side_car.is_file() and side_car.read_bytes()[:64].lower() != digest.encode():
        raise BadFile(path.name, "its digest is not the one in its .sha256 file")
    if path.stat().st_size == 0:
        raise BadFile(path.name, "zero bytes")
    return rules.kind_of(path.name, lambda table: _header(path, table, rules.maximum_file_bytes))


def read_interactions(file: LandedFile, rules: IntakeRules) -> Iterator[Batch]:
    """Read an interactions file in batches; a file without rows gives one empty batch.

    A fault may show only at the file's end: take batches for good when the iterator has ended.

    Raises:
        BadFile: the file breaks a rule as a whole, a cap among them, or more than
            `maximum_refused_share` of its rows were refused.
    """
    read = refused = 0
    for block in _blocks(file.path, "interactions", rules):
        batch = _batch(block, rules.interactions)
        read, refused = read + batch.rows_read, refused + len(batch.refused)
        yield batch
    if refused > rules.maximum_refused_share * read:
        raise BadFile(file.name, f"{refused} of {read} rows refused, more than the allowed share")


class ReadingAhead:
    """The batches of some files, taken one file after the other: the next are read meanwhile.

    The first batch of a file is read ahead, which of a small file is all, and of a long one each
    next. To be closed.
    """

    def __init__(self, files: Iterable[LandedFile], rules: IntakeRules) -> None:
        self._files, self._rules = iter(files), rules
        self._thread = ThreadPoolExecutor(1)
        self._ahead = deque[tuple[LandedFile, Iterator[Batch], Future[Batch | None]]]()

    def close(self) -> None:
        """Read nothing more."""
        self._thread.shutdown(cancel_futures=True)

    def of(self, file: LandedFile) -> Iterator[Batch]:
        """As `read_interactions`. A file of them that is passed over can't be asked for later."""
        self._read_on()
        while self._ahead:
            one, parts, first = self._ahead.popleft()
            self._read_on()
            if one is file:
                batch = first.result()
                while batch is not None and file.bytes > _LONG:
                    first = self._thread.submit(next, parts, None)
                    yield batch
                    batch = first.result()
                if batch is not None:
                    yield batch
                    yield from parts
                return
        yield from read_interactions(file, self._rules)

    def _read_on(self) -> None:
        while len(self._ahead) < _AHEAD and (file := next(self._files, None)) is not None:
            parts = read_interactions(file, self._rules)
            self._ahead.append((file, parts, self._thread.submit(next, parts, None)))


def _batch(block: c.Block, rules: InteractionRules) -> Batch:
    verdicts = Verdicts(block.table.num_rows)
    for rule in rules.drop:
        rule.take(block.text(rule.column), verdicts)
    standing = set(block.table.column_names)
    texts = {ours: block.text(name) for ours, name in rules.columns.items() if name in standing}
    if rules.blank_user == "drop":
        verdicts.take(mask(c.blank(texts[c.USER])), "blank user", drop=True)
    users = rules.user_ids(texts[c.USER], verdicts)
    form = "seconds" if rules.columns[c.TIMESTAMP] in block.epochs else rules.timestamp_format
    table = c.typed(users, texts, form, rules.default_event_type, verdicts)
    refused = [
        RefusedRow(int(block.rows[i]), rule, block.line(i)) for i, rule in verdicts.refused()
    ]
    refused = sorted([*block.refused, *refused], key=lambda row: row.row)
    blanks = {"blank line": block.blanks} if block.blanks else {}
    return Batch(table, block.read, {**blanks, **verdicts.dropped()}, refused)


def read_attributes(
    file: LandedFile, rules: IntakeRules, kind: Literal["items", "users"]
) -> pa.Table:
    """Read an attribute table: a key column `item` or `user` and string attributes by name.

    The key is the canonical (for users: still raw) id; rows are sorted by it, equal rows are one,
    blank attributes are null. User ids are folded as in the interactions.

    Raises:
        BadFile: any fault, also a key that stands twice with different attributes.
    """
    table = rules.items if kind == "items" else rules.users
    key, column = next(iter(table.columns.items()))
    canonical = rules.interactions.user_ids if key == c.USER else c.canonical_ids
    parts: list[pa.Table] = []
    for block in _blocks(file.path, kind, rules):
        verdicts = Verdicts(block.table.num_rows)
        columns = {key: canonical(block.text(column), verdicts)}
        faults = [(row.row, row.rule) for row in block.refused]
        faults += [(int(block.rows[index]), rule) for index, rule in verdicts.refused()]
        if faults:
            raise BadFile(file.name, min(faults)[1], min(faults)[0])
        for name in table.attributes or [n for n in block.table.column_names if n != column]:
            if name == key:
                raise BadFile(file.name, f"an attribute may not be named {key}")
            texts = block.text(name)
            columns[name] = pc.if_else(c.blank(texts), pa.scalar(None, pa.string()), texts)
        parts.append(pa.table(columns))
    rows = pa.concat_tables(parts)
    rows = rows.group_by(rows.column_names, use_threads=False).aggregate([])
    if len(pc.unique(rows.column(key))) != rows.num_rows:
        raise BadFile(file.name, f"{kind}: a key stands twice with different attributes")
    return rows.sort_by(key)


def _header(path: Path, table: TableRules, cap: int) -> _Header:
    if path.suffix == ".parquet":
        with _parquet(path) as file:
            return tuple(file.schema_arrow.names)
    if table.header is not None:
        return table.header
    if not path.name.endswith(_TEXT_NAMES):
        raise BadFile(path.name, "its name is not that of a format we read")
    line = next(whole_lines(path, table.encoding, cap, 1 << 16), b"").partition(b"\n")[0]
    return table.header_in(line.decode(), path.name)


def _blocks(path: Path, kind: Kind, rules: IntakeRules) -> Iterator[c.Block]:
    table: TableRules = getattr(rules, kind)
    header = _header(path, table, rules.maximum_file_bytes)
    if fault := rules.misfit(kind, header):
        raise BadFile(path.name, fault)
    parts = _parquet_blocks if path.suffix == ".parquet" else text_blocks
    read = 0
    for block in parts(path, table, header, rules.maximum_file_bytes):
        read += block.read
        if read > rules.maximum_rows:
            raise BadFile(path.name, f"more than {rules.maximum_rows} rows")
        yield block


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[parquet.ParquetFile]:
    # texts come as dictionaries, so that the cap sees them before they unfold
    try:
        schema = parquet.read_metadata(path).schema
        flat = [name for name in schema.names if name in schema.to_arrow_schema().names]
        options = {"read_dictionary": flat, "page_checksum_verification": True}
        with parquet.ParquetFile(path, **options) as file:
            yield file
    except (pa.ArrowException, OSError, KeyError):
        raise BadFile(path.name, "it cannot be read as parquet") from None


def _parquet_blocks(path: Path, table: TableRules, header: _Header, cap: int) -> Iterator[c.Block]:
    first, total = 1, 0
    keys = [table.columns[key] for key in (c.USER, c.ITEM) if key in table.columns]
    with _parquet(path) as file:
        schema = file.schema_arrow
        if any(pa.types.is_floating(schema.field(key).type) for key in keys):
            raise BadFile(path.name, "an id column holds floats, which cannot tell all ids apart")
        times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
        none = [pa.RecordBatch.from_pylist([], schema)]
        for batch in (
            file.iter_batches(_BATCH, use_threads=False) if file.metadata.num_rows else none
        ):
            total += sum(c.unfolded_bytes(column) for column in batch.columns)
            if total > cap:
                raise BadFile(path.name, f"more than {cap} bytes when decompressed")
            texts = {name: c.as_text(batch.column(name)) for name in header}
            if unread := [name for name in table.needs if texts[name] is None]:
                raise BadFile(path.name, f"column {unread[0]} has a type that we do not read")
            rows = pa.table({name: text for name, text in texts.items() if text is not None})
            numbers = np.arange(first, first + rows.num_rows)
            yield c.Block(rows, numbers, partial(_shown, rows), epochs=frozenset(times))
            first += rows.num_rows


def _shown(rows: pa.Table, index: int) -> str:
    return canonical_json(rows.slice(index, 1).to_pylist()[0]).decode()
