"""Versions under new names: as if the names had always been these, and never wrapped twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import ArtifactCorrupt, WrongKey
from lethe.interactions.rights.identity import Keys
from lethe.interactions.shards import renaming
from lethe.interactions.shards.merging import read_table
from lethe.interactions.shards.renaming import Renaming
from lethe.interactions.shards.store import ShardStore
from tests.interactions.shards.rows import ROW, Row, contents, person, row, table
from tests.interactions.shards.test_history import Kept

FIRST = Keys(bytes(32), b"\1" * 32)
SECOND = Keys(bytes(32), b"\1" * 32, b"\2" * 32)
THIRD = Keys(bytes(32), b"\1" * 32, b"\3" * 32)
MONTH = 31 * 86_400


def named(rows: pa.Table, keys: Keys) -> pa.Table:
    """Rows of people, under the names of a generation."""
    names = keys.wrapped(rows["user"].to_pylist())
    return rows.set_column(0, rows.schema.field(0), pa.array(names, pa.string()))


def sealed(root: Path, rows: list[Row], keys: Keys, people: set[int]) -> ShardStore:
    store = ShardStore(root, 4, keys.generation)
    if rows:
        store.append(named(table(rows), keys))
    if people:
        users = keys.wrapped([person(one) for one in sorted(people)])
        attributes = pa.table({"user": users, "COUNTRY": ["DE"] * len(users)})
        store.put_attributes("users", attributes)
    store.put_attributes("items", pa.table({"item": ["item-0"], "KIND": ["x"]}))
    store.seal(3, "h", ["t"])
    return store


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(ROW, max_size=40),
    people=st.sets(st.integers(0, 5)),
    pair=st.sampled_from([(FIRST, SECOND), (SECOND, THIRD)]),
)
def test_a_renamed_version_is_the_one_that_the_new_names_would_have_made_byte_for_byte(
    rows: list[Row], people: set[int], pair: tuple[Keys, Keys],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    place, kept, (before, after) = tmp_path_factory.mktemp("renamed"), Kept(), pair
    sealed(place / "old", rows, before, people)
    wanted = sealed(place / "new", rows, after, people)
    work = place / "work"
    work.mkdir()
    found = Renaming(kept, before, after, work).rewrite(kept.keep(place / "old"))
    assert {name: kept.held[digest] for name, digest in found.items()} == contents(wanted.root)
    assert list(work.glob("*.parquet")) in ([], [work / "before.parquet"])


def test_the_same_rows_belong_to_the_same_people_before_and_after(tmp_path: Path) -> None:
    rows, kept = [row(one, f"item-{n}") for one in range(6) for n in range(4)], Kept()
    old = sealed(tmp_path / "old", rows, SECOND, set())
    (tmp_path / "work").mkdir()
    files = Renaming(kept, SECOND, THIRD, tmp_path / "work").rewrite(kept.keep(old.root))
    for name, digest in files.items():
        path = tmp_path / "laid" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(kept.held[digest])
    new = ShardStore(tmp_path / "laid", 4, THIRD.generation)
    new.verify()
    assert people_in(new, THIRD) == people_in(old, SECOND) == people_in(
        sealed(tmp_path / "inner", rows, FIRST, set()), FIRST
    )  # fmt: skip


def people_in(store: ShardStore, keys: Keys) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for part in store.scan():
        inner = keys.inner(part["user"].to_pylist())
        rest = (part[name].to_pylist() for name in part.column_names if name != "user")
        found.update(zip(inner, *rest, strict=True))
    return found


def test_a_month_that_versions_share_is_written_once(tmp_path: Path) -> None:
    kept, store = Kept(), ShardStore(tmp_path / "v", 4)
    store.append(table([row(one, "a") for one in range(6)]))
    store.seal(1, "h")
    first = kept.keep(store.root)
    store.append(table([row(one, "b", time=MONTH * 40) for one in range(6)]))
    store.seal(2, "i")
    second = kept.keep(store.root)
    (tmp_path / "work").mkdir()
    rewriting = Renaming(kept, FIRST, SECOND, tmp_path / "work")
    one, other = rewriting.rewrite(first), rewriting.rewrite(second)
    assert rewriting.months_rewritten == 2
    assert one.items() - {("manifest.json", one["manifest.json"])} < other.items()


def test_names_are_never_wrapped_twice_nor_from_another_generation(tmp_path: Path) -> None:
    kept, work = Kept(), tmp_path / "work"
    work.mkdir()
    files = kept.keep(sealed(tmp_path / "v", [row(1, "a")], FIRST, {1}).root)
    renamed = Renaming(kept, FIRST, SECOND, work).rewrite(files)
    for before in (FIRST, THIRD):
        with pytest.raises(WrongKey, match="a data version"):
            Renaming(kept, before, SECOND, work).rewrite(renamed)
    with pytest.raises(WrongKey, match="a data version"):
        Renaming(kept, SECOND, THIRD, work).rewrite(files)


def test_a_version_that_would_lose_a_row_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, work = Kept(), tmp_path / "work"
    work.mkdir()
    files = kept.keep(sealed(tmp_path / "v", [row(1, "a"), row(2, "a")], FIRST, set()).root)
    with monkeypatch.context() as patch:
        patch.setattr(renaming, "distinct", lambda rows: rows.slice(1))
        with pytest.raises(ArtifactCorrupt, match="other rows"):
            Renaming(kept, FIRST, SECOND, work).rewrite(files)
    with monkeypatch.context() as patch:
        patch.setattr(renaming, "read_table", lambda path: read_table(path).slice(1))
        with pytest.raises(ArtifactCorrupt, match="other rows"):
            Renaming(kept, FIRST, SECOND, work).rewrite(files)
    with pytest.raises(ArtifactCorrupt, match=r"no manifest\.json"):
        Renaming(kept, FIRST, SECOND, work).rewrite({})


def test_shards_of_another_generation_are_not_opened(tmp_path: Path) -> None:
    sealed(tmp_path / "v", [row(1, "a")], SECOND, set())
    for names in ("", THIRD.generation):
        with pytest.raises(WrongKey, match="not of the present pseudonym key"):
            ShardStore(tmp_path / "v", 4, names)
    sealed(tmp_path / "w", [row(1, "a")], FIRST, set())
    with pytest.raises(WrongKey, match="not of the present pseudonym key"):
        ShardStore(tmp_path / "w", 4, SECOND.generation)
