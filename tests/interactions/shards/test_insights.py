"""Insights are counts that a slow reading of the rows gives too, and name no rare kind of event."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.interactions.columns import INTERACTIONS
from lethe.interactions.shards.insights import FEWEST_PEOPLE, KINDS, insights
from lethe.interactions.shards.store import ShardStore

EVENT = st.tuples(
    st.integers(0, 25), st.integers(1, 4), st.sampled_from("abc"), st.none() | st.just(2.0)
)


def store_of(folder: Path, events: set[tuple[int, int, str, float | None]]) -> ShardStore:
    rows = [
        {"user": f"{user:032x}", "item": "i", "timestamp": time * 2_000_000, "event_type": kind,
         "event_value": value, "impressions": None, "event_id": None}
        for user, time, kind, value in sorted(events, key=repr)
    ]  # fmt: skip
    store = ShardStore(folder, 2)
    if rows:
        store.append(pa.Table.from_pylist(rows, schema=INTERACTIONS))
    return store


@settings(max_examples=40, deadline=None)
@given(events=st.sets(EVENT, max_size=60), canaries=st.sets(st.integers(0, 25), max_size=3))
def test_the_counts_are_those_of_a_slow_reading_without_the_canaries(
    events: set[tuple[int, int, str, float | None]], canaries: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = store_of(Path(folder) / "s", events)
        found = insights(store, {f"{user:032x}" for user in canaries})
    kept = [event for event in events if event[0] not in canaries]
    kinds = Counter(kind for _, _, kind, _ in kept)
    people = {kind: len({user for user, _, own, _ in kept if own == kind}) for kind in kinds}

    assert found["kinds"] == len(kinds)
    assert found["first"] == min((time * 2_000_000 for _, time, _, _ in kept), default=None)
    assert found["last"] == max((time * 2_000_000 for _, time, _, _ in kept), default=None)
    assert {one["name"]: one["rows"] for one in found["events"]} == {
        kind: rows for kind, rows in kinds.items() if people[kind] >= FEWEST_PEOPLE
    }
    assert sum(one["rows"] for one in found["events"]) + found["other_events"] == len(kept)
    if kept:
        [value] = [one for one in found["columns"] if one["name"] == "event_value"]
        assert value["complete"] == sum(event[3] is not None for event in kept) / len(kept)


def test_a_kind_that_few_people_have_is_counted_and_not_named(tmp_path: Path) -> None:
    common = {(user, 1, "view", None) for user in range(FEWEST_PEOPLE)}
    found = insights(store_of(tmp_path / "s", common | {(1, 2, "customer-4711", None)}))

    assert "customer-4711" not in str(found)
    assert (found["kinds"], found["other_events"]) == (2, 1)


def test_what_is_much_or_incomplete_is_marked(tmp_path: Path) -> None:
    kinds: set[tuple[int, int, str, float | None]] = {
        (user, 1, f"kind {kind}", 1.0) for user in range(10) for kind in range(KINDS + 1)
    }
    store = store_of(tmp_path / "s", kinds)
    many = {"item": [f"i{n}" for n in range(40)], "brand": [f"b{n}" for n in range(40)],
            "colour": [None] * 20 + ["red"] * 20}  # fmt: skip
    store.put_attributes("items", pa.table(many))
    found = insights(store)
    marks = {one["name"]: (one["sparse"], one["many"], one["texts"]) for one in found["columns"]}

    assert found["many_kinds"] is True
    assert len(found["events"]) == KINDS
    assert marks["event_value"] == (False, False, None)
    assert marks["impressions"] == (True, False, None)
    assert marks["brand"] == (False, True, 40)
    assert marks["colour"] == (True, False, 1)
