"""A weight fades by its age alone, to the same millionth everywhere, and by nothing held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lethe.errors import TooFewInteractions
from lethe.gate.proof.retained import _halved, _newest_day
from lethe.interactions.training import windows
from lethe.interactions.training.fading import (
    DAY,
    MOST_HALVINGS,
    faded,
    nearest,
    newest_day,
    span,
    worth_trying,
)
from lethe.interactions.training.snapshot import SnapshotRules
from lethe.interactions.training.windows import TrainingSet
from tests.fakes.interaction_store import Event
from tests.fakes.interaction_store import InteractionStore as Store
from tests.interactions.training.ages import slow_day, slow_worth
from tests.interactions.training.test_snapshot import EVENTS, RULES, cells, made
from tests.interactions.training.test_splits import SPLIT

HALVES = st.sampled_from([1.0, 1.5, 7.0, 30.0, 36.25, 90.0, 365.0])
FADING = st.builds(
    lambda rules, days, split: rules.model_copy(
        update={"half_life_days": days, **({"split": SPLIT} if split else {})}
    ),
    RULES,
    HALVES,
    st.booleans(),
)


def one(millionths: int, age: int, half_life: float) -> int:
    """What the trainer makes of one row of that age, beside one of today."""
    weight, moment = np.array([millionths, 1]), np.array([0, age * DAY])
    return int(faded(weight, moment, half_life)[0])


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 1_000_000), st.integers(0, 3_000), HALVES)
def test_trainer_and_verifier_each_find_the_nearest_whole_number_of_millionths(
    millionths: int, age: int, half_life: float
) -> None:
    from fractions import Fraction

    expected = slow_worth(millionths, age, half_life)
    assert one(millionths, age, half_life) == expected
    assert max(1, _halved(millionths, Fraction(age) / Fraction(half_life))) == expected


@pytest.mark.parametrize(
    ("millionths", "age", "left"),
    [(5, 1, 2), (7, 1, 4), (10, 2, 2), (14, 2, 4), (1_000_000, 3, 125_000), (1, 9, 1), (3, 900, 1)],
)
def test_halves_go_to_the_even_number_and_a_millionth_stays(
    millionths: int, age: int, left: int
) -> None:
    assert one(millionths, 30 * age, 30.0) == left == slow_worth(millionths, 30 * age, 30.0)
    assert max(1, _halved(millionths, age)) == left  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.lists(st.integers(0, 4_000_000_000), min_size=1, max_size=40))
def test_ages_are_counted_from_the_day_of_the_newest_row(moments: list[int]) -> None:
    assert newest_day(np.array(moments)) == slow_day(moments) == max(moments) // DAY


def test_one_row_in_a_thousand_may_lie_in_the_future() -> None:
    moments = np.full(2_000, 100 * DAY)
    moments[:2] = 20_000 * DAY
    assert newest_day(moments) == slow_day(moments.tolist()) == 100
    assert _newest_day(pa.chunked_array([moments])) == 100
    assert faded(np.full(2_000, 9), moments, 1.0).tolist() == [9] * 2_000
    moments[2] = 20_000 * DAY
    assert newest_day(moments) == slow_day(moments.tolist()) == 20_000
    assert _newest_day(pa.chunked_array([moments])) == 20_000


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 900 * DAY)), min_size=1, max_size=30),
    HALVES,
    st.randoms(use_true_random=False),
)
def test_the_older_of_two_rows_is_worth_no_more_and_their_order_says_nothing(
    rows: list[tuple[int, int]], half_life: float, order: Any
) -> None:
    def worth(some: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
        weight, moment = (np.array(column) for column in zip(*some, strict=True))
        found = faded(weight, moment, half_life).tolist()
        return dict(zip(some, found, strict=True))

    left = worth(rows)
    assert all(1 <= found <= millionths for (millionths, _), found in left.items())
    for (weight, moment), found in left.items():
        assert all(found <= other for (w, m), other in left.items() if w == weight and m > moment)
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert worth(shuffled) == left


def test_no_row_is_worth_anything_less() -> None:
    nothing = np.empty(0, np.int64)
    assert faded(nothing, nothing, 30.0).tolist() == []


# --- no leak ------------------------------------------------------------------------------------


def leaks(training: TrainingSet, moved: int) -> bool:
    """Whether what is learned from changes where what comes after it lies elsewhere."""
    for window, held in (("train", ("validation", "test")), ("train+validation", ("test",))):
        later = np.any([training.within(name) for name in held], axis=0)  # type: ignore[arg-type]
        times = np.where(later, training.timestamp + moved, training.timestamp)
        other = replace(training, timestamp=times)
        if training.matrix(window).digest != other.matrix(window).digest:  # type: ignore[arg-type]
            return True
    return False


@settings(max_examples=40, deadline=None)
@given(events=EVENTS, rules=FADING, moved=st.sampled_from([1, DAY, 400 * DAY]))
def test_when_what_is_held_out_happened_decides_no_weight_before_it(
    events: list[Event], rules: SnapshotRules, moved: int
) -> None:
    with TemporaryDirectory() as folder:
        try:
            _, training = made(Store([events]), rules, Path(folder))
        except TooFewInteractions:
            return
    assert not leaks(training, moved)


DAYS: list[Event] = [(f"u{n % 6}", "abcd"[n % 4], n * DAY, "view", None) for n in range(60)]
FADES = SnapshotRules(minimum_interactions=1, minimum_users=1, half_life_days=7)


def test_whoever_counts_ages_from_the_newest_row_of_all_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, training = made(Store([DAYS]), FADES, tmp_path)
    assert not leaks(training, 400 * DAY)

    class Peeking(TrainingSet):
        def matrix(self, window: Any) -> Any:
            newest = int(self.timestamp.max())

            def from_all(weight: Any, moment: Any, days: float) -> Any:
                both = (np.append(weight, 1), np.append(moment, newest))
                return faded(*both, days)[:-1]

            with monkeypatch.context() as patch:
                patch.setattr(windows, "faded", from_all)
                return super().matrix(window)

    assert leaks(Peeking(**vars(training)), 400 * DAY)


# --- the rule -----------------------------------------------------------------------------------


def test_what_is_held_out_does_not_fade_and_every_pair_stays(tmp_path: Path) -> None:
    _, fading = made(Store([DAYS]), FADES, tmp_path / "fading")
    plain = replace(fading, half_life_days=None)
    for window in ("train", "train+validation", "all"):
        assert cells(fading.matrix(window)).keys() == cells(plain.matrix(window)).keys()
    matrix = fading.matrix("train")
    held = [data.held_out("test", matrix).csr for data in (fading, plain)]
    assert held[0].nnz
    assert (held[0] != held[1]).nnz == 0


@pytest.mark.parametrize(("cap", "cell"), [(10.0, 4.0), (3.5, 3.5)])
def test_weights_fade_before_they_are_summed_and_capped(
    tmp_path: Path, cap: float, cell: float
) -> None:
    days = [0, 0, 0, 0, 7, 7, 14, 14]  # worth a quarter, a half and one each
    events: list[Event] = [("u", "a", day * DAY + n, "buy", None) for n, day in enumerate(days)]
    events += [("v", "b", 14 * DAY, "buy", None), ("v", "b", 14 * DAY + 9, "buy", None)]
    shares = {"validation_share": 0.2, "test_share": 0.2, "maximum_weight": cap}
    _, training = made(Store([events]), FADES.model_copy(update=shares), tmp_path)
    assert cells(training.matrix("all")) == {("u", "a"): cell, ("v", "b"): 2.0}


def test_a_rule_that_is_not_set_is_in_no_record_and_one_that_is_stands_in_it(
    tmp_path: Path,
) -> None:
    plain = FADES.model_copy(update={"half_life_days": None})
    assert "half_life_days" not in plain.model_dump(mode="json")
    assert SnapshotRules.model_validate({"half_life_days": None}) == SnapshotRules()
    assert FADES.model_dump(mode="json")["half_life_days"] == 7.0
    _, read = made(Store([DAYS]), plain, tmp_path)
    assert read.half_life_days is None


@pytest.mark.parametrize("days", [0.99, 0, -1, 36_501, float("nan"), float("inf"), "soon"])
def test_a_half_life_is_a_number_of_days_between_one_and_a_hundred_years(days: Any) -> None:
    with pytest.raises(ValidationError, match="half_life_days"):
        SnapshotRules.model_validate({"half_life_days": days})


Wrong = Callable[[Any, Any, float], Any]
DECAYS: dict[str, Wrong] = {
    "not at all": lambda weight, moment, days: weight,
    "by half the half-life": lambda weight, moment, days: faded(weight, moment, days / 2),
    "a day too old": lambda weight, moment, days: faded(
        np.append(weight, [1]), np.append(moment, [moment.max() + DAY]), days
    )[:-1],
    "to nothing": lambda weight, moment, days: faded(weight * 1_000, moment, days) // 1_000,
}


@pytest.mark.parametrize("fault", DECAYS)
def test_a_weight_that_fades_in_another_way_is_noticed(fault: str) -> None:
    weight = np.array([1, 10, 999_999, 1_000_000, 1_000_000])
    moment = np.array([0, 1, 3, 5, 40]) * DAY
    expected = [
        slow_worth(w, 40 - day, 7.0)
        for w, day in zip(weight.tolist(), [0, 1, 3, 5, 40], strict=True)
    ]
    assert faded(weight, moment, 7.0).tolist() == expected
    assert DECAYS[fault](weight, moment, 7.0).tolist() != expected


LADDER = st.lists(st.none() | st.floats(1, 36_500), unique=True).map(tuple)


@given(LADDER, st.lists(st.integers(0, 4_000 * DAY), min_size=1))
def test_no_half_life_worth_trying_leaves_a_row_less_than_a_sixteenth_or_hardly_fades(
    ladder: tuple[float | None, ...], moments: list[int]
) -> None:
    days = span(np.array(moments))
    assert days == slow_day(moments) - min(moments) // DAY
    kept = worth_trying(ladder, days)
    assert kept == tuple(half_life for half_life in ladder if half_life in kept)
    whole = 1_000_000
    for half_life in ladder:
        if half_life is None:
            assert half_life in kept
            continue
        oldest = 0.5 ** (days / half_life)
        fits = 0.5**MOST_HALVINGS * (1 - 1e-9) <= oldest <= 0.5 * (1 + 1e-9)
        if half_life in kept:
            assert fits
            weights = faded(np.full(len(moments), whole), np.array(moments), half_life)
            assert weights.min() >= whole // 16
        elif abs(days / half_life - MOST_HALVINGS) > 1e-9 and abs(days / half_life - 1) > 1e-9:
            assert not fits


@given(st.none() | st.floats(1, 36_500), LADDER.filter(len))
def test_the_nearest_fades_no_faster_if_any_does_not_and_as_little_as_can_be_if_all_do(
    half_life: float | None, offered: tuple[float | None, ...]
) -> None:
    found = nearest(half_life, offered)
    assert found in offered
    lengths = [np.inf if days is None else days for days in offered]
    asked, got = (np.inf if days is None else days for days in (half_life, found))
    if half_life in offered:
        assert found == half_life
    assert got == min((days for days in lengths if days >= asked), default=max(lengths))


def test_nobody_is_no_time_at_all() -> None:
    assert span(np.array([], dtype=np.int64)) == 0
