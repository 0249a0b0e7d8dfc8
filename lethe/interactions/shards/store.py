"""The interactions as parquet shards, one per month and user bucket; the data version's folder.

    root/2011-03/b3.parquet   interactions, sorted
    root/items.parquet        attributes of items; users.parquet those of users, by pseudonym
    root/manifest.json        what there must be; written last, and the truth for every reader

A night adds to few shards, and an erasure rewrites only those that hold the person. Equal content
is equal bytes, whatever the order in which rows came. Rows of one user with one event id are one
event; the one that sorts first (by time, item, type, value, impressions) stays. There is one
writer at a time; a write that was cut off is repaired by doing it again.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from lethe.durable import read_json, sha256_file, write_json
from lethe.errors import ArtifactCorrupt, BadConfiguration, BadInput, WrongKey
from lethe.interactions import columns as c
from lethe.interactions.shards.gathering import Appended, Gathering, buckets_of, check_pseudonyms
from lethe.interactions.shards.insights import Census, Counts
from lethe.interactions.shards.merging import (
    Writing,
    laid_over,
    merged,
    names_of,
    parted,
    read_ahead,
    read_folded,
    read_table,
    write_table,
)

_SHARD: Final = re.compile(r"\d{4}-\d{2}/b\d+\.parquet")
_ATTRIBUTES: Final = ("items.parquet", "users.parquet")
_FORMAT: Final = 1
MOST_BUCKETS: Final = 256


@dataclass(frozen=True)
class Purged:
    """What a purge removed. `users` counts people found, `per_user` their rows by pseudonym."""

    rows: int
    users: int
    shards_rewritten: int
    per_user: dict[str, int] = field(repr=False)


@dataclass(frozen=True)
class ShardStore:
    """The shards under `root`; a pseudonym's first four hex digits, modulo `buckets`, place it.

    `names` is the generation of the pseudonyms (`rights.identity.Keys.generation`).

    Raises:
        BadConfiguration: the folder was sealed with another number of buckets.
        WrongKey: it was sealed with names of another generation.
    """

    root: Path
    buckets: int = 8
    names: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.buckets <= MOST_BUCKETS:
            raise BadConfiguration(f"buckets must be 1 to {MOST_BUCKETS}")
        if self.manifest().get("buckets", self.buckets) != self.buckets:
            raise BadConfiguration("the shards were cut into another number of buckets")
        if self.manifest() and names_of(self.manifest()) != self.names:
            raise WrongKey("the shards hold names that are not of the present pseudonym key")

    @contextlib.contextmanager
    def batch(self, spill_bytes: int = 256 << 20) -> Iterator[Gathering]:
        """Gather tables and, at the end of the `with` block, merge each touched shard once.

        An exception inside the block leaves every shard as it was. Beyond `spill_bytes` the
        gathered rows wait in a private folder under `root`. `appended` is known afterwards.
        """
        self._sweep()
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".spill.", dir=self.root) as spill:
            gathering = Gathering(Path(spill), self.buckets, spill_bytes)
            yield gathering
            new = 0
            with Writing(write_table) as writing:
                for number, rows in gathering.merged_buckets():
                    new += self._merge(number, rows, writing)
            gathering.appended = Appended(new, gathering.rows - new)

    def append(self, table: pa.Table) -> Appended:
        """Merge one table in schema INTERACTIONS whose users are pseudonyms.

        Raises:
            BadInput: another schema, a null in a required column, a user that is no pseudonym.
        """
        with self.batch() as batch:
            batch.add(table)
        return batch.appended

    def put_attributes(self, kind: Literal["items", "users"], table: pa.Table) -> None:
        """Lay attributes (key column and strings, one row a key) over those that there are.

        A column that `table` lacks keeps its values; a column that it has replaces them.
        """
        key = table.column_names[0]
        if key != kind[:-1] or len(pc.unique(table.column(key))) != table.num_rows:
            raise BadInput(f"attributes of {kind} need a column {kind[:-1]} of distinct keys first")
        if kind == "users":
            check_pseudonyms(table.column(key))
        old = self.attributes(kind)
        if old is not None:
            table = laid_over(old, table, key)
        write_table(self.root / f"{kind}.parquet", table.sort_by(key))

    def attributes(self, kind: Literal["items", "users"]) -> pa.Table | None:
        """The attributes of items or users, sorted by key; None where there are none."""
        path = self.root / f"{kind}.parquet"
        return read_table(path) if path.is_file() else None

    def purge(self, pseudonyms: Set[str], census: Census | None = None) -> Purged:
        """Remove these people; shards that do not hold them keep their bytes.

        Leftovers of a killed write go too, since they may hold anybody. A `census` hears of every
        row that goes.
        """
        self._sweep()
        gone = pa.array(sorted(pseudonyms), pa.string())
        check_pseudonyms(gone)
        buckets = set(buckets_of(gone, self.buckets).tolist())
        shards = [path for path in self._shards() if int(path.stem[1:]) in buckets]
        people = list(self.root.glob("users.parquet"))
        rows, described, rewritten, paths = Counter[str](), set[str](), 0, [*shards, *people]
        with Writing(write_table) as writing:
            for path, table in zip(paths, read_ahead(paths, None, read_table), strict=True):
                if (found := parted(table, gone)) is None:
                    continue
                theirs, others = found
                writing.put(path, others)
                names = theirs[c.USER].to_pylist()
                if path in people:
                    described.update(names)
                    continue
                rows.update(names)
                rewritten += 1
                if census is not None:
                    census.remove(theirs)
        per_user = {person: rows[person] for person in sorted({*rows, *described})}
        return Purged(rows.total(), len(per_user), rewritten, per_user)

    def holds(self, pseudonym: str) -> bool:
        """Whether any row or attribute of this person is here; reads that person's bucket only."""
        check_pseudonyms(pa.array([pseudonym], pa.string()))
        bucket = int(buckets_of(pa.array([pseudonym], pa.string()), self.buckets)[0])
        paths = [*self._shards(bucket), *self.root.glob("users.parquet")]
        return any(
            pc.any(pc.equal(read_table(path, (c.USER,)).column(0), pseudonym)).as_py()
            for path in paths
        )

    def scan(
        self, columns: Sequence[str] | None = None, *, folded: bool = False
    ) -> Iterator[pa.Table]:
        """The interactions shard by shard, by month and bucket; `folded` texts are dictionaries.

        Raises:
            ArtifactCorrupt: names the shard.
        """
        return read_ahead(self._shards(), columns, read_folded if folded else read_table)

    def census(self, uncounted: Set[str] = frozenset(), *, items: bool = True) -> Census:
        """Rows by user, and by item if asked for, of what is here now, sealed or not."""
        buckets = [self._shards(bucket) for bucket in range(self.buckets)]
        return Census.of([paths for paths in buckets if paths], uncounted, items=items)

    def counts(self, without: Set[str] = frozenset()) -> Counts:
        """Count what is here now, sealed or not, `without` some pseudonyms."""
        return self.census(without).counts()

    def rows(self) -> int:
        """How many interactions are here now, from the shards' footers."""
        return sum(parquet.read_metadata(path).num_rows for path in self._shards())

    def seal(
        self,
        position: int,
        head: str,
        taken: Iterable[str] = (),
        uncounted: Set[str] = frozenset(),
        census: Census | None = None,
    ) -> None:
        """Write the manifest, for the register position and head that the rows were purged at.

        `taken` (digests of landed files) is added to what earlier manifests listed. `uncounted`
        pseudonyms reach none of the three counts; what each shard holds is told whole. A `census`
        that is still true of the shards saves reading them once more.
        """
        self._sweep()
        shards = {
            path.relative_to(self.root).as_posix(): {
                "sha256": sha256_file(path),
                "rows": parquet.read_metadata(path).num_rows,
            }
            for path in self._files()
        }
        if census is None or not census.holds(self.rows(), uncounted):
            census = self.census(uncounted)
        counts = census.counts()
        manifest = {
            "format": _FORMAT,
            "buckets": self.buckets,
            "register_position": position,
            "register_head": head,
            "shards": shards,
            "rows": counts.rows,
            "users": counts.users,
            "items": counts.items,
            "taken": sorted({*self.manifest().get("taken", ()), *taken}),
        }
        if self.names:
            manifest["names"] = self.names
        write_json(self.root / "manifest.json", manifest)

    def manifest(self) -> dict[str, Any]:
        """The manifest as written by `seal`; empty before the first."""
        path = self.root / "manifest.json"
        if not path.is_file():
            return {}
        try:
            manifest = read_json(path)
        except ValueError:
            manifest = None
        if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
            raise ArtifactCorrupt("manifest.json of the interactions cannot be read")
        return manifest

    def verify(self) -> None:
        """Check every file against the manifest.

        Raises:
            ArtifactCorrupt: a file is missing, foreign, or differs from its digest; names it.
        """
        if not self.manifest():
            raise ArtifactCorrupt("the interactions were never sealed: manifest.json is missing")
        expected = {name: shard["sha256"] for name, shard in self.manifest()["shards"].items()}
        found = {
            path.relative_to(self.root).as_posix(): path
            for path in sorted(self.root.rglob("*"))
            if not path.is_dir() and path.name != "manifest.json"
        }
        for name in sorted(expected.keys() ^ found.keys()):
            raise ArtifactCorrupt(f"{name} is {'missing' if name in expected else 'not ours'}")
        for name, path in found.items():
            if path.is_symlink() or sha256_file(path) != expected[name]:
                raise ArtifactCorrupt(f"{name} differs from its digest in manifest.json")

    def _shards(self, bucket: int | None = None) -> list[Path]:
        found = self.root.glob(f"*/b{'*' if bucket is None else bucket}.parquet")
        return sorted(p for p in found if _SHARD.fullmatch(f"{p.parent.name}/{p.name}"))

    def _by_month(self, bucket: int) -> dict[str, Path]:
        return {path.parent.name: path for path in self._shards(bucket)}

    def _files(self) -> list[Path]:
        return [*self._shards(), *(p for n in _ATTRIBUTES if (p := self.root / n).is_file())]

    def _sweep(self) -> None:
        for path in [*self.root.glob(".spill.*"), *self.root.rglob(".*.part")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def adds(self, table: pa.Table) -> bool:
        """Whether a merge of this table would change a shard; nothing is written."""
        gathering = Gathering(self.root, self.buckets, table.nbytes * 4 + 1)
        gathering.add(table)
        return any(
            one.changed
            for bucket, rows in gathering.merged_buckets()
            for one in merged(self._by_month(bucket), rows)
        )

    def _merge(self, bucket: int, new: pa.Table, writing: Writing) -> int:
        """Merge rows of one bucket; how many more there are. Earlier months are written first."""
        more = 0
        for one in merged(self._by_month(bucket), new):
            if one.changed:
                writing.put(self.root / one.month / f"b{bucket}.parquet", one.rows)
            more += one.rows.num_rows - one.rows_before
        return more
