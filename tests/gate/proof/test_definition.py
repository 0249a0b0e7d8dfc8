"""The verifier's own reading of a data version, rule by rule, and what it refuses to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lethe.errors import ArtifactCorrupt
from lethe.gate.proof.retained import histories, rebuild

Row = tuple[str, str, str, float | None]
RULES: dict[str, Any] = {
    "event_value_minimum": None,
    "event_weights": {},
    "minimum_item_users": 1,
    "minimum_user_items": 1,
    "maximum_weight": 10.0,
    "item_attributes": None,
    "user_attributes": None,
    "category_separator": "|",
    "blank_values": [],
    "minimum_category_rows": 1,
    "maximum_categories": 9,
}


def written(folder: Path, *shards: Sequence[Row]) -> Path:
    """A data version with these events in one shard each."""
    for number, rows in enumerate(shards):
        place = folder / f"bucket={number}" / "part.parquet"
        place.parent.mkdir(parents=True)
        names = ("user", "item", "event_type", "event_value")
        kinds = (pa.string(), pa.string(), pa.string(), pa.float64())
        columns = {
            name: pa.array([row[k] for row in rows], kinds[k]) for k, name in enumerate(names)
        }
        pq.write_table(pa.table(columns), place, write_page_checksum=True, compression="none")
    return folder


def attributes(folder: Path, kind: str, **columns: list[str | None]) -> None:
    table = pa.table({name: pa.array(cells, pa.string()) for name, cells in columns.items()})
    pq.write_table(table, folder / f"{kind}.parquet", write_page_checksum=True, compression="none")


def cells(folder: Path, barred: str = "", **rules: Any) -> dict[tuple[str, str], float]:
    matrix = rebuild(
        folder, barred.__contains__ if barred else lambda _: False, RULES | rules
    ).matrix
    rows, columns = matrix.csr.nonzero()
    return {
        (matrix.users[row], matrix.items[column]): float(matrix.csr[row, column])
        for row, column in zip(rows, columns, strict=True)
    }


EVENTS: list[Row] = [
    ("u", "a", "view", None),
    ("u", "a", "view", 1.0),
    ("u", "b", "cart", 0.5),
    ("v", "a", "view", 2.0),
    ("w", "c", "buy", 3.0),
]


def test_one_pair_is_enough_and_none_is_too_few(tmp_path: Path) -> None:
    folder = written(tmp_path, [("u", "a", "view", None)])
    assert cells(folder) == {("u", "a"): 1.0}
    for rules in ({"minimum_item_users": 2}, {"minimum_user_items": 2}):
        with pytest.raises(ArtifactCorrupt, match="nothing to train on"):
            cells(folder, "", **rules)
    with pytest.raises(ArtifactCorrupt, match="nothing to train on"):
        cells(folder, barred="u")


def test_weights_are_summed_over_all_shards_and_capped(tmp_path: Path) -> None:
    folder = written(tmp_path, EVENTS[:2], EVENTS[2:])
    plain = {("u", "a"): 2.0, ("u", "b"): 1.0, ("v", "a"): 1.0, ("w", "c"): 1.0}
    assert cells(folder) == plain
    assert cells(folder, barred="vw") == {("u", "a"): 2.0, ("u", "b"): 1.0}
    assert cells(folder, maximum_weight=1.5)["u", "a"] == 1.5
    weights = {"view": 0.25, "cart": 0.0, "buy": 1e-6}
    assert cells(folder, event_weights=weights) == {
        ("u", "a"): 0.5,
        ("v", "a"): 0.25,
        ("w", "c"): float(np.float32(1e-6)),
    }


def test_events_below_the_least_value_or_without_one_are_left_out(tmp_path: Path) -> None:
    folder = written(tmp_path, EVENTS)
    assert cells(folder, event_value_minimum=1.0) == {
        ("u", "a"): 1.0,
        ("v", "a"): 1.0,
        ("w", "c"): 1.0,
    }
    assert ("u", "b") in cells(folder, event_value_minimum=0.5)
    assert ("u", "b") in cells(folder, event_value_minimum=0.0)


def test_an_item_needs_its_people_before_a_person_needs_their_items(tmp_path: Path) -> None:
    folder = written(tmp_path, EVENTS)
    assert cells(folder, minimum_item_users=2) == {("u", "a"): 2.0, ("v", "a"): 1.0}
    assert cells(folder, minimum_user_items=2) == {("u", "a"): 2.0, ("u", "b"): 1.0}


def test_attributes_of_any_name_become_features_of_those_who_are_kept(tmp_path: Path) -> None:
    folder = written(tmp_path, EVENTS)
    attributes(
        folder, "items",
        AGE=["old", None, "new", "old"], item=["a", "b", "c", "z"], zone=["x|y", " x ", "", "q"],
    )  # fmt: skip
    attributes(folder, "users", user=["u", "v"], town=["Ulm", "?"])
    matrix = rebuild(folder, lambda _: False, RULES | {"blank_values": ["?"]}).matrix
    assert matrix.item_features is not None
    assert matrix.item_features.names == ("AGE=new", "AGE=old", "zone=x", "zone=y")
    assert matrix.item_features.csr.toarray().tolist() == [
        [0, 1, 1, 1],
        [0, 0, 1, 0],
        [1, 0, 0, 0],
    ]
    assert matrix.user_features is not None
    assert matrix.user_features.names == ("town=Ulm",)
    assert matrix.user_features.csr.toarray().tolist() == [[1], [0], [0]]
    few = rebuild(
        folder, lambda _: False, RULES | {"minimum_category_rows": 2}
    ).matrix.item_features
    assert few is not None
    assert few.names == ("zone=x",)
    wanted = {"item_attributes": ["zone", "AGE"], "user_attributes": [], "maximum_categories": 1}
    cut = rebuild(folder, lambda _: False, RULES | wanted).matrix
    assert cut.item_features is not None
    assert (cut.item_features.names, cut.user_features) == (("AGE=new", "zone=x"), None)


@pytest.mark.parametrize("missing", sorted(RULES))
def test_a_rule_that_was_not_recorded_stops_the_verifier(tmp_path: Path, missing: str) -> None:
    folder = written(tmp_path, EVENTS)
    rules = {name: value for name, value in RULES.items() if name != missing}
    with pytest.raises(ArtifactCorrupt, match="1 rules of the matrix"):
        rebuild(folder, lambda _: False, rules)


def _flipped(path: Path) -> None:
    """One bit of one letter: without the checksum, another word would be read."""
    content = bytearray(path.read_bytes())
    word = b"view" if path.parent.name.startswith("bucket") else b"second"
    content[content.index(word)] ^= 1
    path.write_bytes(content)


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("harm", [_flipped, _cut_short])
@pytest.mark.parametrize("name", ["bucket=0/part.parquet", "items.parquet", "users.parquet"])
def test_a_file_that_is_not_as_it_was_written_stops_the_verifier(
    tmp_path: Path, harm: Any, name: str
) -> None:
    folder = written(tmp_path, EVENTS)
    attributes(folder, "items", item=["a", "b", "c"], zone=["first", "second", "third"])
    attributes(folder, "users", user=["u", "v", "w"], town=["first", "second", "third"])
    assert cells(folder)
    harm(folder / name)
    told = "a shard" if "/" in name else name
    with pytest.raises(ArtifactCorrupt, match=f"{told} of the data version is not readable"):
        cells(folder)


def test_what_people_would_have_been_trained_on_is_read_for_those_who_are_wanted(
    tmp_path: Path,
) -> None:
    folder = written(tmp_path, EVENTS[:3], [*EVENTS[3:], ("w", "gone", "view", 1.0)])
    found = histories(folder, "uw".__contains__, ("a", "b", "c"), RULES, None)
    assert sorted(found.toarray().tolist()) == [[0.0, 0.0, 1.0], [2.0, 1.0, 0.0]]
    assert found.dtype == np.float32
    rules = RULES | {"maximum_weight": 1.5, "minimum_item_users": 9, "minimum_user_items": 9}
    found = histories(folder, "u".__contains__, ("b", "a"), rules, None)
    assert found.toarray().tolist() == [[1.0, 1.5]]
    assert histories(folder, "x".__contains__, ("a",), RULES, None).shape == (0, 1)
    assert histories(folder, "w".__contains__, ("a",), RULES, None).shape == (0, 1)
    with pytest.raises(ArtifactCorrupt, match="no shard"):
        histories(tmp_path / "nothing", "u".__contains__, ("a",), RULES, None)
