"""What it costs that history forgets: 30 retained versions, beside purging each of them whole.

    python -m benchmarks.history [ROWS]        (1,000,000 by default; 10,000,000 is the full form)

One data set of two years, kept after each of its last 30 days: older months are shared, the last
ones differ. Then 1, 10, 100 and 1,000 people are erased from all versions, each time from the same
start: as a substitution on the shared files (`History`, as a night does it), by `ShardStore.purge`
and a new seal in a copy of each version, and by reading, filtering and writing every file of each
version. The latter two are measured on three of the versions and multiplied; the copies are hard
links, which cost nothing. If polars is there, it rewrites as well. The table goes into
docs/benchmarks.md.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.page import machine, put
from lethe.interactions.columns import INTERACTIONS, USER
from lethe.interactions.shards.history import Files, History, Purge
from lethe.interactions.shards.merging import read_table, write_table
from lethe.interactions.shards.store import ShardStore

VERSIONS, DAYS, DAY, BEGAN = 30, 730, 86_400, 1_700_000_000
BUCKETS, EACH, ITEMS = 8, 50, 20_000
ERASED, SAMPLE = (1, 10, 100, 1_000), (0, 14, 29)
HEAD = "f" * 64
Way = Callable[[Path, set[str]], int]


class Store:
    """Files under their md5 in one folder; notes what was put in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.put: list[Path] = []
        folder.mkdir()

    def copy_out(self, digest: str, target: Path) -> None:
        """As `ObjectStores` does: a copy, its md5 checked."""
        shutil.copyfile(self.folder / digest, target)
        assert md5_of(target) == digest

    def copy_in(self, path: Path) -> str:
        """A copy under its md5, written durably."""
        digest = md5_of(path)
        target = self.folder / digest
        if not target.exists():
            shutil.copyfile(path, target)
            with target.open("rb") as stream:
                os.fsync(stream.fileno())
            self.put.append(target)
        return digest

    def keep(self, root: Path) -> Files:
        """A whole folder as a version."""
        names = (path for path in sorted(root.rglob("*")) if path.is_file())
        return {path.relative_to(root).as_posix(): self.copy_in(path) for path in names}

    def forget_new(self) -> None:
        """Take out what was put in since the last time."""
        for path in self.put:
            path.unlink(missing_ok=True)
        self.put.clear()


def md5_of(path: Path) -> str:
    """Hex md5 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def rows(
    draw: np.random.Generator, people: pa.Array, count: int, first: int, last: int
) -> pa.Table:
    """`count` interactions of days `first` to `last` - 1, in the schema of the shards."""
    times = BEGAN + first * DAY + draw.integers(0, (last - first) * DAY, count)
    items = pa.array([f"item-{n:05}" for n in range(ITEMS)])
    columns: dict[str, Any] = {
        "user": people.take(pa.array(draw.integers(0, len(people), count))),
        "item": items.take(pa.array(draw.zipf(1.3, count) % ITEMS)),
        "timestamp": pa.array(times),
        "event_type": pa.array(["view"] * count),
    }
    arrays = [columns.get(f.name, pa.nulls(count, f.type)) for f in INTERACTIONS]
    cast = [pa.array(a).cast(f.type) for a, f in zip(arrays, INTERACTIONS, strict=True)]
    return pa.table(cast, schema=INTERACTIONS)


def grown(root: Path, store: Store, size: int) -> tuple[pa.Array, list[Files]]:
    """The people, and one version after each of the last days."""
    draw = np.random.default_rng(1)
    codes = draw.bytes(16 * max(2_000, size // EACH)).hex()
    people = pa.array([codes[n : n + 32] for n in range(0, len(codes), 32)])
    shards, versions = ShardStore(root, BUCKETS), list[Files]()
    old, step = DAYS - VERSIONS, 30
    for first in range(0, old, step):
        last = min(first + step, old)
        shards.append(rows(draw, people, size * (last - first) // DAYS, first, last))
    for day in range(old, DAYS):
        shards.append(rows(draw, people, size // DAYS, day, day + 1))
        shards.seal(0, HEAD)
        versions.append(store.keep(root))
    return people, versions


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds of a call, and what it returned."""
    began = time.perf_counter()
    found = call()
    return time.perf_counter() - began, found


def substituted(
    store: Store, versions: Sequence[Files], gone: set[str], work: Path
) -> tuple[float, int, int, list[int]]:
    """As a night does it: seconds, files and bytes written, rows left in each version."""
    work.mkdir()
    history = History(store, Purge(gone, 1, HEAD), work)
    seconds, made = timed(lambda: [history.rewrite(files) for files in versions])
    size = sum(path.stat().st_size for path in store.put)
    shutil.rmtree(work)
    return seconds, history.files_rewritten, size, [one.rows for one in made if one]


def linked(store: Store, files: Files, root: Path) -> Path:
    """A copy of a version that costs nothing: hard links, which a rewrite replaces."""
    shutil.rmtree(root, ignore_errors=True)
    for name, digest in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(store.folder / digest, root / name)
    return root


def written(root: Path) -> tuple[int, int]:
    """Files of a linked copy that were written anew, and their bytes."""
    new = [p.stat().st_size for p in root.rglob("*") if p.is_file() and p.stat().st_nlink == 1]
    return len(new), sum(new)


def purged(root: Path, gone: set[str]) -> int:
    """One version purged and sealed; the rows left."""
    shards = ShardStore(root, BUCKETS)
    shards.purge(gone)
    shards.seal(1, HEAD)
    return int(shards.manifest()["rows"])


def rewritten(root: Path, gone: set[str]) -> int:
    """Every file of one version read, filtered and written; the rows left."""
    people, left = pa.array(sorted(gone), pa.string()), 0
    for path in sorted(root.glob("*/*.parquet")):
        table = read_table(path)
        table = table.filter(pc.invert(pc.is_in(table.column(USER), value_set=people)))
        write_table(path, table)
        left += table.num_rows
    return left


def with_polars(root: Path, gone: set[str]) -> int:
    """The same, by polars."""
    polars, left = importlib.import_module("polars"), 0
    for path in sorted(root.glob("*/*.parquet")):
        frame = polars.read_parquet(path).filter(~polars.col(USER).is_in(sorted(gone)))
        new = path.with_suffix(".new")
        frame.write_parquet(new, compression="zstd")
        new.replace(path)
        left += frame.height
    return left


def erasing(way: Way, gone: set[str]) -> Callable[[Path], int]:
    """One way, with the people to erase."""
    return lambda root: way(root, gone)


def each_whole(
    store: Store, versions: Sequence[Files], way: Callable[[Path], int], root: Path, left: list[int]
) -> tuple[float, int, int]:
    """Three versions done one by one, times ten: seconds, files and bytes written."""
    seconds, files, size = 0.0, 0, 0
    for number in SAMPLE:
        copy = linked(store, versions[number], root)
        spent, rows_left = timed(functools.partial(way, copy))
        assert rows_left == left[number], "the ways must leave the same rows"
        count, held = written(copy)
        seconds, files, size = seconds + spent, files + count, size + held
    times = len(versions) / len(SAMPLE)
    return seconds * times, round(files * times), round(size * times)


def lines(place: Path, store: Store, people: pa.Array, versions: Sequence[Files]) -> Iterator[str]:
    """A row of the table for each number of people and each way."""
    ways: dict[str, Way] = {
        "each version purged": purged,
        "each file of each version rewritten": rewritten,
    }
    if importlib.util.find_spec("polars"):
        ways["the same, with polars"] = with_polars
    draw = np.random.default_rng(2)
    store.put.clear()
    for count in ERASED:
        gone = set(people.take(pa.array(draw.choice(len(people), count, False))).to_pylist())
        ours = substituted(store, versions, gone, place / "work")
        store.forget_new()
        told = f"{ours[0]:.1f} | {ours[1]:,} | {ours[2] / 1e6:,.0f}"
        yield f"| {count:,} | **substituted** | {told} | |"
        for name, way in ways.items():
            spent, files, size = each_whole(
                store, versions, erasing(way, gone), place / "copy", ours[3]
            )
            ratio = spent / max(ours[0], 0.01)
            yield f"| | {name} | {spent:.1f} | {files:,} | {size / 1e6:,.0f} | {ratio:.1f} |"


def main() -> None:
    """Measure, print the table and write it into the page."""
    size, load = int(sys.argv[1] if sys.argv[1:] else 1_000_000), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        store = Store(place / "store")
        spent, (people, versions) = timed(lambda: grown(place / "shards", store, size))
        shutil.rmtree(place / "shards")
        held = sum(path.stat().st_size for path in store.folder.iterdir())
        objects = sum(1 for _ in store.folder.iterdir())
        table = list(lines(place, store, people, versions))
    text = "\n".join([
        (f"{machine(load)} {size:,} rows of {len(people):,} people in two "
        f"years, {VERSIONS} versions, {sum(map(len, versions)):,} files by name, {objects:,} "
        f"stored in {held / 1e6:,.0f} MB. Making them took {spent:.0f} s."),
        "",
        "| Erased | Way | s | Files written | MB written | Times the seconds |",
        "|---:|---|---:|---:|---:|---:|",
        *table,
    ])  # fmt: skip
    print(text)
    put("history", text)


if __name__ == "__main__":
    main()
