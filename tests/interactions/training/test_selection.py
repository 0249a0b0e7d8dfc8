"""Each rule of a training set by example, its features, and what reading it back refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lethe.errors import ArtifactCorrupt, BadConfiguration, TooFewInteractions
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.interactions.training.snapshot import SnapshotReceipt, SnapshotRules, build
from lethe.interactions.training.windows import TrainingSet
from tests.fakes.interaction_store import Attributes, Event
from tests.fakes.interaction_store import InteractionStore as Store

SMALL: dict[str, Any] = {
    "minimum_interactions": 1,
    "minimum_users": 1,
    "validation_share": 0.2,
    "test_share": 0.2,
}
HEAD = "ab" * 32


def made(
    store: Store, rules: SnapshotRules, into: Path, excluded: frozenset[str] = frozenset()
) -> tuple[SnapshotReceipt, TrainingSet]:
    receipt = build(store, excluded, rules, into, position=3, head=HEAD)
    return receipt, TrainingSet.read(into)


def cells(matrix: InteractionMatrix) -> dict[tuple[str, str], float]:
    triplets = matrix.csr.tocoo()
    return {
        (matrix.users[row], matrix.items[column]): float(value)
        for row, column, value in zip(triplets.row, triplets.col, triplets.data, strict=True)
    }


# --- the rules, one by one ----------------------------------------------------------------------

WEEK: list[Event] = [
    ("ann", "mug", 10, "view", None),
    ("ann", "mug", 11, "purchase", 9.0),
    ("ann", "pen", 12, "view", None),
    ("bob", "mug", 13, "view", None),
    ("bob", "pen", 14, "view", None),
    ("bob", "cup", 15, "view", None),
    ("cat", "mug", 16, "purchase", 2.0),
    ("cat", "cup", 17, "view", None),
    ("ann", "cup", 18, "view", None),
    ("dan", "hat", 19, "view", None),
]


def test_a_pair_weighs_the_sum_of_its_events_up_to_the_cap(tmp_path: Path) -> None:
    rules = SnapshotRules(event_weights={"view": 0.3}, maximum_weight=1.2, **SMALL)
    _, training = made(Store([WEEK]), rules, tmp_path)
    found = cells(training.matrix("all"))
    assert found["ann", "mug"] == np.float32(1.2)
    assert found["ann", "pen"] == np.float32(0.3)
    assert found["cat", "mug"] == 1.0


def test_ten_tenths_are_one(tmp_path: Path) -> None:
    """In floats ten times 0.1 is 0.9999999999999999: millionths are summed instead."""
    events = [*WEEK, *(("eve", "mug", 5, "glance", None) for _ in range(10))]
    rules = SnapshotRules(event_weights={"glance": 0.1}, **SMALL)
    _, training = made(Store([events]), rules, tmp_path)
    assert cells(training.matrix("all"))["eve", "mug"] == 1.0


def test_events_of_weight_0_and_values_below_the_minimum_are_counted_and_gone(
    tmp_path: Path,
) -> None:
    sales: list[Event] = [("eve", "mug", moment, "purchase", 5.0) for moment in range(20, 25)]
    rules = SnapshotRules(event_weights={"view": 0}, **SMALL)
    receipt, training = made(Store([WEEK, sales]), rules, tmp_path)
    assert receipt.dropped["event_weight"] == 8
    assert cells(training.matrix("all")) == {
        ("ann", "mug"): 1.0,
        ("cat", "mug"): 1.0,
        ("eve", "mug"): 5.0,
    }
    rules = SnapshotRules(event_value_minimum=5.0, **SMALL)
    receipt, training = made(Store([WEEK, sales]), rules, tmp_path)
    assert receipt.dropped["event_value"] == 9  # one too low, eight without a value
    assert training.users == ("ann", "eve")


def test_rare_items_go_first_and_each_filter_runs_once(tmp_path: Path) -> None:
    """Without hat (one user) dan is gone; pen then has two users, and losing one does not remove
    it: the item filter does not run again."""
    rules = SnapshotRules(minimum_item_users=2, minimum_user_items=3, **SMALL)
    receipt, training = made(Store([WEEK, [("dan", "hat", 20, "cart", None)]]), rules, tmp_path)
    assert receipt.dropped == {
        "excluded": 0,
        "event_weight": 0,
        "event_value": 0,
        "item_users": 2,  # two rows, one user
        "user_items": 2,
    }
    assert training.users == ("ann", "bob")
    assert training.items == ("cup", "mug", "pen")


def test_excluded_users_are_counted_when_they_had_rows(tmp_path: Path) -> None:
    receipt, training = made(
        Store([WEEK]), SnapshotRules(**SMALL), tmp_path, frozenset({"bob", "nobody"})
    )
    assert receipt.excluded_users == 1
    assert receipt.dropped["excluded"] == 3
    assert "bob" not in training.users
    assert all(b"bob" not in path.read_bytes() for path in tmp_path.iterdir())


def test_held_out_rows_stand_in_the_rows_of_the_matrix_and_the_cold_are_counted(
    tmp_path: Path,
) -> None:
    rules = SnapshotRules(**SMALL)
    receipt, training = made(Store([WEEK]), rules, tmp_path)
    assert receipt.cuts == {"validation": 16, "test": 18}
    train = training.matrix("train")
    held = training.held_out("validation", train)
    assert held.csr.shape == train.csr.shape == (2, 3)
    assert (held.csr.nnz, held.cold_users, held.cold_items, held.cold_rows) == (0, 1, 0, 2)
    before = training.matrix("train+validation")
    held = training.held_out("test", before)
    assert (held.cold_users, held.cold_items, held.cold_rows) == (1, 1, 1)
    row, column = before.users.index("ann"), before.items.index("cup")
    assert held.csr.nnz == 1
    assert held.csr[row, column] == 1.0
    assert receipt.cold_users == {"validation": 1, "test": 1}
    assert receipt.cold_items == {"validation": 0, "test": 1}


def test_equal_timestamps_are_never_split(tmp_path: Path) -> None:
    events: list[Event] = [
        (f"u{place % 5}", f"i{place % 7}", place // 10, "view", None) for place in range(100)
    ]
    rules = SnapshotRules(**{**SMALL, "validation_share": 0.15, "test_share": 0.15})
    receipt, _ = made(Store([events]), rules, tmp_path)
    assert receipt.windows == {"train": 70, "validation": 10, "test": 20}


# --- minimums -----------------------------------------------------------------------------------


def test_the_minimums_of_personalize_are_the_default(tmp_path: Path) -> None:
    with pytest.raises(TooFewInteractions) as refused:
        made(Store([WEEK]), SnapshotRules(), tmp_path)
    assert refused.value.reasons == (
        "10 interactions are left, 1000 are needed",
        "3 of 4 users have at least 2 interactions, 25 and 1% of the users are needed",
    )
    assert not (tmp_path / "snapshot.json").exists()


def test_one_user_in_a_hundred_must_come_back(tmp_path: Path) -> None:
    once: list[Event] = [(f"u{n}", "mug", n, "view", None) for n in range(400)]
    back: list[Event] = [(f"u{n}", "pen", n, "view", None) for n in range(3)]
    with pytest.raises(TooFewInteractions, match="3 of 400 users"):
        made(Store([once, back]), SnapshotRules(**SMALL), tmp_path)
    enough: list[Event] = [*back, ("u3", "pen", 3, "view", None)]
    made(Store([once, enough]), SnapshotRules(**SMALL), tmp_path)


def test_no_rows_and_one_moment_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TooFewInteractions, match="0 interactions"):
        made(Store([]), SnapshotRules(**SMALL), tmp_path)
    same: list[Event] = [(user, item, 7, kind, value) for user, item, _, kind, value in WEEK]
    with pytest.raises(TooFewInteractions, match="at 1 moments leave no row for train"):
        made(Store([same]), SnapshotRules(**SMALL), tmp_path)


def test_a_weight_finer_than_a_millionth_is_refused() -> None:
    with pytest.raises(ValidationError, match="six decimals"):
        SnapshotRules(event_weights={"view": 0.1234567})


# --- features -----------------------------------------------------------------------------------

GOODS: Attributes = {
    "item": ["mug", "pen", "cup", "hat", "never sold"],
    "KIND": ["kitchen| gift", "office|gift|", "kitchen", "0", "kitchen|rare"],
    "MAKER": ["x", "x", None, "y", "y"],
}


def held(training: TrainingSet, window: str) -> dict[str, set[str]]:
    matrix = training.matrix(window)  # type: ignore[arg-type]
    assert matrix.item_features is not None
    dense = matrix.item_features.csr.toarray()
    return {
        item: {name for name, flag in zip(matrix.item_features.names, row, strict=True) if flag}
        for item, row in zip(matrix.items, dense, strict=True)
    }


def test_attributes_become_categories_of_the_items_that_are_left(tmp_path: Path) -> None:
    rules = SnapshotRules(minimum_category_rows=1, blank_values=("0",), **SMALL)
    receipt, training = made(Store([WEEK], items=GOODS), rules, tmp_path)
    assert held(training, "all") == {
        "cup": {"KIND=kitchen"},
        "hat": {"MAKER=y"},
        "mug": {"KIND=gift", "KIND=kitchen", "MAKER=x"},
        "pen": {"KIND=gift", "KIND=office", "MAKER=x"},
    }
    assert receipt.features == {"item": 5, "user": 0}
    assert "hat" not in held(training, "train+validation")
    names = training.matrix("train+validation").item_features
    assert names is not None
    assert "MAKER=y" not in names.names


def test_a_category_of_one_item_is_dropped_and_the_most_held_stay(tmp_path: Path) -> None:
    rules = SnapshotRules(item_attributes=("KIND",), maximum_categories=1, **SMALL)
    _, training = made(Store([WEEK], items=GOODS), rules, tmp_path)
    assert held(training, "all")["mug"] == {"KIND=gift"}  # two of each: the name decides
    assert held(training, "all")["pen"] == {"KIND=gift"}


def test_an_attribute_that_one_user_alone_holds_is_no_feature(tmp_path: Path) -> None:
    people: Attributes = {"user": ["ann", "bob", "dan"], "TOWN": ["Ulm", "Ulm", "Thule"]}
    _, training = made(Store([WEEK], users=people), SnapshotRules(**SMALL), tmp_path)
    features = training.matrix("all").user_features
    assert features is not None
    assert features.names == ("TOWN=Ulm",)
    assert features.csr.toarray().ravel().tolist() == [1, 1, 0, 0]
    # once ann is excluded, Ulm is bob's alone; and no file of the earlier build may stay behind
    _, training = made(
        Store([WEEK], users=people), SnapshotRules(**SMALL), tmp_path, frozenset({"ann"})
    )
    assert training.matrix("all").user_features is None
    assert not (tmp_path / "user_features.parquet").exists()


def test_an_attribute_that_no_file_holds_is_a_mistake_in_the_configuration(
    tmp_path: Path,
) -> None:
    rules = SnapshotRules(item_attributes=("COLOUR",), **SMALL)
    for items in (GOODS, None):
        with pytest.raises(BadConfiguration, match="no file holds the column COLOUR"):
            made(Store([WEEK], items=items), rules, tmp_path)


# --- reading back -------------------------------------------------------------------------------


def test_an_altered_missing_or_extra_file_is_found(tmp_path: Path) -> None:
    made(Store([WEEK], items=GOODS), SnapshotRules(**SMALL), tmp_path)
    for name in ("pairs.parquet", "users.txt", "items.json", "item_features.parquet"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ArtifactCorrupt, match=name):
            TrainingSet.read(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(ArtifactCorrupt, match="not the same files"):
            TrainingSet.read(tmp_path)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "left.txt").write_text("ann")
    with pytest.raises(ArtifactCorrupt, match="not the same files"):
        TrainingSet.read(tmp_path)
    (tmp_path / "left.txt").unlink()
    TrainingSet.read(tmp_path)
    for record in ('{"format":1', "[]", '{"format":2}'):
        (tmp_path / "snapshot.json").write_text(record)
        with pytest.raises(ArtifactCorrupt, match=r"snapshot\.json is not"):
            TrainingSet.read(tmp_path)
    (tmp_path / "snapshot.json").unlink()
    with pytest.raises(ArtifactCorrupt, match="not complete"):
        TrainingSet.read(tmp_path)


def test_a_training_set_shows_no_id_when_printed(tmp_path: Path) -> None:
    _, training = made(Store([WEEK]), SnapshotRules(**SMALL), tmp_path)
    assert "ann" not in repr(training)
    assert (training.position, training.head) == (3, HEAD)
