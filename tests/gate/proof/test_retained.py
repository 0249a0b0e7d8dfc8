"""The verifier's own matrix is the trainer's, whatever was stored and whoever is shut out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lethe.errors import ArtifactCorrupt, TooFewInteractions
from lethe.gate.proof.retained import rebuild
from lethe.interactions.columns import INTERACTIONS
from lethe.interactions.shards.store import ShardStore
from lethe.interactions.training.matrix import Features, InteractionMatrix
from lethe.interactions.training.snapshot import SnapshotRules, build
from lethe.interactions.training.windows import TrainingSet
from tests.fakes.interaction_store import Attributes, Event, InteractionStore
from tests.interactions.training.ages import slow_fading

PEOPLE = tuple(f"{number:04x}" + f"{number:028x}" for number in range(1, 9))
ITEMS = ("a", "b", "c", "é", "𝄞", "z")
CELLS = ("tea", "tea|mug", " tea | pot", "\ttea", "\u00a0mug", "0", "", "|", "pot|pot", "—|tea")

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(PEOPLE),
        st.sampled_from(ITEMS),
        st.integers(0, 40).map(lambda day: day * 400_000),
        st.sampled_from(["view", "cart", "purchase"]),
        st.one_of(st.none(), st.sampled_from([0.5, 1.0, 2.0])),
    ),
    min_size=25,
    max_size=60,
)
RULES = st.builds(
    SnapshotRules,
    event_weights=st.sampled_from(
        [{}, {"view": 0.1, "cart": 0.7}, {"view": 0.0, "cart": 1e-6}, {"view": 0.333333}]
    ),
    event_value_minimum=st.sampled_from([None, 1.0]),
    minimum_item_users=st.integers(1, 3),
    minimum_user_items=st.integers(1, 3),
    maximum_weight=st.sampled_from([0.5, 2.3, 10.0]),
    half_life_days=st.sampled_from([None, 1.0, 30.0, 45.5]),
    validation_share=st.just(0.2),
    test_share=st.just(0.2),
    minimum_interactions=st.just(1),
    minimum_users=st.just(1),
    item_attributes=st.sampled_from([None, ("KIND",), ("MAKER", "KIND")]),
    category_separator=st.sampled_from(["|", "||"]),
    blank_values=st.sampled_from([(), ("0", "—")]),
    minimum_category_rows=st.integers(1, 3),
    maximum_categories=st.integers(1, 3),
)
SHUT_OUT = st.frozensets(st.sampled_from(PEOPLE), max_size=3)
GOODS = st.fixed_dictionaries(
    {name: st.lists(st.sampled_from(CELLS), min_size=6, max_size=6) for name in ("KIND", "MAKER")}
)


@contextmanager
def stored(
    events: Sequence[Event], goods: dict[str, list[str | None]], people: Attributes | None = None
) -> Iterator[tuple[ShardStore, Path]]:
    """A real shard store in a folder of its own, and an empty folder beside it."""
    source = InteractionStore([events], {"item": list(ITEMS), **goods}, people)
    with TemporaryDirectory() as folder:
        store = ShardStore(Path(folder) / "interactions", buckets=2)
        for table in source.scan(INTERACTIONS.names):
            store.append(table)
        for kind in ("items", "users"):
            table = source.attributes(kind)
            if table is not None:
                store.put_attributes(kind, table)
        yield store, Path(folder) / "training"


def trained(
    store: ShardStore, into: Path, rules: SnapshotRules, shut_out: frozenset[str]
) -> InteractionMatrix:
    build(store, shut_out, rules, into, 0, "")
    return TrainingSet.read(into).matrix("all")


# --- the definition, in plain Python ------------------------------------------------------------


def slowly(
    events: Sequence[Event], goods: dict[str, list[str | None]], rules: SnapshotRules,
    shut_out: frozenset[str],
) -> InteractionMatrix | None:  # fmt: skip
    rows = []
    # one event sent twice is one event
    for user, item, moment, kind, value in {(*event[:4], event[4]) for event in events}:
        least = rules.event_value_minimum
        weight = round(rules.event_weights.get(kind, 1.0) * 1_000_000)
        low = least is not None and (value is None or value < least)
        if user not in shut_out and weight and not low:
            rows.append((user, item, moment, weight))
    for one, other, minimum in (
        (1, 0, rules.minimum_item_users),
        (0, 1, rules.minimum_user_items),
    ):
        met: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            met[row[:2][one]].add(row[:2][other])
        rows = [row for row in rows if len(met[row[:2][one]]) >= minimum]
    if not rows:
        return None
    rows = slow_fading(rows, rules)
    users, items = sorted({row[0] for row in rows}), sorted({row[1] for row in rows})
    dense = np.zeros((len(users), len(items)), np.int64)
    for user, item, _, weight in rows:
        dense[users.index(user), items.index(item)] += weight
    capped = np.minimum(dense, round(rules.maximum_weight * 1_000_000)) / 1_000_000
    return InteractionMatrix(
        tuple(users),
        tuple(items),
        sparse.csr_matrix(capped.astype(np.float32)),
        slow_features(goods, items, rules),
    )


def slow_features(
    goods: dict[str, list[str | None]], items: list[str], rules: SnapshotRules
) -> Features | None:
    held: set[tuple[str, str]] = set()
    for name in rules.item_attributes or sorted(goods):
        pairs = {
            (item, part.strip(" "))
            for item, cell in zip(ITEMS, goods[name], strict=True)
            for part in (cell or "").split(rules.category_separator)
            if item in items and part.strip(" ") and part.strip(" ") not in rules.blank_values
        }
        rows: dict[str, int] = defaultdict(int)
        for _, part in pairs:
            rows[part] += 1
        common = sorted(p for p, n in rows.items() if n >= rules.minimum_category_rows)
        kept = sorted(common, key=lambda part: -rows[part])[: rules.maximum_categories]
        held |= {(item, f"{name}={part}") for item, part in pairs if part in kept}
    names = sorted({name for _, name in held})
    if not names:
        return None
    dense = np.zeros((len(items), len(names)), np.float32)
    for item, name in held:
        dense[items.index(item), names.index(name)] = 1
    return Features(tuple(names), sparse.csr_matrix(dense))


@settings(max_examples=40, deadline=None)
@given(events=EVENTS, goods=GOODS, rules=RULES, shut_out=SHUT_OUT)
def test_three_readings_of_one_definition_give_one_digest(
    events: list[Event],
    goods: dict[str, list[str | None]],
    rules: SnapshotRules,
    shut_out: frozenset[str],
) -> None:
    expected = slowly(events, goods, rules, shut_out)
    with stored(events, goods) as (store, training):
        definition = rules.model_dump(mode="json")
        if expected is None:
            with pytest.raises(ArtifactCorrupt, match="nothing to train on"):
                rebuild(store.root, shut_out.__contains__, definition)
            return
        rebuilt = rebuild(store.root, shut_out.__contains__, definition).matrix
        assert rebuilt.digest == expected.digest
        try:
            assert trained(store, training, rules, shut_out).digest == rebuilt.digest
        except TooFewInteractions:
            return


TOWNS: Attributes = {"user": list(PEOPLE), "TOWN": ["Ulm", "Ulm", "Bonn", "Bonn"] * 2}
KINDS: dict[str, list[str | None]] = {"KIND": ["tea", "tea", "mug|tea", "mug", None, "pot"]}
DAYS: list[Event] = [
    (PEOPLE[n % 8], ITEMS[(n * n + n // 8) % 6], 400_000 * n, ("view", "cart")[n % 2], float(n % 3))
    for n in range(60)
]
DEFINED = SnapshotRules(
    event_weights={"view": 0.1},
    event_value_minimum=0.5,
    maximum_weight=0.9,
    minimum_item_users=2,
    minimum_user_items=2,
    half_life_days=30,
    minimum_interactions=1,
    minimum_users=1,
)
ERASED = frozenset({PEOPLE[2]})

Trainer = Callable[[ShardStore, Path], InteractionMatrix]


def under(**changed: Any) -> Trainer:
    rules = DEFINED.model_copy(update=changed)
    return lambda store, into: trained(store, into, rules, ERASED)


def without_the_last_shard(store: ShardStore, into: Path) -> InteractionMatrix:
    sorted(store.root.glob("*/*.parquet"))[-1].unlink()
    return trained(store, into, DEFINED, ERASED)


WRONG_TRAINERS: dict[str, Trainer] = {
    "the erased are kept": lambda store, into: trained(store, into, DEFINED, frozenset()),
    "somebody else is erased": lambda store, into: trained(
        store, into, DEFINED, frozenset({PEOPLE[3]})
    ),
    "one more is erased": lambda store, into: trained(store, into, DEFINED, ERASED | {PEOPLE[5]}),
    "a weight is forgotten": under(event_weights={}),
    "a weight is a millionth off": under(event_weights={"view": 0.100001}),
    "the cap is forgotten": under(maximum_weight=1_000.0),
    "values are not looked at": under(event_value_minimum=None),
    "nothing fades": under(half_life_days=None),
    "weights fade at another pace": under(half_life_days=30.001),
    "rare items stay": under(minimum_item_users=1, minimum_user_items=1),
    "single categories stay": under(minimum_category_rows=1),
    "categories are cut": under(maximum_categories=1),
    "user features are left out": under(user_attributes=()),
    "a shard is overlooked": without_the_last_shard,
    "only the train window is learned": lambda store, into: TrainingSet.read(
        (build(store, ERASED, DEFINED, into, 0, ""), into)[1]
    ).matrix("train+validation"),
}


@pytest.mark.parametrize("fault", WRONG_TRAINERS)
def test_a_trainer_that_strays_from_the_definition_is_noticed(fault: str) -> None:
    rare: list[Event] = [(PEOPLE[0], "rare", 1, "cart", 1.0), (PEOPLE[1], "𝄞", 2, "cart", None)]
    # pairs that occur once, in the last month: who overlooks it loses them
    late: list[Event] = [(one, "late", 400_000 * 70, "cart", 1.0) for one in PEOPLE[4:8]]
    with stored([*DAYS, *rare, *late], KINDS, TOWNS) as (store, training):
        definition = DEFINED.model_dump(mode="json")
        rebuilt = rebuild(store.root, ERASED.__contains__, definition).matrix
        assert trained(store, training, DEFINED, ERASED).digest == rebuilt.digest
        assert rebuilt.user_features is not None
        assert WRONG_TRAINERS[fault](store, training).digest != rebuilt.digest


@pytest.fixture(scope="module")
def shop() -> Iterator[Path]:
    with stored(DAYS, KINDS, TOWNS) as (store, _):
        yield store.root


def test_a_data_version_that_cannot_be_read_stops_the_verifier(shop: Path, tmp_path: Path) -> None:
    definition = DEFINED.model_dump(mode="json")
    with pytest.raises(ArtifactCorrupt, match="no shard"):
        rebuild(tmp_path, ERASED.__contains__, definition)
    with pytest.raises(ArtifactCorrupt, match="rules of the matrix"):
        rebuild(shop, ERASED.__contains__, {})
    with pytest.raises(ArtifactCorrupt, match=r"items\.parquet .* lacks an attribute"):
        rebuild(shop, ERASED.__contains__, {**definition, "item_attributes": ["COLOUR"]})
    with pytest.raises(ArtifactCorrupt, match="nothing to train on"):
        rebuild(shop, lambda _: True, definition)


def test_a_page_with_a_flipped_bit_stops_the_verifier(tmp_path: Path) -> None:
    with stored(DAYS, KINDS) as (store, _):
        shard = next(iter(sorted(store.root.glob("*/*.parquet"))))
        content = bytearray(shard.read_bytes())
        start = pq.ParquetFile(shard).metadata.row_group(0).column(0).data_page_offset
        content[start + 60] ^= 1
        shard.write_bytes(content)
        with pytest.raises(ArtifactCorrupt, match="not readable"):
            rebuild(store.root, ERASED.__contains__, DEFINED.model_dump(mode="json"))
