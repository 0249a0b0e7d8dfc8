"""Many files in one gathering: each whole or not at all, the shards as if they came singly."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import BadFile
from lethe.interactions.columns import INTERACTIONS, TIMESTAMP_LIMIT
from lethe.interactions.shards.folding import month_name, month_numbers
from lethe.interactions.shards.store import ShardStore

MONTH = 31 * 86_400


def table(rows: list[tuple[int, int]]) -> pa.Table:
    users = [hashlib.sha256(str(user).encode()).hexdigest()[:32] for user, _ in rows]
    times = [time * MONTH for _, time in rows]
    same = [["i"] * len(rows), times, ["view"] * len(rows), *[[None] * len(rows)] * 3]
    return pa.table([pa.array(users, pa.string()), *same], schema=INTERACTIONS)


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*.parquet")}


# A file is a few parts of rows, and whether its last part turns out bad.
FILE = st.tuples(
    st.lists(
        st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=4),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)


@settings(max_examples=25, deadline=None)
@given(files=st.lists(FILE, max_size=5), spill_bytes=st.sampled_from([1, 400, 1 << 20]))
def test_files_in_one_gathering_are_the_good_ones_appended_one_by_one(
    files: list[tuple[list[list[tuple[int, int]]], bool]], spill_bytes: int
) -> None:
    """A bad file leaves nothing, however much of it had been spilled before its fault."""
    with tempfile.TemporaryDirectory() as folder:
        together, alone = ShardStore(Path(folder) / "a", 4), ShardStore(Path(folder) / "b", 4)
        with together.batch(spill_bytes) as batch:
            for parts, bad in files:
                with contextlib.suppress(BadFile), batch.whole():
                    for part in parts:
                        batch.add(table(part))
                    if bad:
                        raise BadFile("export.csv", "it ends in the middle")
        good = [table(part) for parts, bad in files if not bad for part in parts]
        new = [alone.append(part).rows_new for part in good]

        assert contents(together.root) == contents(alone.root)
        assert batch.appended.rows_new == sum(new)
        assert batch.appended.rows_duplicate == sum(map(len, good)) - sum(new)
        assert not list(together.root.glob(".spill.*"))


def test_any_other_exception_leaves_every_shard_as_it_was(tmp_path: Path) -> None:
    store = ShardStore(tmp_path / "store", 4)
    store.append(table([(1, 1)]))
    before = contents(store.root)

    with pytest.raises(KeyboardInterrupt), store.batch(spill_bytes=1) as batch:  # noqa: PT012
        with batch.whole():
            batch.add(table([(2, 1)]))
        with batch.whole():
            batch.add(table([(3, 1)]))
            raise KeyboardInterrupt

    assert contents(store.root) == before


def test_what_waits_in_memory_is_bounded_by_twice_the_spill_limit(tmp_path: Path) -> None:
    limit = 4_000
    with ShardStore(tmp_path / "store", 4).batch(spill_bytes=limit) as batch:
        for file in range(20):
            with batch.whole():
                batch.add(table([(user, file % 4) for user in range(10)]))
            waiting = sum(part.nbytes for parts in batch._tables.values() for part in parts)
            assert waiting <= 2 * limit


def test_every_second_lies_in_the_month_of_the_calendar() -> None:
    """The first and the last second of each month up to 2100, and what lies between."""
    edges = np.arange("1970-01", "2100-01", dtype="datetime64[M]")
    firsts = edges.astype("datetime64[s]").astype(np.int64)
    draw = np.random.default_rng(1).integers(0, TIMESTAMP_LIMIT, 1_000)
    seconds = np.concatenate([firsts, firsts[1:] - 1, [TIMESTAMP_LIMIT - 1], draw])
    named = [month_name(number) for number in month_numbers(seconds).tolist()]
    assert named == [f"{datetime.fromtimestamp(second, UTC):%Y-%m}" for second in seconds.tolist()]
