"""A training set is exactly what the rules say, whatever order the rows came in."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lethe.errors import TooFewInteractions
from lethe.interactions.columns import INTERACTIONS
from lethe.interactions.shards.store import ShardStore
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.interactions.training.snapshot import SnapshotReceipt, SnapshotRules, build
from lethe.interactions.training.splits import rows_of
from lethe.interactions.training.windows import TrainingSet
from tests.fakes.interaction_store import Attributes, Event
from tests.fakes.interaction_store import InteractionStore as Store
from tests.interactions.training.ages import slow_fading

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


# --- the definition, in plain Python ------------------------------------------------------------


def slow_rows(
    events: Iterable[Event], excluded: frozenset[str], rules: SnapshotRules
) -> list[tuple[str, str, int, int]]:
    rows = []
    for user, item, moment, kind, value in events:
        weight = round(rules.event_weights.get(kind, 1.0) * 1_000_000)
        least = rules.event_value_minimum
        if user in excluded or weight == 0:
            continue
        if least is not None and (value is None or value < least):
            continue
        rows.append((user, item, moment, weight))
    met = defaultdict(set)
    for user, item, *_ in rows:
        met[item].add(user)
    rows = [row for row in rows if len(met[row[1]]) >= rules.minimum_item_users]
    met = defaultdict(set)
    for user, item, *_ in rows:
        met[user].add(item)
    return [row for row in rows if len(met[row[0]]) >= rules.minimum_user_items]


def slow_matrix(rows: Sequence[tuple[str, str, int, int]], cap: float) -> InteractionMatrix:
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for user, item, _, weight in rows:
        sums[user, item] += weight
    users = sorted({user for user, _ in sums})
    items = sorted({item for _, item in sums})
    dense = np.zeros((len(users), len(items)), np.float32)
    for (user, item), total in sums.items():
        dense[users.index(user), items.index(item)] = min(total, round(cap * 1e6)) / 1e6
    return InteractionMatrix(tuple(users), tuple(items), sparse.csr_matrix(dense))


def slow_cut(rows: Sequence[tuple[str, str, int, int]], share: float) -> int:
    moments = sorted(row[2] for row in rows)
    index = len(moments) - math.floor(len(moments) * share)
    return moments[index] if index < len(moments) else moments[-1] + 1


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([f"u{index}" for index in range(6)]),
        st.sampled_from(["a", "b", "c", "é", "𝄞", "z"]),
        st.integers(0, 60).map(lambda moment: moment * 40_000),
        st.sampled_from(["view", "cart", "purchase"]),
        st.one_of(st.none(), st.sampled_from([0.5, 1.0, 2.0])),
    ),
    min_size=25,
    max_size=70,
)
RULES = st.builds(
    SnapshotRules,
    event_weights=st.sampled_from([{}, {"view": 0.1, "cart": 0.7}, {"view": 0.0, "cart": 1e-6}]),
    event_value_minimum=st.sampled_from([None, 1.0]),
    minimum_item_users=st.integers(1, 4),
    minimum_user_items=st.integers(1, 4),
    maximum_weight=st.sampled_from([0.5, 2.3, 10.0]),
    half_life_days=st.sampled_from([None, 1.0, 7.25]),
    validation_share=st.sampled_from([0.2, 0.3]),
    test_share=st.sampled_from([0.2, 0.25]),
    minimum_interactions=st.just(1),
    minimum_users=st.just(1),
)
PEOPLE = st.frozensets(st.sampled_from([f"u{index}" for index in range(6)]), max_size=3)


@settings(max_examples=40, deadline=None)
@given(events=EVENTS, rules=RULES, excluded=PEOPLE, shards=st.integers(1, 4))
def test_the_matrices_are_the_definition_in_plain_python(
    events: list[Event], rules: SnapshotRules, excluded: frozenset[str], shards: int
) -> None:
    rows = slow_rows(events, excluded, rules)
    with TemporaryDirectory() as folder:
        store = Store(events[place::shards] for place in range(shards))
        try:
            receipt, training = made(store, rules, Path(folder), excluded)
        except TooFewInteractions:
            return
    validation = slow_cut(rows, rules.validation_share + rules.test_share)
    test = slow_cut(rows, rules.test_share)
    assert receipt.cuts == {"validation": validation, "test": test}
    assert receipt.rows + sum(receipt.dropped.values()) == len(events)
    for window, end in (("train", validation), ("train+validation", test), ("all", 10**9)):
        kept = slow_fading([row for row in rows if row[2] < end], rules)
        expected = slow_matrix(kept, rules.maximum_weight)
        assert training.matrix(window).digest == expected.digest  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(events=EVENTS, rules=RULES, order=st.randoms(use_true_random=False))
def test_the_order_of_rows_and_shards_changes_no_byte(
    events: list[Event], rules: SnapshotRules, order: Any
) -> None:
    shuffled = list(events)
    order.shuffle(shuffled)
    digests = []
    for shards in ([events], [shuffled[::2], [], shuffled[1::2]]):
        with TemporaryDirectory() as folder:
            try:
                digests.append(made(Store(shards), rules, Path(folder))[0].digest)
            except TooFewInteractions:
                digests.append("too few")
    assert digests[0] == digests[1]


@settings(max_examples=25, deadline=None)
@given(events=EVENTS, rules=RULES, excluded=PEOPLE)
def test_excluding_people_is_as_if_they_had_never_come(
    events: list[Event], rules: SnapshotRules, excluded: frozenset[str]
) -> None:
    never = [event for event in events if event[0] not in excluded]
    written = []
    for kept, shut_out in ((events, excluded), (never, frozenset[str]())):
        with TemporaryDirectory() as folder:
            try:
                _, training = made(Store([kept]), rules, Path(folder), shut_out)
            except TooFewInteractions:
                written.append({"too few": b""})
                continue
            written.append(
                {
                    path.name: path.read_bytes()
                    for path in Path(folder).iterdir()
                    if path.name != "snapshot.json"
                }
                | {"matrix": training.matrix("all").digest.encode()}
            )
    assert written[0] == written[1]


@settings(max_examples=25, deadline=None)
@given(events=EVENTS, rules=RULES)
def test_nothing_after_a_cut_is_in_the_matrix_before_it(
    events: list[Event], rules: SnapshotRules
) -> None:
    with TemporaryDirectory() as folder:
        try:
            receipt, training = made(Store([events]), rules, Path(folder))
        except TooFewInteractions:
            return
    assert receipt.windows == rows_of(training.split, training.user, training.timestamp)
    assert sum(receipt.windows.values()) == receipt.rows
    early = {(u, i) for u, i, moment, *_ in events if moment < receipt.cuts["validation"]}
    assert set(cells(training.matrix("train"))) <= early


def test_the_real_store_gives_the_same_bytes_as_its_fake(tmp_path: Path) -> None:
    events: list[Event] = [
        (f"{n % 7:032x}", f"i{n % 11}", 86_400 * n, "view", None if n % 2 else n / 4)
        for n in range(90)
    ]
    goods: Attributes = {"item": ["i1", "i2", "i5"], "KIND": ["tea", "tea|mug", None]}
    fake = Store([events[::-1]], items=goods)
    real = ShardStore(tmp_path / "interactions")
    for table in fake.scan(INTERACTIONS.names):
        real.append(table)
    attributes = fake.attributes("items")
    assert attributes is not None
    real.put_attributes("items", attributes)
    real.seal(3, HEAD)
    rules = SnapshotRules(minimum_interactions=1, minimum_users=1)
    barred = frozenset({f"{3:032x}"})
    fake_digest, real_digest = (
        build(store, barred, rules, tmp_path / "training", 3, HEAD).digest for store in (fake, real)
    )
    assert fake_digest == real_digest
    assert TrainingSet.read(tmp_path / "training").matrix("all").item_features is not None


# --- canaries: learned from, and in no count and no window ---------------------------------------


def test_counts_cuts_and_what_is_held_out_are_those_of_a_shop_without_canaries(
    tmp_path: Path,
) -> None:
    draw = np.random.default_rng(4)
    names = [f"{n:032x}" for n in range(60)]
    invented = frozenset(names[::10])
    events: list[Event] = [
        (user, f"item-{draw.integers(12)}", int(draw.integers(10_000)), "view", float(n % 3))
        for user in names
        for n in range(40)
    ]
    rules = SnapshotRules(event_value_minimum=1.0, event_weights={"view": 0.5})
    both = []
    for place, out, canaries in (("w", frozenset[str](), invented), ("o", invented, frozenset())):
        store = Store([events])
        receipt = build(store, out, rules, tmp_path / place, 3, HEAD, canaries)
        data = TrainingSet.read(tmp_path / place)
        window = data.held_out("test", data.matrix("train+validation"))
        names_of = data.matrix("train+validation").users
        held = {names_of[row] for row in np.flatnonzero(np.diff(window.csr.indptr))}
        both.append((receipt, held, window.csr.sum(), window.cold_users))
    with_them, without = both[0][0], both[1][0]
    assert (with_them.canaries, without.canaries) == (6, 0)
    assert not both[0][1] & invented
    assert both[0][1:] == both[1][1:]
    for name in ("rows", "users", "items", "cuts", "windows", "cold_users", "cold_items"):
        assert getattr(with_them, name) == getattr(without, name), name
    dropped = {key: count for key, count in without.dropped.items() if key != "excluded"}
    assert {key: with_them.dropped[key] for key in dropped} == dropped
    assert (with_them.dropped["excluded"], with_them.excluded_users) == (0, 0)
    assert invented <= set(TrainingSet.read(tmp_path / "w").matrix("all").users)
