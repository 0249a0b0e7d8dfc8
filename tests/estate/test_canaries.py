"""Canaries: their ids follow from a key, half of them leave, and a plan is made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import BadConfiguration
from lethe.estate.canaries.roll import Canaries, CanaryRules, Plan
from lethe.interactions.rights.identity import Keys

KEYS = Keys(bytes(range(32)), bytes(range(1, 33)))
RULES = CanaryRules()
TEMPLATE = ("day.csv.gz", "a" * 64)


def canaries(folder: Path) -> Canaries:
    return Canaries(folder / "canaries.json", KEYS)


def test_half_of_the_living_leave_each_time_and_as_many_come(tmp_path: Path) -> None:
    mine = canaries(tmp_path)
    assert mine.plan(6, RULES, TEMPLATE) == Plan((0, 0), (0, 6), *TEMPLATE)
    mine.note(made=6)
    assert mine.plan(6, RULES, TEMPLATE) == Plan((0, 3), (6, 9), *TEMPLATE)
    mine.note(made=9, erased=3)
    assert mine.plan(6, RULES, TEMPLATE) == Plan((3, 6), (9, 12), *TEMPLATE)


def test_without_a_file_to_be_made_from_nobody_comes(tmp_path: Path) -> None:
    canaries(tmp_path).note(made=6)
    assert canaries(tmp_path).plan(6, RULES, None) == Plan((0, 3), (6, 6))


@pytest.mark.parametrize("off", [CanaryRules(share=0), CanaryRules(maximum=0)])
def test_switched_off_all_of_them_leave(tmp_path: Path, off: CanaryRules) -> None:
    canaries(tmp_path).note(made=6)
    assert canaries(tmp_path).plan(off.wanted(10_000), off, TEMPLATE) == Plan((0, 6), (6, 6))


def test_a_plan_survives_its_journal() -> None:
    plan = Plan((0, 3), (6, 9), *TEMPLATE)
    noted = {"leaving": [0, 3], "coming": [6, 9], "template": TEMPLATE[0], "sha256": TEMPLATE[1]}
    assert Plan.of(noted) == plan


def test_a_counter_never_falls_and_every_canary_stays_known(tmp_path: Path) -> None:
    mine = canaries(tmp_path)
    mine.note(made=6, landed="f" * 64)
    before = mine.pseudonyms()
    mine.note(made=4, erased=2)
    assert (mine.counters(), mine.landed()) == ((6, 2), "f" * 64)
    assert mine.pseudonyms() == before
    assert len(before) == len(set(mine.tombstones(0, 6))) == 6
    assert mine.ids(0, 6) == [*mine.ids(0, 2), *mine.ids(2, 6)]


@given(users=st.integers(0, 10**9), share=st.floats(0, 0.02), maximum=st.integers(0, 1_000))
@settings(max_examples=100, deadline=None)
def test_canaries_are_never_more_than_their_share_and_their_maximum(
    users: int, share: float, maximum: int
) -> None:
    wanted = CanaryRules(share=share, maximum=maximum).wanted(users)
    assert 0 <= wanted <= min(maximum, share * users)
    assert wanted != 1


@pytest.mark.parametrize(
    "content", ["{", '{"made": 1}', '{"made": 1, "erased": 2}', '{"made": "x"}', "[]"]
)
def test_counters_that_cannot_be_read_stop_a_night(tmp_path: Path, content: str) -> None:
    mine = canaries(tmp_path)
    mine.path.write_text(content)
    with pytest.raises(BadConfiguration):
        mine.counters()
