"""Leave-last-out: of each user nothing at or after what is held out is ever learned from."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import BadConfiguration, TooFewInteractions
from lethe.interactions.training.snapshot import SnapshotRules
from lethe.interactions.training.splits import PARTITION, Cuts, Ints, LastOut, Longs, Split
from lethe.params import read_params
from tests.fakes.interaction_store import Event
from tests.fakes.interaction_store import InteractionStore as Store
from tests.interactions.training.ages import slow_fading
from tests.interactions.training.test_snapshot import (
    EVENTS,
    PEOPLE,
    RULES,
    cells,
    made,
    slow_matrix,
    slow_rows,
)

SPLIT = SnapshotRules.model_validate({"split": {"kind": "leave_last_out"}}).split
LAST_OUT = RULES.map(lambda rules: rules.model_copy(update={"split": SPLIT}))


def slow_parts(rows: list[tuple[str, str, int, int]]) -> dict[tuple[str, int], str]:
    """The window of each user's moment, one user after another."""
    moments: dict[str, set[int]] = defaultdict(set)
    for user, _, moment, _ in rows:
        moments[user].add(moment)
    parts = {}
    for user, met in moments.items():
        *rest, last = sorted(met)
        for place, moment in enumerate(rest):
            before_last = place == len(rest) - 1 and place > 0
            parts[user, moment] = "validation" if before_last else "train"
        parts[user, last] = "test" if rest else "train"
    return parts


@settings(max_examples=40, deadline=None)
@given(events=EVENTS, rules=LAST_OUT, excluded=PEOPLE)
def test_each_users_last_moments_are_held_out_and_the_rest_is_learned_from(
    events: list[Event], rules: SnapshotRules, excluded: frozenset[str]
) -> None:
    rows = slow_rows(events, excluded, rules)
    with TemporaryDirectory() as folder:
        try:
            receipt, training = made(Store([events]), rules, Path(folder), excluded)
        except TooFewInteractions:
            return
    parts = slow_parts(rows)
    for window, named in (
        ("train", {"train"}),
        ("train+validation", {"train", "validation"}),
        ("all", set(PARTITION)),
    ):
        kept = [row for row in rows if parts[row[0], row[2]] in named]
        expected = slow_matrix(slow_fading(kept, rules), rules.maximum_weight)
        assert training.matrix(window).digest == expected.digest  # type: ignore[arg-type]
    assert receipt.cuts == {}
    assert receipt.windows == {
        name: sum(parts[row[0], row[2]] == name for row in rows) for name in PARTITION
    }


@settings(max_examples=40, deadline=None)
@given(events=EVENTS, rules=LAST_OUT)
def test_nothing_of_a_user_at_or_after_what_is_held_out_is_in_the_matrix_before_it(
    events: list[Event], rules: SnapshotRules
) -> None:
    with TemporaryDirectory() as folder:
        try:
            _, training = made(Store([events]), rules, Path(folder))
        except TooFewInteractions:
            return
    for window, learned in (("validation", "train"), ("test", "train+validation")):
        held = training.within(window)  # type: ignore[arg-type]
        first: dict[str, int] = {}
        for user, moment in zip(
            training.user[held].tolist(), training.timestamp[held].tolist(), strict=True
        ):
            name = training.users[user]
            first[name] = min(moment, first.get(name, moment))
        seen = {(u, i) for u, i, t, *_ in events if u not in first or t < first[u]}
        assert set(cells(training.matrix(learned))) <= seen  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), max_size=40),
    st.sampled_from([LastOut(), Cuts(-2, 3)]),
)
def test_every_row_lies_in_exactly_one_window_and_the_wider_ones_are_their_unions(
    rows: list[tuple[int, int]], split: Split
) -> None:
    user: Ints = np.array([one for one, _ in rows], dtype=np.int32)
    timestamp: Longs = np.array([moment for _, moment in rows], dtype=np.int64)
    train, validation, test = (split.within(name, user, timestamp) for name in PARTITION)
    assert (train.astype(int) + validation + test == 1).all()
    assert (split.within("train+validation", user, timestamp) == (train | validation)).all()
    assert split.within("all", user, timestamp).all()


def test_people_of_one_moment_leave_nothing_to_hold_out(tmp_path: Path) -> None:
    events: list[Event] = [(f"u{n}", f"i{n % 3}", n, "view", None) for n in range(40)]
    rules = SnapshotRules(minimum_interactions=1, minimum_users=1, split=SPLIT)
    repeating = [*events, *events]
    with pytest.raises(TooFewInteractions, match="split into three windows") as refused:
        made(Store([repeating]), rules, tmp_path)
    assert "no row for validation, test" in refused.value.reasons[0]


def test_a_split_of_another_kind_is_refused() -> None:
    path = Path(__file__).parents[3] / "params.yaml"
    with pytest.raises(BadConfiguration, match=r"training\.split\.kind"):
        read_params(path, ["training.split={kind: random}"])
