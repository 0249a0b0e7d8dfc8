"""Canaries: they suit any export, their ids follow from a key, and a kill makes no others."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.durable import sha256_file, write_json
from lethe.errors import BadConfiguration
from lethe.estate.canaries import Canaries, CanaryRules, usable_template
from lethe.interactions.intake.reading import read_interactions, survey
from lethe.interactions.intake.rules import IntakeRules, InteractionRules, LandedFile
from lethe.interactions.rights.identity import Keys

KEYS = Keys(bytes(range(32)), bytes(range(1, 33)))
HEADER = "ITEM_ID,USER_ID,TIMESTAMP,EVENT_TYPE"


def canaries(folder: Path) -> Canaries:
    return Canaries(folder / "canaries.json", KEYS)


def landed(folder: Path, name: str = "day.csv.gz", rows: int = 30) -> LandedFile:
    landing = folder / "landing"
    landing.mkdir(exist_ok=True)
    lines = [
        HEADER,
        *(f"item-{n % 11},shopper-{n % 7},{1_700_000_000 + n},view" for n in range(rows)),
    ]
    content = "".join(f"{line}\n" for line in lines).encode()
    path = landing / name
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    return LandedFile(path, name, "interactions", sha256_file(path), path.stat().st_size)


def test_canaries_are_taken_in_by_the_same_rules_as_the_file_they_were_made_from(
    tmp_path: Path,
) -> None:
    file, rules = landed(tmp_path), IntakeRules()
    made = canaries(tmp_path).land(file, rules, wanted=6, history=5)
    found = {entry.name: entry for entry in survey(file.path.parent, rules)}
    sibling = found["day.canaries.csv.gz"]
    assert isinstance(sibling, LandedFile)
    rows = list(read_interactions(sibling, rules))
    users = {user for batch in rows for user in batch.table["user"].to_pylist()}
    assert (made, len(users)) == (6, 6)
    assert sum(batch.table.num_rows for batch in rows) == 30
    assert not any(batch.refused for batch in rows)
    assert users == set(canaries(tmp_path).ids(0, 6))


def test_a_night_that_was_killed_after_landing_makes_no_second_set(tmp_path: Path) -> None:
    file, rules = landed(tmp_path), IntakeRules()
    mine = canaries(tmp_path)
    assert mine.land(file, rules, wanted=6, history=5) == 6
    assert mine.land(file, rules, wanted=6, history=5) == 0
    assert mine.counters() == (6, 0)


def test_a_kill_before_the_counter_is_written_repeats_the_same_bytes(tmp_path: Path) -> None:
    file, rules = landed(tmp_path), IntakeRules()
    mine = canaries(tmp_path)
    mine.land(file, rules, wanted=6, history=5)
    first = (file.path.parent / "day.canaries.csv.gz").read_bytes()
    write_json(mine.path, {"made": 0, "erased": 0})
    mine.land(file, rules, wanted=6, history=5)
    assert (file.path.parent / "day.canaries.csv.gz").read_bytes() == first


def test_half_of_the_living_leave_each_time_and_as_many_come(tmp_path: Path) -> None:
    file, rules = landed(tmp_path), IntakeRules()
    mine = canaries(tmp_path)
    mine.land(file, rules, wanted=6, history=5)
    leaving = mine.leaving()
    mine.left()
    assert len(leaving) == 3
    assert mine.counters() == (6, 3)
    assert mine.land(file, rules, wanted=6, history=5) == 3
    assert not set(leaving) & set(mine.leaving())
    assert set(leaving) < mine.tombstones()


def test_a_file_with_an_exact_name_in_the_rules_is_no_template(tmp_path: Path) -> None:
    file = landed(tmp_path)
    assert usable_template(file, IntakeRules())
    only = IntakeRules(interactions=InteractionRules(files=("day.csv.gz",)))
    assert not usable_template(file, only)


@given(users=st.integers(0, 10**9), share=st.floats(0, 0.02), maximum=st.integers(0, 1_000))
@settings(max_examples=100, deadline=None)
def test_canaries_are_never_more_than_their_share_and_their_maximum(
    users: int, share: float, maximum: int
) -> None:
    wanted = CanaryRules(share=share, maximum=maximum).wanted(users)
    assert 0 <= wanted <= min(maximum, share * users)
    assert wanted != 1


@pytest.mark.parametrize(
    "content", ["{", '{"made": 1}', '{"made": 1, "erased": 2}', '{"made": "x"}']
)
def test_counters_that_cannot_be_read_stop_a_night(tmp_path: Path, content: str) -> None:
    mine = canaries(tmp_path)
    mine.path.write_text(content)
    with pytest.raises(BadConfiguration):
        mine.counters()
