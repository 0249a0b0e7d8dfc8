"""Retained versions that forget: a substitution on files that are kept under their digest.

Versions share files. A file that holds one of the people is rewritten once, whichever and however
many versions list it; every other file is neither read nor written again, but for the few that
are asked whether an item still occurs. The result is what a purge of each whole version would
give, byte for byte, so it may meet another version, or the present one, and be shared with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from lethe.durable import canonical_json, read_json, sha256_file, write_bytes
from lethe.errors import ArtifactCorrupt, WrongKey
from lethe.interactions import columns as c
from lethe.interactions.shards.gathering import buckets_of, check_pseudonyms
from lethe.interactions.shards.merging import (
    names_of,
    read_table,
    write_table,
)

Files = Mapping[str, str]
_MANIFEST, _PEOPLE = "manifest.json", "users.parquet"


class FileStore(Protocol):
    """Where files lie under their digest."""

    def copy_out(self, digest: str, target: Path) -> None:
        """Write a file to `target`."""

    def copy_in(self, path: Path) -> str:
        """Keep a file durably; its digest."""


@dataclass(frozen=True)
class Purge:
    """Whom to leave out, and the register's position and head at which that is true.

    `uncounted` pseudonyms stay where they are and are in no count, as in `ShardStore.seal`.
    `names` is the generation of all these pseudonyms.
    """

    people: Set[str] = field(repr=False)
    position: int
    head: str
    uncounted: Set[str] = field(default=frozenset(), repr=False)
    names: str = ""


@dataclass(frozen=True)
class Rewritten:
    """One version after the substitution: its files, and rows, users and items counted."""

    files: Files = field(repr=False)
    rows: int
    users: int
    items: int
    rows_removed: int


@dataclass(frozen=True)
class _Shard:
    """A file after the purge; `digest` None where nothing is left of it.

    `removed` counts rows by person, `items` are those whose rows were removed.
    """

    digest: str | None
    sha256: str = ""
    rows: int = 0
    removed: Counter[str] = field(default_factory=Counter, repr=False)
    items: frozenset[str] = field(default=frozenset(), repr=False)


class History:
    """Rewrites versions of one data set; `work` is a private folder for single files."""

    def __init__(self, store: FileStore, purge: Purge, work: Path) -> None:
        self.store, self.purge, self.work = store, purge, work
        self.gone = pa.array(sorted(purge.people), pa.string())
        self.uncounted = pa.array(sorted(purge.uncounted), pa.string())
        check_pseudonyms(self.gone)
        self._shards: dict[str, _Shard] = {}
        self._items: dict[str, frozenset[str]] = {}
        self.files_rewritten = 0

    def rewrite(self, files: Files) -> Rewritten | None:
        """One version without the people; None where it holds none of them.

        Raises:
            ArtifactCorrupt: the version was never sealed, or a file cannot be read.
            WrongKey: its names are of another generation than the people's.
        """
        if _MANIFEST not in files:
            raise ArtifactCorrupt("a data version has no manifest.json")
        manifest = read_json(self._fetched(files[_MANIFEST], _MANIFEST))
        if names_of(manifest) != self.purge.names:
            raise WrongKey("a data version holds names that are not of the present pseudonym key")
        asked = self._candidates(files, int(manifest["buckets"]))
        shards = {name: self._purged(files[name], name) for name in asked}
        touched = {name: shard for name, shard in shards.items() if shard.removed}
        if not touched:
            return None
        left = {
            name: touched[name].digest if name in touched else digest
            for name, digest in files.items()
            if name != _MANIFEST
        }
        kept = {name: digest for name, digest in left.items() if digest is not None}
        rows = {name: shard for name, shard in touched.items() if name != _PEOPLE}
        removed = sum((shard.removed for shard in rows.values()), Counter[str]())
        removed = Counter({u: n for u, n in removed.items() if u not in self.purge.uncounted})
        lost = self._lost(frozenset().union(*(shard.items for shard in rows.values())), kept)
        manifest |= {
            "register_position": self.purge.position,
            "register_head": self.purge.head,
            "shards": self._listed(manifest["shards"], touched, kept),
            "rows": manifest["rows"] - removed.total(),
            "users": manifest["users"] - len(removed),
            "items": manifest["items"] - len(lost),
        }
        path = self.work / _MANIFEST
        write_bytes(path, canonical_json(manifest) + b"\n")
        digest = self.store.copy_in(path)
        return Rewritten(
            files={**kept, _MANIFEST: digest},
            rows=manifest["rows"],
            users=manifest["users"],
            items=manifest["items"],
            rows_removed=removed.total(),
        )

    def _candidates(self, files: Files, buckets: int) -> Iterator[str]:
        theirs = set(buckets_of(self.gone, buckets).tolist())
        for name in sorted(files):
            if name == _PEOPLE or (_is_shard(name) and int(Path(name).stem[1:]) in theirs):
                yield name

    def _purged(self, digest: str, name: str) -> _Shard:
        if digest not in self._shards:
            self._shards[digest] = self._purge_file(digest, name)
        return self._shards[digest]

    def _purge_file(self, digest: str, name: str) -> _Shard:
        path = self._fetched(digest, Path(name).name)
        table = read_table(path)
        theirs = pc.is_in(table.column(c.USER), value_set=self.gone)
        taken = table.filter(theirs)
        if not taken.num_rows:
            return _Shard(digest)
        self.files_rewritten += 1
        removed = Counter(taken.column(c.USER).to_pylist())
        items = frozenset(() if name == _PEOPLE else self._counted_items(taken))
        rest = table.filter(pc.invert(theirs))
        path.unlink()
        write_table(path, rest)
        if not rest.num_rows:
            return _Shard(None, removed=removed, items=items)
        sha256 = sha256_file(path)
        return _Shard(self.store.copy_in(path), sha256, rest.num_rows, removed, items)

    def _listed(
        self, before: Mapping[str, Any], touched: Mapping[str, _Shard], kept: Files
    ) -> dict[str, Any]:
        new = {n: {"sha256": s.sha256, "rows": s.rows} for n, s in touched.items() if s.digest}
        return {name: new.get(name, entry) for name, entry in before.items() if name in kept}

    def _lost(self, wanted: frozenset[str], files: Files) -> frozenset[str]:
        """Those of `wanted` of which no row is left; stops reading once all were seen."""
        missing = wanted
        for name in sorted(files, reverse=True):
            if not missing:
                break
            if _is_shard(name):
                missing -= self._items_in(files[name])
        return missing

    def _items_in(self, digest: str) -> frozenset[str]:
        if digest not in self._items:
            path = self._fetched(digest, "asked.parquet")
            self._items[digest] = self._counted_items(read_table(path, (c.USER, c.ITEM)))
        return self._items[digest]

    def _counted_items(self, table: pa.Table) -> frozenset[str]:
        counted = pc.invert(pc.is_in(table.column(c.USER), value_set=self.uncounted))
        return frozenset(pc.unique(table.column(c.ITEM).filter(counted)).to_pylist())

    def _fetched(self, digest: str, name: str) -> Path:
        path = self.work / name
        path.unlink(missing_ok=True)
        self.store.copy_out(digest, path)
        return path


def users_of(versions: Iterable[Files], store: FileStore, work: Path) -> Iterator[str]:
    """Every user of the versions, with rows or attributes; each file is read once.

    A user comes once for each file that holds them.
    """
    asked: set[str] = set()
    for files in versions:
        for name, digest in sorted(files.items()):
            if digest not in asked and (name == _PEOPLE or _is_shard(name)):
                asked.add(digest)
                path = work / "asked.parquet"
                path.unlink(missing_ok=True)
                store.copy_out(digest, path)
                yield from pc.unique(read_table(path, (c.USER,)).column(0)).to_pylist()


def _is_shard(name: str) -> bool:
    return "/" in name
