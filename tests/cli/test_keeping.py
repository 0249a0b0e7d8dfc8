"""`lethe du` and `lethe data`: what is kept, how much of it, and what one version differs in."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.desk.estate.keeping import compared
from lethe.durable import sha256_file
from lethe.estate.stores import STORES
from lethe.interactions.columns import INTERACTIONS
from lethe.interactions.shards.store import ShardStore
from tests.cli.door import Door
from tests.watched import Shop


def test_the_disk_use_is_that_of_every_store(small_night: Shop, door: Door) -> None:
    at = ("--workspace", str(small_night.root))
    found, plain = door(*at, "--json", "du"), door(*at, "du")
    stores = found.json["stores"]
    assert isinstance(stores, list)
    sizes = {entry["store"]: (entry["files"], entry["bytes"]) for entry in stores}
    held = [path.stat().st_size for path in (small_night.root / ".lethe/remote").rglob("*")
            if path.is_file()]  # fmt: skip

    assert found.code == plain.code == 0
    assert list(sizes) == [store.name for store in STORES]
    assert sizes["DVC remote"] == (len(held), sum(held))
    assert found.json["bytes"] == sum(size for _, size in sizes.values()) > 0
    assert plain.out.splitlines()[-1].startswith("all ")


def test_what_lies_in_no_store_is_told(shop: Shop, door: Door) -> None:
    (shop.root / "data" / "stray.csv").write_text("x")
    stores = door("--workspace", str(shop.root), "--json", "du").json["stores"]
    (shop.root / "data" / "stray.csv").unlink()

    assert isinstance(stores, list)
    assert (stores[-1]["store"], stores[-1]["files"], stores[-1]["bytes"]) == ("in no store", 1, 1)


def test_a_data_version_is_listed_shown_and_checked_out(
    shop: Shop, door: Door, tmp_path: Path
) -> None:
    at = ("--workspace", str(shop.root), "--json", "data")
    listed = door(*at, "list").json["data_versions"]
    assert isinstance(listed, list)
    [version] = listed
    shown = door(*at, "show", version["digest"][:6]).json
    into = tmp_path / "copy"
    done = door(*at, "checkout", version["digest"], str(into))
    again = door(*at, "checkout", version["digest"], str(into))
    inside = door(*at, "checkout", version["digest"], str(shop.root / "data" / "copy"))

    assert version["present"] is True
    assert (shown["rows"], shown["solution_versions"]) == (version["rows"], [1])
    assert str(shown["digest"]).startswith(version["digest"])
    assert (done.code, again.code, inside.code) == (0, 2, 2)
    assert "not empty" in str(again.json["error"])
    assert "outside the workspace" in str(inside.json["error"])
    assert not (shop.root / "data" / "copy").exists()
    ShardStore(into).verify()
    assert ShardStore(into).rows() == version["rows"] == done.json["rows"]
    assert into.stat().st_mode & 0o777 == 0o700
    unknown = door(*at, "show", "ffff")
    assert "0 data versions start with" in str(unknown.json["error"])


def test_a_version_differs_from_itself_in_nothing(shop: Shop, door: Door) -> None:
    at = ("--workspace", str(shop.root), "--json", "data")
    listed = door(*at, "list").json["data_versions"]
    assert isinstance(listed, list)
    digest, rows = listed[0]["digest"], listed[0]["rows"]
    found = door(*at, "diff", digest, digest).json

    assert found["rows"] == {"only_in_the_first": 0, "only_in_the_second": 0, "in_both": rows}
    assert not (shop.root / ".lethe" / "tmp" / "difference").exists()


EVENTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 3)), max_size=25, unique=True
)


@settings(max_examples=25, deadline=None)
@given(first=EVENTS, second=EVENTS)
def test_the_difference_of_two_versions_is_that_of_their_rows(
    first: list[tuple[int, int, int]],
    second: list[tuple[int, int, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folders, files = [], []
    for events in (first, second):
        folder = tmp_path_factory.mktemp("version")
        rows = [
            {"user": f"{user:032x}", "item": f"i{item}", "timestamp": month * 2_700_000 + 1,
             "event_type": "view"}
            for user, item, month in events
        ]  # fmt: skip
        ShardStore(folder, 2).append(pa.Table.from_pylist(rows, schema=INTERACTIONS))
        folders.append(folder)
        files.append({path.relative_to(folder).as_posix(): sha256_file(path)
                      for path in folder.rglob("*.parquet")})  # fmt: skip
    found = compared(folders, files)
    for kind, sets in (
        ("rows", (set(first), set(second))),
        ("users", ({e[0] for e in first}, {e[0] for e in second})),
        ("items", ({e[1] for e in first}, {e[1] for e in second})),
    ):
        one, other = sets
        expected = [len(one - other), len(other - one), len(one & other)]
        assert list(found[kind].values()) == expected
