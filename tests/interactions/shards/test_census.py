"""Counting once: what the shards were found to hold stays true of them, or is counted again."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.interactions.columns import INTERACTIONS
from lethe.interactions.shards import merging
from lethe.interactions.shards.insights import Census
from lethe.interactions.shards.merging import Writing, distinct
from lethe.interactions.shards.store import ShardStore
from tests.interactions.shards.rows import ROW, Row, person, row, stored, table


def names(people: set[int]) -> frozenset[str]:
    return frozenset(map(person, people))


@given(
    rows=st.lists(ROW, max_size=20),
    gone=st.sets(st.integers(0, 5)),
    apart=st.sets(st.integers(0, 5)),
)
@settings(max_examples=40, deadline=None)
def test_a_census_that_hears_of_a_purge_is_one_taken_after_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], gone: set[int], apart: set[int]
) -> None:
    store = ShardStore(tmp_path_factory.mktemp("store"), buckets=3)
    store.append(table(rows))
    census = store.census(names(apart))
    store.purge(names(gone), census)
    again = store.census(names(apart))
    assert (census.users, +census.items) == (again.users, again.items)
    left = [entry for entry in stored(store) if entry["user"] not in names(apart)]
    counts = census.counts()
    assert (counts.rows, counts.users, counts.items) == (
        len(left), len({e["user"] for e in left}), len({e["item"] for e in left}),
    )  # fmt: skip
    store.seal(1, "head", (), names(apart), census)
    sealed = store.manifest()
    store.seal(1, "head", (), names(apart))
    assert store.manifest() == sealed


@pytest.mark.parametrize("stale", [Census(), "before the purge", "others apart", "no items"])
def test_a_census_that_is_not_of_these_rows_is_not_believed(
    tmp_path: Path, stale: Census | str
) -> None:
    store = ShardStore(tmp_path)
    store.append(table([row(1, "a"), row(2, "b"), row(2, "c")]))
    apart = names({1}) if stale == "others apart" else frozenset()
    census = store.census(apart, items=stale != "no items")
    if stale == "before the purge":
        store.purge(names({1}))
    store.seal(1, "head", census=census if isinstance(stale, str) else stale)
    counts = store.counts()
    sealed = store.manifest()
    assert (sealed["rows"], sealed["users"], sealed["items"]) == (
        counts.rows, counts.users, counts.items,
    )  # fmt: skip


@given(rows=st.lists(ROW, max_size=20))
@settings(max_examples=40, deadline=None)
def test_rows_sorted_as_numbers_are_those_sorted_as_texts(rows: list[Row]) -> None:
    rows = [(*r[:1], f"{r[1]}é\U0001f600"[: 1 + len(rows) % 3], *r[2:6], None) for r in rows]
    found = distinct(table(rows))
    keys = [(name, "ascending") for name in ("user", "timestamp", *INTERACTIONS.names[1:2])]
    keys += [(name, "ascending") for name in INTERACTIONS.names[3:]]
    whole = table(rows).sort_by(keys).to_pylist()
    first = [entry for place, entry in enumerate(whole) if entry not in whole[:place]]
    assert found.to_pylist() == first
    assert found.schema == INTERACTIONS


def test_after_a_write_that_failed_none_follows(tmp_path: Path) -> None:
    written: list[str] = []

    def write(path: Path, _: pa.Table) -> None:
        if path.name == "bad":
            raise OSError("no room")
        written.append(path.name)

    def all_of(names: str, fault: type[BaseException] | None = None) -> None:
        with Writing(write) as writing:
            for name in names.split():
                writing.put(tmp_path / name, pa.table({}))
            if fault:
                raise fault

    with pytest.raises(OSError, match="no room"):
        all_of("good bad late later last")
    assert written == ["good"]
    with pytest.raises(KeyboardInterrupt):
        all_of("", KeyboardInterrupt)
    all_of("one two three four")
    assert written == ["good", "one", "two", "three", "four"]


def test_tables_encoded_side_by_side_are_written_in_the_order_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant that writes whatever is encoded first."""
    written: list[str] = []
    others_are_encoded = threading.Event()

    def encoded(content: pa.Table) -> pa.Buffer:
        if content.num_rows == 1:
            assert others_are_encoded.wait(30)
        else:
            others_are_encoded.set()
        return pa.py_buffer(b"")

    monkeypatch.setattr(merging, "encoded", encoded)
    with Writing(lambda path, _: written.append(path.name)) as writing:
        for rows, name in enumerate(("first", "second", "third"), 1):
            writing.put(tmp_path / name, pa.table({"a": [1] * rows}))
    assert written == ["first", "second", "third"]


def test_after_a_table_that_cannot_be_encoded_none_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def encoded(content: pa.Table) -> pa.Buffer:
        if content.num_rows == 2:
            raise OSError("no room")
        return pa.py_buffer(b"")

    def all_of_them() -> None:
        with Writing(lambda path, _: written.append(path.name)) as writing:
            for rows in (1, 2, 3):
                writing.put(tmp_path / str(rows), pa.table({"a": [1] * rows}))

    monkeypatch.setattr(merging, "encoded", encoded)
    with pytest.raises(OSError, match="no room"):
        all_of_them()
    assert written == ["1"]
