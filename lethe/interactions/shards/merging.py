"""Batches of interactions become one set of rows, whatever the order in which they came.

Here are the tables' own rules: what conforms, where a row lies, which rows are one, and the one
form in which a table is written, so that equal content is equal bytes.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc, parquet

from lethe.durable import replacing, sync_folder
from lethe.errors import ArtifactCorrupt, BadInput
from lethe.interactions import columns as c
from lethe.interactions.intake.verdicts import Mask, mask

_ORDER: Final = (
    *(c.USER, c.TIMESTAMP, c.ITEM, c.EVENT_TYPE, c.EVENT_VALUE, c.IMPRESSIONS, c.EVENT_ID),
)
_PSEUDONYM: Final = r"\A[0-9a-f]{32}\z"


@dataclass(frozen=True)
class Appended:
    """What an append did: rows that are new, and rows that were there already."""

    rows_new: int
    rows_duplicate: int


class Gathering:
    """Tables waiting to be merged, by user bucket; beyond `spill_bytes` they wait in `folder`.

    `appended` is set once they have been merged.
    """

    def __init__(self, folder: Path, buckets: int, spill_bytes: int) -> None:
        self._folder, self._buckets, self._spill_bytes = folder, buckets, spill_bytes
        self._tables: dict[int, list[pa.Table]] = {}
        self._bytes = 0
        self._spilled: list[tuple[int, Path]] = []
        self.rows = 0
        self.appended = Appended(0, 0)

    def add(self, table: pa.Table) -> None:
        """Take a table in schema INTERACTIONS whose users are pseudonyms.

        Raises:
            BadInput: another schema, a null in a required column, a user that is no pseudonym, a
                timestamp out of range, a value that is not finite.
        """
        table = conforming(table)
        bucket = buckets_of(table.column(c.USER), self._buckets)
        order = np.argsort(bucket, kind="stable")
        table = table.take(pa.array(order)).combine_chunks()
        for number, start in zip(*np.unique(bucket[order], return_index=True), strict=True):
            rows = int(np.count_nonzero(bucket == number))
            self._tables.setdefault(int(number), []).append(table.slice(int(start), rows))
        self.rows += table.num_rows
        self._bytes += table.nbytes
        if self._bytes > self._spill_bytes:
            self._spill()

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """What is added within this block stays if the block ends well; otherwise none of it.

        Whole files take turns in one gathering, so that many of them rewrite a shard once.
        """
        tables, size, spilled, rows = self._tables, self._bytes, len(self._spilled), self.rows

        def take_back() -> None:
            for _, path in self._spilled[spilled:]:
                path.unlink(missing_ok=True)
            del self._spilled[spilled:]
            self._tables, self._bytes, self.rows = tables, size, rows

        self._tables, self._bytes = {}, 0
        with contextlib.ExitStack() as unless_it_ends_well:
            unless_it_ends_well.callback(take_back)
            yield
            unless_it_ends_well.pop_all()
        for number, parts in self._tables.items():
            tables.setdefault(number, []).extend(parts)
        self._tables, self._bytes = tables, self._bytes + size
        if self._bytes > self._spill_bytes:
            self._spill()

    def merged_buckets(self) -> Iterator[tuple[int, pa.Table]]:
        """Each bucket that was added to, with all of its rows, ascending."""
        for number in sorted({*self._tables, *(bucket for bucket, _ in self._spilled)}):
            parts = self._tables.pop(number, [])
            for bucket, path in self._spilled:
                if bucket == number:
                    with ipc.open_file(path) as file:
                        parts.append(file.read_all())
            yield number, pa.concat_tables(parts)

    def _spill(self) -> None:
        for number, tables in self._tables.items():
            path = self._folder / f"{len(self._spilled)}.arrow"
            with ipc.new_file(path, c.INTERACTIONS) as file:
                for table in tables:
                    file.write_table(table)
            self._spilled.append((number, path))
        self._tables.clear()
        self._bytes = 0


def conforming(table: pa.Table) -> pa.Table:
    """`table` in exactly the schema INTERACTIONS, with -0.0 written as 0.0; BadInput if it is not.

    Messages count rows and never show one.
    """
    if set(table.column_names) != set(c.INTERACTIONS.names):
        raise BadInput("interactions have other columns than the schema's")
    try:
        table = (
            table.select(c.INTERACTIONS.names).replace_schema_metadata(None).cast(c.INTERACTIONS)
        )
    except pa.ArrowInvalid:
        raise BadInput("interactions cannot be cast to the schema") from None
    blank = [name for name in c.REQUIRED if table.column(name).null_count]
    if blank:
        raise BadInput(f"interactions without {', '.join(blank)}")
    check_pseudonyms(table.column(c.USER))
    time, value = table.column(c.TIMESTAMP), table.column(c.EVENT_VALUE)
    late = pc.or_(pc.less(time, 0), pc.greater_equal(time, c.TIMESTAMP_LIMIT))
    wrong = mask(late) | mask(pc.invert(pc.is_finite(value)))
    if wrong.any():
        raise BadInput(f"{int(wrong.sum())} interactions with a time or value out of range")
    place = c.INTERACTIONS.get_field_index(c.EVENT_VALUE)
    return table.set_column(place, c.INTERACTIONS.field(place), pc.add(value, 0.0))


def check_pseudonyms(users: c.Array) -> None:
    """Raise BadInput where a text is not 32 lower-case hex characters: raw ids stop here."""
    wrong = len(users) - int(mask(c.matching(users, _PSEUDONYM)).sum())
    if wrong:
        raise BadInput(f"{wrong} of {len(users)} rows carry a user that is not a pseudonym")


def names_of(manifest: Mapping[str, Any]) -> str:
    """The generation of the names in the shards of a manifest; empty before the first name key."""
    return str(manifest.get("names", ""))


def buckets_of(users: c.Array, buckets: int) -> c.Numbers:
    """The bucket of each pseudonym: its first four hex digits, modulo `buckets`.

    >>> buckets_of(pa.array(["000b" + "0" * 28, "ffff" + "0" * 28]), 8).tolist()
    [3, 7]
    """
    prefixes = pc.utf8_slice_codeunits(users, 0, 4).dictionary_encode()
    if isinstance(prefixes, pa.ChunkedArray):
        prefixes = prefixes.unify_dictionaries().combine_chunks()
    values = [int(prefix, 16) % buckets for prefix in prefixes.dictionary.to_pylist()]
    numbers: c.Numbers = np.array(values, dtype=np.int64)[prefixes.indices.to_numpy()]
    return numbers


def by_month(table: pa.Table) -> dict[str, pa.Table]:
    """The rows of each month (UTC) by its name, such as "2011-03"; rows keep their order."""
    seconds = table.column(c.TIMESTAMP).to_numpy()
    months = seconds.astype("datetime64[s]").astype("datetime64[M]")
    order = np.argsort(months, kind="stable")
    table = table.take(pa.array(order)).combine_chunks()
    names, starts, rows = np.unique(months[order], return_index=True, return_counts=True)
    return {
        str(name): table.slice(int(start), int(count)).combine_chunks()
        for name, start, count in zip(names, starts, rows, strict=True)
    }


def distinct(table: pa.Table) -> pa.Table:
    """Sorted rows, equal rows once, and of the rows with one user and event id only the first."""
    table = table.combine_chunks().sort_by([(name, "ascending") for name in _ORDER])
    if table.num_rows > 1:
        same = _same_as_before(table)
        table = table.filter(pa.array(np.concatenate(([True], ~same))))
    named = mask(pc.is_valid(table.column(c.EVENT_ID)))
    if not named.any():
        return table
    rows = table.select((c.USER, c.EVENT_ID)).append_column("row", pa.array(np.arange(len(named))))
    groups = rows.filter(pa.array(named)).group_by((c.USER, c.EVENT_ID), use_threads=False)
    first = groups.aggregate([("row", "min")]).column("row_min").to_numpy()
    keep = ~named
    keep[first] = True
    return table.filter(pa.array(keep))


def _same_as_before(table: pa.Table) -> Mask:
    """For each row but the first: whether it equals the one before, null equal to null."""
    same: Mask = np.ones(table.num_rows - 1, dtype=np.bool_)
    for name in _ORDER:
        column = table.column(name)
        before, after = column.slice(0, len(same)), column.slice(1)
        both_null = pc.and_(pc.is_null(before), pc.is_null(after))
        same &= mask(pc.equal(before, after)) | mask(both_null)
    return same


def laid_over(old: pa.Table, new: pa.Table, key: str) -> pa.Table:
    """Attributes `new` over `old`: where both name a key and a column, the new value stands.

    >>> old = pa.table({"item": ["a", "b"], "colour": ["red", "blue"]})
    >>> new = pa.table({"item": ["b", "c"], "size": ["s", "l"]})
    >>> laid_over(old, new, "item").to_pydict()["colour"]
    ['red', 'blue', None]
    """
    keys = pc.unique(pa.concat_tables([old.select([key]), new.select([key])]).column(0))
    in_old = pc.index_in(keys, value_set=old.column(key).combine_chunks())
    in_new = pc.index_in(keys, value_set=new.column(key).combine_chunks())
    columns = {key: keys}
    for name in dict.fromkeys((*old.column_names[1:], *new.column_names[1:])):
        missing = pa.nulls(len(keys), pa.string())
        was = old.column(name).take(in_old) if name in old.column_names else missing
        now = new.column(name).take(in_new) if name in new.column_names else was
        columns[name] = pc.if_else(pc.is_valid(in_new), now, was)
    return pa.table(columns)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table, or remove the file where no row is left.

    Neither statistics nor dictionaries of people and events: both would keep an id in the file's
    footer or pages beside the rows themselves.
    """
    if not table.num_rows:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_folder(path.parent)
        return
    personal = (c.USER, c.EVENT_ID)
    with replacing(path) as temporary:
        parquet.write_table(
            table.combine_chunks(),
            temporary,
            compression="zstd",
            use_dictionary=[name for name in table.column_names if name not in personal],
            write_statistics=[c.TIMESTAMP] if c.TIMESTAMP in table.column_names else False,
            write_page_checksum=True,
            store_schema=False,
        )


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(None if columns is None else list(columns), use_threads=False)
            return table.select(columns or table.column_names).combine_chunks()
    except (pa.ArrowException, OSError):
        raise ArtifactCorrupt(f"{path.parent.name}/{path.name} cannot be read") from None


def merged(
    paths: dict[str, Path], new: pa.Table
) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
    """One bucket's shards that new rows touch, as they are and as they become, by month."""
    months = set(by_month(new))
    events = pc.drop_null(new.column(c.EVENT_ID)).combine_chunks()
    for month in paths.keys() - months if len(events) else ():
        ids = read_table(paths[month], (c.EVENT_ID,)).column(0)
        if pc.any(pc.is_in(ids, value_set=events)).as_py():
            months.add(month)
    old = {month: read_table(paths[month]) for month in months & paths.keys()}
    whole = distinct(pa.concat_tables([*old.values(), new]))
    parts = by_month(whole)
    return old, {month: parts.get(month, whole.slice(0, 0)) for month in sorted(months)}


def removed(path: Path, people: c.Array) -> Counter[str]:
    """Rewrite a file without these people; their rows in it, by person. Not theirs: untouched."""
    users = read_table(path, (c.USER,)).column(0)
    theirs = pc.is_in(users, value_set=people)
    found = Counter({count["values"]: count["counts"] for count in _counted(users, theirs)})
    if found:
        write_table(path, read_table(path).filter(pc.invert(theirs)))
    return found


def _counted(users: c.Array, rows: c.Array) -> list[dict[str, Any]]:
    counted: list[dict[str, Any]] = pc.value_counts(pc.filter(users, rows)).to_pylist()
    return counted
