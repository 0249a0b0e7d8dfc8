"""Rows, tables and people for the tests of shards."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from lethe.interactions.columns import INTERACTIONS
from lethe.interactions.shards.store import ShardStore

DAY = 86_400
Row = tuple[Any, ...]


def person(number: int) -> str:
    return hashlib.sha256(f"person {number}".encode()).hexdigest()[:32]


def table(rows: list[Row]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * 7
    return pa.table(
        [pa.array(list(c), t) for c, t in zip(columns, INTERACTIONS.types, strict=True)],
        schema=INTERACTIONS,
    )


def row(user: int, item: str = "i", time: int = 0, event: str | None = None) -> Row:
    return (person(user), item, time, "view", None, None, event)


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def stored(store: ShardStore) -> list[dict[str, Any]]:
    return [entry for part in store.scan() for entry in part.to_pylist()]


ROW = st.builds(
    lambda user, item, time, kind, value, seen, event: (
        (person(user), item, time * 10 * DAY, kind, value, seen, event)
    ),
    st.integers(0, 5),
    st.sampled_from("abc"),
    st.integers(0, 12),
    st.sampled_from(["view", "buy"]),
    st.sampled_from([None, 0.0, -0.0, 2.5]),
    st.sampled_from([None, "a|b"]),
    st.sampled_from([None, None, "e1", "e2"]),
)
