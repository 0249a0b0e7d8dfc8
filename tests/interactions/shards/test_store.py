"""Shards: one set of rows whatever the order, and a purge that touches nobody else."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import ArtifactCorrupt, BadInput
from lethe.interactions.columns import INTERACTIONS
from lethe.interactions.shards import store as shards_module
from lethe.interactions.shards.merging import distinct, read_table, write_table
from lethe.interactions.shards.store import ShardStore
from tests.interactions.shards.rows import DAY, ROW, Row, contents, person, row, stored, table


def slow_oracle(rows: list[Row]) -> Counter[Row]:
    """Exact duplicates once; per user and event id only the smallest row, nulls last."""
    rows = [(*r[:4], 0.0 if r[4] == 0 else r[4], *r[5:]) for r in rows]

    def order(r: Row) -> tuple[Any, ...]:
        keys = (r[2], r[1], r[3], r[4], r[5])
        return tuple((key is None, key) if key is not None else (True, 0) for key in keys)

    first: dict[Any, Row] = {}
    for r in sorted(set(rows), key=order):
        first.setdefault((r[0], r[6]) if r[6] is not None else r, r)
    return Counter(first.values())


@given(st.lists(ROW, max_size=25), st.integers(1, 4), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_arrival_changes_no_byte(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], parts: int, rng: random.Random
) -> None:
    root = tmp_path_factory.mktemp("store")
    one = ShardStore(root / "one", buckets=2)
    added = one.append(table(rows))
    assert added.rows_new + added.rows_duplicate == len(rows)
    shuffled = list(rows)
    rng.shuffle(shuffled)
    other = ShardStore(root / "other", buckets=2)
    for part in range(parts):
        other.append(table(shuffled[part::parts]))
    other.append(table(rows))  # and it is idempotent
    one.seal(0, "head")
    other.seal(0, "head")
    assert contents(one.root) == contents(other.root)
    found = Counter(tuple(entry[name] for name in INTERACTIONS.names) for entry in stored(one))
    assert found == slow_oracle(rows)


@given(st.lists(ROW, min_size=1, max_size=25), st.sets(st.integers(0, 7), max_size=4))
@settings(max_examples=40, deadline=None)
def test_a_purge_removes_its_people_and_no_row_of_anybody_else(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], gone: set[int]
) -> None:
    store = ShardStore(tmp_path_factory.mktemp("store"), buckets=3)
    store.append(table(rows))
    before = stored(store)
    files = contents(store.root)
    people = {person(number) for number in gone}
    purged = store.purge(people)
    theirs = Counter(entry["user"] for entry in before if entry["user"] in people)
    assert purged.per_user == dict(theirs)
    assert (purged.rows, purged.users) == (theirs.total(), len(theirs))
    assert stored(store) == [entry for entry in before if entry["user"] not in people]
    assert not any(store.holds(someone) for someone in people)
    changed = {name for name in files if files[name] != contents(store.root).get(name)}
    assert len(changed) == purged.shards_rewritten
    for name in changed:
        assert people & {e["user"] for e in before if _shard(store, e) == name}
    for someone in people:
        assert not any(someone.encode() in content for content in contents(store.root).values())
    assert store.purge(people).rows == 0
    assert "purged" not in repr(purged)
    assert not any(someone in repr(purged) for someone in people)


def _shard(store: ShardStore, entry: dict[str, Any]) -> str:
    month = str(__import__("numpy").datetime64(entry["timestamp"], "s").astype("datetime64[M]"))
    return f"{month}/b{int(entry['user'][:4], 16) % store.buckets}.parquet"


def test_an_event_sent_again_with_a_later_time_is_one_event_across_months(tmp_path: Path) -> None:
    """The mutant that looks at the touched month only keeps both."""
    for order in ([5, 45], [45, 5]):
        store = ShardStore(tmp_path / str(order[0]))
        for day in order:
            store.append(table([row(1, time=day * DAY, event="e"), row(2, time=day * DAY)]))
        assert sorted(e["timestamp"] for e in stored(store)) == [5 * DAY, 5 * DAY, 45 * DAY]


def test_a_batch_rewrites_each_shard_once_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: Counter[str] = Counter()

    def counting(path: Path, content: pa.Table) -> None:
        written[path.name] += 1
        write_table(path, content)

    monkeypatch.setattr(shards_module, "write_table", counting)
    store, plain = ShardStore(tmp_path / "spilled"), ShardStore(tmp_path / "plain")
    with store.batch(spill_bytes=100) as batch:
        for number in range(20):
            batch.add(table([row(number % 3, f"i{number}", number)]))
    assert set(written.values()) == {1}
    assert (batch.appended.rows_new, batch.appended.rows_duplicate) == (20, 0)
    plain.append(table([row(number % 3, f"i{number}", number) for number in range(20)]))
    assert contents(store.root) == contents(plain.root)


def test_a_fault_inside_a_batch_leaves_every_shard_as_it_was(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    store.append(table([row(1)]))
    before = contents(tmp_path)

    def breaking_off() -> None:
        with store.batch(spill_bytes=1) as batch:
            batch.add(table([row(2)]))
            batch.add(table([row(3)]).drop_columns(["item"]))

    with pytest.raises(BadInput, match="other columns"):
        breaking_off()
    assert contents(tmp_path) == before


def test_a_write_cut_off_anywhere_is_repaired_by_doing_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(user, time=day * DAY, event=f"e{user}") for user in range(6) for day in (5, 45, 80)]
    first, second = rows[::2], rows[1::2]
    whole = ShardStore(tmp_path / "whole")
    whole.append(table(rows))
    whole.seal(3, "head", ["f1"])
    for limit in range(8):
        store = ShardStore(tmp_path / f"cut{limit}")
        store.append(table(first))
        store.seal(2, "head")
        left = [limit]

        def dying(path: Path, content: pa.Table, left: list[int] = left) -> None:
            if left[0] == 0:
                path.parent.mkdir(exist_ok=True)
                path.with_name(f".{path.name}.1.part").write_bytes(b"half a shard")
                raise KeyboardInterrupt
            left[0] -= 1
            write_table(path, content)

        monkeypatch.setattr(shards_module, "write_table", dying)
        try:
            store.append(table(second))
        except KeyboardInterrupt:
            with pytest.raises(ArtifactCorrupt):
                store.verify()
        monkeypatch.setattr(shards_module, "write_table", write_table)
        store.append(table(second))
        store.seal(3, "head", ["f1"])
        store.verify()
        assert contents(store.root) == contents(whole.root)


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (("00123", "i", 0, "view", None, None, None), "1 of 2 rows carry a user"),
        ((person(1), None, 0, "view", None, None, None), "without item"),
        ((person(1), "i", -1, "view", None, None, None), "out of range"),
        ((person(1), "i", 0, "view", float("nan"), None, None), "out of range"),
    ],
)
def test_rows_that_do_not_conform_never_enter_and_are_not_shown(
    tmp_path: Path, wrong: Row, rule: str
) -> None:
    store = ShardStore(tmp_path)
    with pytest.raises(BadInput, match=rule) as caught:
        store.append(table([row(1), wrong]))
    assert "00123" not in str(caught.value)
    assert not list(store.scan())
    with pytest.raises(BadInput, match="other columns"):
        store.append(table([row(1)]).drop_columns(["event_id"]))


def test_holds_reads_only_the_persons_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ShardStore(tmp_path)
    store.append(table([row(n, time=n * 20 * DAY) for n in range(20)]))
    opened: list[Path] = []

    def reading(path: Path, columns: tuple[str, ...] | None = None) -> pa.Table:
        opened.append(path)
        return read_table(path, columns)

    monkeypatch.setattr(shards_module, "read_table", reading)
    assert store.holds(person(3))
    assert not store.holds(person(99))
    assert len({path.name for path in opened}) <= 2


def test_attributes_are_laid_over_and_purged_with_their_people(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    assert store.attributes("users") is None
    users = pa.table({"user": [person(2), person(1)], "age": ["20", "30"]})
    store.put_attributes("users", users)
    store.put_attributes("users", pa.table({"user": [person(1)], "age": [None], "land": ["nl"]}))
    found = store.attributes("users")
    assert found is not None
    assert {e["user"]: (e["age"], e["land"]) for e in found.to_pylist()} == {
        person(1): (None, "nl"),
        person(2): ("20", None),
    }
    assert store.holds(person(1))
    purged = store.purge({person(1), person(3)})
    assert (purged.rows, purged.users, purged.per_user) == (0, 1, {person(1): 0})
    assert not store.holds(person(1))
    store.purge({person(2)})
    assert store.attributes("users") is None
    with pytest.raises(BadInput, match="not a pseudonym"):
        store.put_attributes("users", pa.table({"user": ["00123"], "age": ["1"]}))
    with pytest.raises(BadInput, match="distinct keys"):
        store.put_attributes("items", pa.table({"item": ["a", "a"]}))


def test_a_purge_sweeps_what_a_killed_write_left(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    store.append(table([row(1)]))
    (tmp_path / ".spill.dead").mkdir()
    (tmp_path / ".spill.dead" / "0.arrow").write_bytes(person(1).encode())
    (tmp_path / "1970-01" / ".b1.parquet.9.part").write_bytes(person(1).encode())
    store.purge({person(1)})
    assert contents(tmp_path) == {}


def test_distinct_keeps_the_first_of_an_event() -> None:
    rows = [row(1, "b", 5, "e"), row(1, "a", 5, "e"), row(1, "a", 5, "e"), row(2, "z", 9, "e")]
    assert distinct(table(rows)).column("item").to_pylist().count("a") == 1
    assert distinct(table(rows)).num_rows == 2


def test_minus_zero_is_written_as_zero_so_that_equal_rows_are_equal_bytes(tmp_path: Path) -> None:
    for name, value in (("plus", 0.0), ("minus", -0.0)):
        ShardStore(tmp_path / name).append(table([(person(1), "i", 0, "view", value, None, None)]))
    assert contents(tmp_path / "plus") == contents(tmp_path / "minus")
