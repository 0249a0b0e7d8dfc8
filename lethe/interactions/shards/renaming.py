"""Versions under new names: the same rows of the same people, each under the next name key.

The place of a row follows from the name, and rows are sorted by it, so a month is written anew as
a whole: its rows gathered, renamed, sorted and cut into buckets again. A month whose files are the
same in many versions is written once. The result is what the shards would be had the names always
been these, byte for byte. A version says of which generation its names are, so that none is ever
wrapped twice.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lethe.durable import canonical_json, read_json, sha256_file, write_bytes
from lethe.errors import ArtifactCorrupt
from lethe.interactions import columns as c
from lethe.interactions.rights.identity import Keys
from lethe.interactions.shards.gathering import buckets_of
from lethe.interactions.shards.history import Files, FileStore
from lethe.interactions.shards.merging import (
    distinct,
    names_of,
    read_table,
    write_table,
)

_MANIFEST, _PEOPLE = "manifest.json", "users.parquet"
_SHARD = re.compile(r"(\d{4}-\d{2})/b\d+\.parquet")


@dataclass(frozen=True)
class _File:
    """A file under new names: its digest in the store, SHA-256 and rows."""

    digest: str
    sha256: str
    rows: int


class Renaming:
    """Rewrites versions of one data set; `work` is a private folder for single files."""

    def __init__(self, store: FileStore, before: Keys, after: Keys, work: Path) -> None:
        self.store, self.before, self.after, self.work = store, before, after, work
        self._written: dict[tuple[str, ...], dict[str, _File]] = {}
        self.months_rewritten = 0

    def rewrite(self, files: Files) -> dict[str, str]:
        """One version's files under the new names.

        Raises:
            ArtifactCorrupt: it was never sealed, holds a foreign file, or loses a row.
            WrongKey: its names are not of the generation to start from.
        """
        if _MANIFEST not in files:
            raise ArtifactCorrupt("a data version has no manifest.json")
        manifest = read_json(self._fetched(files[_MANIFEST], _MANIFEST))
        self.before.check(names_of(manifest), "a data version")
        months: dict[str, dict[str, str]] = defaultdict(dict)
        kept, renamed = dict[str, str](), dict[str, _File]()
        for name, digest in files.items():
            if found := _SHARD.fullmatch(name):
                months[found[1]][name] = digest
            elif name == _PEOPLE:
                renamed |= self._once((name, digest), lambda d=digest: self._people(d))
            elif name != _MANIFEST:
                kept[name] = digest
        for month, theirs in months.items():
            key = (month, str(manifest["buckets"]), *sorted(theirs.values()))
            renamed |= self._once(
                key, lambda m=month, t=theirs: self._month(m, t, int(manifest["buckets"]))
            )
        return self._sealed(manifest, kept, renamed)

    def _once(self, key: tuple[str, ...], write: Any) -> dict[str, _File]:
        if key not in self._written:
            self._written[key] = write()
        return self._written[key]

    def _sealed(
        self, manifest: dict[str, Any], kept: dict[str, str], renamed: Mapping[str, _File]
    ) -> dict[str, str]:
        listed = {name: {"sha256": f.sha256, "rows": f.rows} for name, f in renamed.items()}
        listed |= {name: manifest["shards"][name] for name in kept}
        if _rows(manifest["shards"]) != _rows(listed):
            raise ArtifactCorrupt("a data version would have other rows under the new names")
        manifest |= {"shards": listed, "names": self.after.generation}
        path = self.work / _MANIFEST
        write_bytes(path, canonical_json(manifest) + b"\n")
        digests = {name: file.digest for name, file in renamed.items()}
        return {**kept, **digests, _MANIFEST: self.store.copy_in(path)}

    def _people(self, digest: str) -> dict[str, _File]:
        table = self._renamed(read_table(self._fetched(digest, "before.parquet")))
        return {_PEOPLE: self._kept(table.sort_by(c.USER))}

    def _month(self, month: str, files: Files, buckets: int) -> dict[str, _File]:
        self.months_rewritten += 1
        tables = [read_table(self._fetched(one, "before.parquet")) for one in files.values()]
        table = self._renamed(pa.concat_tables(tables))
        rows, table = table.num_rows, distinct(table)
        if table.num_rows != rows:
            raise ArtifactCorrupt(f"{month} would have other rows under the new names")
        bucket = buckets_of(table.column(c.USER), buckets)
        return {
            f"{month}/b{number}.parquet": self._kept(table.filter(pa.array(bucket == number)))
            for number in np.unique(bucket).tolist()
        }

    def _renamed(self, table: pa.Table) -> pa.Table:
        column = table.column(c.USER).combine_chunks().dictionary_encode()
        if isinstance(column, pa.ChunkedArray):
            column = column.unify_dictionaries().combine_chunks()
        names = self.after.wrapped(self.before.inner(column.dictionary.to_pylist()))
        place = table.column_names.index(c.USER)
        users = pa.array(names, pa.string()).take(column.indices)
        return table.set_column(place, table.schema.field(place), users)

    def _kept(self, table: pa.Table) -> _File:
        path = self.work / "after.parquet"
        write_table(path, table)
        kept = _File(self.store.copy_in(path), sha256_file(path), table.num_rows)
        path.unlink()
        return kept

    def _fetched(self, digest: str, name: str) -> Path:
        path = self.work / name
        path.unlink(missing_ok=True)
        self.store.copy_out(digest, path)
        return path


def _rows(shards: Mapping[str, Any]) -> dict[str, int]:
    """Rows by month, and of each kind of attributes."""
    found: dict[str, int] = defaultdict(int)
    for name, entry in shards.items():
        found[name.split("/")[0]] += int(entry["rows"])
    return dict(found)
