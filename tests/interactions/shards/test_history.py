"""Retained versions that forget: as a purge of each whole version, at the cost of a few files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import ArtifactCorrupt, WrongKey
from lethe.interactions.shards.history import Files, History, Purge
from lethe.interactions.shards.store import ShardStore
from tests.interactions.shards.rows import ROW, Row, contents, person, row, table

MONTH = 31 * 86_400


class Kept:
    """Files under their digest, in memory; counts what is read and written."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.read: list[str] = []
        self.written: list[str] = []

    def copy_out(self, digest: str, target: Path) -> None:
        self.read.append(digest)
        target.write_bytes(self.held[digest])

    def copy_in(self, path: Path) -> str:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        self.written.append(digest)
        self.held[digest] = content
        return digest

    def keep(self, root: Path) -> dict[str, str]:
        """A whole folder as a version."""
        return {name: self.copy_in(root / name) for name in contents(root)}


def names(people: set[int]) -> set[str]:
    return {person(number) for number in people}


def history(store: Kept, people: set[int], work: Path, apart: set[int] | None = None) -> History:
    work.mkdir(exist_ok=True)
    return History(store, Purge(names(people), 9, "f" * 64, names(apart or set())), work)


def grown(
    root: Path, nights: list[list[Row]], apart: set[int] | None = None
) -> tuple[Kept, list[dict[str, str]]]:
    """One version a night, each with the rows of all nights before it."""
    kept, versions = Kept(), []
    store = ShardStore(root, buckets=3)
    for position, rows in enumerate(nights):
        store.append(table(rows))
        head = f"{position:064x}"
        store.seal(position, head, [head], uncounted=names(apart or set()))
        versions.append(kept.keep(root))
    return kept, versions


@given(
    st.lists(st.lists(ROW, min_size=1, max_size=8), min_size=1, max_size=4),
    st.sets(st.integers(0, 6), max_size=3),
    st.sets(st.integers(0, 6), max_size=2),
)
@settings(max_examples=40, deadline=None)
def test_a_rewritten_version_is_the_purged_version_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory,
    nights: list[list[Row]],
    gone: set[int],
    apart: set[int],
) -> None:
    """`apart` are in no count, whether they go or stay."""
    root = tmp_path_factory.mktemp("history")
    kept, versions = grown(root / "store", nights, apart)
    rewriting = history(kept, gone, root / "work", apart)
    for number, files in enumerate(versions):
        found = rewriting.rewrite(files)
        oracle = whole(kept, files, root / f"whole-{number}")
        purged = oracle.purge(names(gone))
        assert (found is None) is (not purged.users)
        if found is None:
            continue
        oracle.seal(9, "f" * 64, uncounted=names(apart))
        assert {name: kept.held[digest] for name, digest in found.files.items()} == contents(
            oracle.root
        )
        counts = oracle.counts(names(apart))
        assert (found.rows, found.users, found.items) == (counts.rows, counts.users, counts.items)
        assert found.rows_removed == sum(
            rows for one, rows in purged.per_user.items() if one not in names(apart)
        )


def whole(kept: Kept, files: Files, root: Path) -> ShardStore:
    for name, digest in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(kept.held[digest])
    return ShardStore(root, buckets=3)


def test_a_file_that_many_versions_share_is_rewritten_once_and_the_others_stay_unread(
    tmp_path: Path,
) -> None:
    """Ten nights, each a new month; only the first month holds the person."""
    first = [row(number, "i", number) for number in range(6)]
    nights = [first, *([row(5, "i", month * MONTH)] for month in range(1, 10))]
    kept, versions = grown(tmp_path / "store", nights)
    before = len(kept.written)
    rewriting = history(kept, {0}, tmp_path / "work")
    found = [rewriting.rewrite(files) for files in versions]
    assert all(version is not None and version.rows_removed == 1 for version in found)
    assert rewriting.files_rewritten == 1
    assert len(kept.written) - before == 1 + len(versions)  # the shard, and each manifest
    parquet_read = [digest for digest in kept.read if kept.held[digest].startswith(b"PAR1")]
    assert len(parquet_read) == len(set(parquet_read))


def test_an_item_is_lost_only_with_its_last_row_in_any_shard(tmp_path: Path) -> None:
    nights = [[row(0, "only theirs"), row(0, "shared"), row(1, "shared", MONTH)]]
    kept, [files] = grown(tmp_path / "store", nights)
    found = history(kept, {0}, tmp_path / "work").rewrite(files)
    assert found is not None
    assert (found.rows, found.users, found.items) == (1, 1, 1)


def test_the_attributes_of_a_person_without_rows_go_too(tmp_path: Path) -> None:
    import pyarrow as pa

    store = ShardStore(tmp_path / "store", buckets=3)
    store.append(table([row(1)]))
    store.put_attributes("users", pa.table({"user": [person(0), person(1)], "city": ["x", "y"]}))
    store.seal(0, "0" * 64)
    kept = Kept()
    found = history(kept, {0}, tmp_path / "work").rewrite(kept.keep(store.root))
    assert found is not None
    assert (found.rows, found.users, found.rows_removed) == (1, 1, 0)
    assert person(0).encode() not in b"".join(kept.held[d] for d in found.files.values())


def test_a_version_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorrupt, match="manifest"):
        history(Kept(), {0}, tmp_path / "work").rewrite({"2020-01/b0.parquet": "d"})


def test_a_version_of_another_generation_is_refused(tmp_path: Path) -> None:
    """Its names would belong to nobody who is erased, and everybody would stay."""
    kept, [files] = grown(tmp_path / "store", [[row(1)]])
    (tmp_path / "work").mkdir()
    purge = Purge(names({1}), 9, "f" * 64, names="0" * 16)
    with pytest.raises(WrongKey, match="not of the present pseudonym key"):
        History(kept, purge, tmp_path / "work").rewrite(files)
