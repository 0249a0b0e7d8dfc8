"""Sealed shards: the manifest says what there must be, and damage shows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from lethe.errors import ArtifactCorrupt, BadConfiguration
from lethe.interactions.shards.store import ShardStore
from tests.interactions.shards.rows import DAY, row, table


def test_the_manifest_says_what_there_must_be(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    with pytest.raises(ArtifactCorrupt, match="never sealed"):
        store.verify()
    store.append(table([row(1, "a"), row(1, "b"), row(2, "a", 40 * DAY)]))
    store.put_attributes("items", pa.table({"item": ["a"], "colour": ["red"]}))
    store.seal(7, "abc", ["f2", "f1"])
    store.seal(8, "abd", ["f3"])
    store.verify()
    manifest = store.manifest()
    assert manifest["register_position"] == 8
    assert manifest["taken"] == ["f1", "f2", "f3"]
    assert (manifest["rows"], manifest["users"], manifest["items"]) == (3, 2, 2)
    assert "items.parquet" in manifest["shards"]
    assert sum(shard["rows"] for shard in manifest["shards"].values()) == 4
    with pytest.raises(BadConfiguration, match="another number of buckets"):
        ShardStore(tmp_path, buckets=4)


@pytest.mark.parametrize("damage", ["flip", "remove", "add", "link", "manifest"])
def test_damage_is_named(tmp_path: Path, damage: str) -> None:
    store = ShardStore(tmp_path)
    store.append(table([row(n, f"i{n}", n) for n in range(50)]))
    store.seal(0, "head")
    shard = next(tmp_path.glob("*/*.parquet"))
    content = bytearray(shard.read_bytes())
    if damage == "flip":
        content[len(content) // 3] ^= 1
        shard.write_bytes(content)
    elif damage == "remove":
        shard.unlink()
    elif damage == "add":
        (shard.parent / "b9.parquet").write_bytes(content)
    elif damage == "link":
        shard.rename(tmp_path.parent / "elsewhere")
        shard.symlink_to(tmp_path.parent / "elsewhere")
    else:
        (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ArtifactCorrupt):
        store.verify()


def test_page_checksums_stop_a_reader_even_without_the_manifest(tmp_path: Path) -> None:
    store = ShardStore(tmp_path, buckets=1)
    store.append(table([row(n, f"i{n}", n) for n in range(500)]))
    (shard,) = tmp_path.glob("*/*.parquet")
    content = bytearray(shard.read_bytes())
    caught = 0
    for place in range(100, 2_100, 100):
        damaged = bytearray(content)
        damaged[place] ^= 4
        shard.write_bytes(damaged)
        try:
            list(store.scan())
        except ArtifactCorrupt:
            caught += 1
    assert caught >= 19


def test_no_footer_or_dictionary_keeps_a_person(tmp_path: Path) -> None:
    store = ShardStore(tmp_path, buckets=1)
    store.append(table([row(n, f"i{n}", n, f"e{n}") for n in range(3)]))
    (shard,) = tmp_path.glob("*/*.parquet")
    group = parquet.read_metadata(shard).row_group(0)
    chunks = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    for name in ("user", "event_id"):
        assert chunks[name].statistics is None
        assert not any("DICTIONARY" in encoding for encoding in chunks[name].encodings)
    assert not parquet.read_metadata(shard).metadata
