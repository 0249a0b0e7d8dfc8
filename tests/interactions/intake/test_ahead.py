"""What is read and named ahead, on threads of their own, is what is read and named in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import BadFile
from lethe.interactions.columns import INTERACTIONS
from lethe.interactions.intake import lines, naming, reading
from lethe.interactions.intake.naming import NamingAhead, People
from lethe.interactions.intake.reading import ReadingAhead, read_interactions, survey
from lethe.interactions.intake.rules import IntakeRules, LandedFile
from lethe.interactions.rights.identity import Identity
from tests.interactions.intake.landed import GOOD, HEADER, land

NAMES = tuple("abcdefgh")
LIFE = st.tuples(st.booleans(), st.sampled_from([0, 0, 5]))
ROWS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 9)), max_size=12)


@contextlib.contextmanager
def on_a_thread(people: People) -> Iterator[NamingAhead]:
    with contextlib.closing(NamingAhead(people)) as ahead:
        yield ahead


def table(rows: Sequence[tuple[str, int]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"user": who, "item": f"i{time}", "timestamp": time, "event_type": "view"}
            for who, time in rows
        ],
        schema=INTERACTIONS,
    )


@given(
    lives=st.fixed_dictionaries(dict.fromkeys(NAMES, LIFE)),
    groups=st.lists(st.lists(ROWS, min_size=1, max_size=3), max_size=5),
    most=st.sampled_from([0, 2, 100]),
)
@settings(deadline=None)
def test_rows_named_in_groups_are_those_named_one_by_one(
    lives: dict[str, tuple[bool, int]], groups: list[list[list[tuple[str, int]]]], most: int
) -> None:
    asked: list[str] = []

    def identified(ids: Sequence[str]) -> list[Identity]:
        asked.extend(ids)
        return [Identity(f"name of {one}", "", *lives[one]) for one in ids]

    with on_a_thread(People(identified, most)) as ahead:
        soon = [ahead.rows([table(rows) for rows in group]) for group in groups]
        found = [one.result().to_pylist() for one in soon]
    for group, named in zip(groups, found, strict=True):
        rows = [row for part in group for row in part]
        staying = [(who, t) for who, t in rows if not lives[who][0] and t >= lives[who][1]]
        assert [(row["user"], row["timestamp"], row["item"]) for row in named] == [
            (f"name of {who}", time, f"i{time}") for who, time in staying
        ]
    met = [{who for part in group for who, _ in part} for group in groups]
    assert set(asked) == set[str]().union(*met)
    if most > len(NAMES):  # everybody is asked for once
        assert len(asked) == len(set(asked))
    if most == 0:  # nobody is remembered
        assert len(asked) == sum(map(len, met))


def test_as_many_rows_wait_as_people_are_known_within_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(naming, "_ROWS", 2)
    monkeypatch.setattr(naming, "_MOST_ROWS", 4)
    people = People(lambda ids: [Identity(one, "", erased=False, not_before=0) for one in ids], 99)
    with on_a_thread(people) as ahead:
        wanted = []
        for known in (0, 1, 3, 8):
            ahead.ids(pa.array(NAMES[:known], pa.string()))
            wanted.append(ahead.enough())
    assert wanted == [2, 2, 3, 4]


def test_a_fault_of_naming_is_raised_where_the_rows_are_asked_for() -> None:
    def refused(_: Sequence[str]) -> list[Identity]:
        raise BadFile("day.csv", "told by whoever identifies")

    with on_a_thread(People(refused)) as ahead:
        soon = ahead.rows([table([("a", 1)])])
        with pytest.raises(BadFile, match="told by"):
            soon.result()


@pytest.mark.parametrize("long", [0, 1 << 20], ids=["each batch ahead", "only the first ahead"])
def test_files_read_ahead_give_the_batches_and_the_fault_of_files_read_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: int
) -> None:
    monkeypatch.setattr(reading, "_LONG", long)
    monkeypatch.setattr(lines, "_CHUNK", 64)
    monkeypatch.setattr(lines.whole_lines, "__defaults__", (64,))
    for name, rows in (("1", 20), ("2", 0), ("3", 1), ("4", 7)):
        land(tmp_path, HEADER + GOOD * rows, f"{name}.csv")
    land(tmp_path, HEADER + GOOD * 9 + ",i,1000,view,1,e\n" * 20, "5.csv")  # found at its end
    rules = IntakeRules()
    files = [file for file in survey(tmp_path, rules) if isinstance(file, LandedFile)]

    def told(batches: Iterator[reading.Batch]) -> list[object]:
        seen: list[object] = []
        try:
            for batch in batches:
                seen.append((batch.table.to_pydict(), batch.rows_read, batch.refused))
        except BadFile as fault:
            seen.append(str(fault))
        return seen

    in_turn = [told(read_interactions(file, rules)) for file in files]
    assert len(in_turn[0]) > 3
    assert isinstance(in_turn[4][-1], str)
    with contextlib.closing(ReadingAhead(files, rules)) as ahead:
        assert [told(ahead.of(file)) for file in files] == in_turn
    # a file that is passed over does not hold up the others
    with contextlib.closing(ReadingAhead(files, rules)) as ahead:
        assert [told(ahead.of(file)) for file in files[::2]] == in_turn[::2]
