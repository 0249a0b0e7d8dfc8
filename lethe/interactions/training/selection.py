"""Which interactions a training may learn from, what each weighs, and where time is cut.

Steps 1 to 4 of the definition in `lethe.interactions.training.snapshot`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

from lethe.errors import TooFewInteractions
from lethe.interactions.columns import EVENT_TYPE, EVENT_VALUE, ITEM, TIMESTAMP, USER
from lethe.interactions.training.splits import (
    Cuts,
    Ints,
    LastOut,
    Longs,
    Rows,
    Split,
    SplitRule,
    present,
    rows_of,
)
from lethe.interactions.training.windows import MILLIONTHS

DROP_RULES = ("excluded", "event_weight", "event_value", "item_users", "user_items")

# Amazon Personalize asks for at least 1 % of the users with two interactions or more.
MINIMUM_SHARE_OF_REPEATING_USERS = 0.01


class SnapshotRules(BaseModel):
    """Which interactions a training may learn from. Section `training` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_weights: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    event_value_minimum: FiniteFloat | None = None
    minimum_user_items: int = Field(default=1, ge=1, le=10_000)
    minimum_item_users: int = Field(default=1, ge=1, le=10_000)
    maximum_weight: float = Field(default=10.0, ge=0.000001, le=1_000_000)
    split: SplitRule = SplitRule()
    validation_share: float = Field(default=0.1, gt=0, le=0.4)
    test_share: float = Field(default=0.1, gt=0, le=0.4)
    minimum_interactions: int = Field(default=1000, ge=1)
    minimum_users: int = Field(default=25, ge=1)
    item_attributes: tuple[str, ...] | None = None
    user_attributes: tuple[str, ...] | None = None
    category_separator: str = Field(default="|", min_length=1, max_length=8)
    blank_values: tuple[str, ...] = ()
    minimum_category_rows: int = Field(default=2, ge=1)
    maximum_categories: int = Field(default=1000, ge=1, le=100_000)

    @field_validator("event_weights")
    @classmethod
    def _whole_millionths(cls, weights: dict[str, float]) -> dict[str, float]:
        for weight in weights.values():
            if round(weight, 6) != weight:
                raise ValueError("an event weight has at most six decimals")
        return weights


class InteractionStore(Protocol):
    """What a selection asks of `lethe.interactions.shards.store.ShardStore`."""

    def scan(self, columns: Sequence[str]) -> Iterable[pa.Table]: ...


@dataclass(frozen=True, eq=False, repr=False)
class Log:
    """Kept rows: indices into two lists of names, Unix seconds, millionths."""

    users: list[str]
    items: list[str]
    user: Ints
    item: Ints
    timestamp: Longs
    weight: Longs

    def keep(self, rows: Rows | Longs) -> Log:
        return Log(
            self.users,
            self.items,
            self.user[rows],
            self.item[rows],
            self.timestamp[rows],
            self.weight[rows],
        )

    def of(self, names: Set[str]) -> Rows:
        """A mask of the rows whose user is one of `names`."""
        theirs: Rows = np.array([name in names for name in self.users], dtype=np.bool_)
        return theirs[self.user]

    def ordered(self) -> Log:
        """Names ascending and every one in use; rows by time, user, item and weight."""
        users, user = _ascending(self.users, self.user)
        items, item = _ascending(self.items, self.item)
        log = Log(users, items, user, item, self.timestamp, self.weight)
        return log.keep(np.lexsort((self.weight, item, user, self.timestamp)))


_NAME = pa.dictionary(pa.int32(), pa.string())
_KEPT = pa.schema([(USER, _NAME), (ITEM, _NAME), (TIMESTAMP, pa.int64()), ("weight", pa.int64())])


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """The kept rows, their split, and counts: rows dropped by rule, excluded users who had rows.

    `people` is the kept rows without those of canaries. Whatever counts or cuts looks at these.
    """

    log: Log
    people: Log
    split: Split
    dropped: dict[str, int]
    excluded_users: int


def select(
    store: InteractionStore,
    excluded: Set[str],
    rules: SnapshotRules,
    canaries: Set[str] = frozenset(),
) -> Selection:
    """Apply the rules to every interaction of `store`; `excluded` and `canaries` are pseudonyms.

    Raises:
        TooFewInteractions: less is left than the minimums, or one of the windows is empty.
    """
    dropped: Counter[str] = Counter()
    gathered, excluded_users = _gather(store, excluded, rules, dropped, canaries)
    log = _without_rare(gathered, rules, dropped, canaries).ordered()
    people = log.keep(~log.of(canaries)).ordered() if canaries else log
    _check_minimums(people, rules)
    counts = {rule: dropped[rule] for rule in DROP_RULES}
    return Selection(log, people, _split(people, rules), counts, excluded_users)


def _gather(
    store: InteractionStore,
    excluded: Set[str],
    rules: SnapshotRules,
    dropped: Counter[str],
    canaries: Set[str],
) -> tuple[Log, int]:
    """Steps 1 and 2; also how many of the excluded users had rows."""
    barred, uncounted = (pa.array(sorted(names), pa.string()) for names in (excluded, canaries))
    seen: set[str] = set()
    parts = [_KEPT.empty_table()]
    for table in store.scan((USER, ITEM, TIMESTAMP, EVENT_TYPE, EVENT_VALUE)):
        out = pc.is_in(table[USER], value_set=barred)
        seen.update(table[USER].filter(out).unique().to_pylist())
        kept = _less(table, out, "excluded", dropped, uncounted)
        kept = kept.append_column("weight", pa.array(_weights(kept[EVENT_TYPE], rules)))
        none = pc.equal(kept["weight"], 0)
        kept = _less(kept, none, "event_weight", dropped, uncounted)
        if rules.event_value_minimum is not None:
            enough = pc.greater_equal(kept[EVENT_VALUE], rules.event_value_minimum)
            low = pc.invert(pc.fill_null(enough, False))
            kept = _less(kept, low, "event_value", dropped, uncounted)
        columns = [kept[USER].dictionary_encode(), kept[ITEM].dictionary_encode()]
        parts.append(pa.table([*columns, kept[TIMESTAMP], kept["weight"]], schema=_KEPT))
    whole = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
    (users, user), (items, item) = (_codes(whole[name]) for name in (USER, ITEM))
    numbers = (whole[TIMESTAMP].to_numpy(), whole["weight"].to_numpy())
    return Log(users, items, user, item, *numbers), len(seen - canaries)


def _less(
    table: pa.Table,
    out: pa.ChunkedArray,
    rule: str,
    dropped: Counter[str],
    uncounted: pa.Array,
) -> pa.Table:
    kept = table.filter(pc.invert(out))
    dropped[rule] += table.num_rows - kept.num_rows
    if len(uncounted):
        theirs = pc.is_in(table[USER], value_set=uncounted)
        dropped[rule] -= pc.sum(pc.and_(out, theirs)).as_py() or 0
    return kept


def _weights(types: pa.ChunkedArray, rules: SnapshotRules) -> Longs:
    """Millionths of each event."""
    names = sorted(rules.event_weights)
    place = pc.fill_null(pc.index_in(types, value_set=pa.array(names, pa.string())), len(names))
    weights = [round(rules.event_weights[name] * MILLIONTHS) for name in names]
    table: Longs = np.array([*weights, MILLIONTHS], dtype=np.int64)
    weight: Longs = table[place.to_numpy()]
    return weight


def _codes(column: pa.ChunkedArray) -> tuple[list[str], Ints]:
    chunk = column.combine_chunks()
    return chunk.dictionary.to_pylist(), chunk.indices.to_numpy()


def _ascending(names: list[str], codes: Ints) -> tuple[list[str], Ints]:
    used = sorted((names[code], code) for code in present(codes).tolist())
    place = np.full(len(names), -1, dtype=np.int32)
    place[[code for _, code in used]] = np.arange(len(used), dtype=np.int32)
    return [name for name, _ in used], place[codes]


def _without_rare(log: Log, rules: SnapshotRules, dropped: Counter[str], canaries: Set[str]) -> Log:
    """Step 3: rare items once, then short histories once. Canaries' rows are dropped uncounted."""

    def rows(some: Log) -> int:
        return int(np.count_nonzero(~some.of(canaries))) if canaries else len(some.user)

    kept = log.keep(_partners(log.item, log.user)[log.item] >= rules.minimum_item_users)
    dropped["item_users"] = rows(log) - rows(kept)
    last = kept.keep(_partners(kept.user, kept.item)[kept.user] >= rules.minimum_user_items)
    dropped["user_items"] = rows(kept) - rows(last)
    return last


def _partners(one: Ints, other: Ints) -> Longs:
    """For each code of `one`, how many distinct codes of `other` it meets.

    >>> _partners(np.array([0, 0, 0, 2]), np.array([5, 5, 7, 1])).tolist()
    [2, 0, 1]
    """
    width = int(other.max(initial=0)) + 1
    pairs = np.sort(one.astype(np.int64) * width + other)
    first = np.ones(len(pairs), dtype=np.bool_)
    np.not_equal(pairs[1:], pairs[:-1], out=first[1:])
    return np.bincount(pairs[first] // width, minlength=int(one.max(initial=-1)) + 1)


def _check_minimums(log: Log, rules: SnapshotRules) -> None:
    rows, users = len(log.user), len(log.users)
    repeating = int((np.bincount(log.user, minlength=users) >= 2).sum())  # noqa: PLR2004
    reasons = []
    if rows < rules.minimum_interactions:
        reasons.append(f"{rows} interactions are left, {rules.minimum_interactions} are needed")
    if repeating < max(rules.minimum_users, users * MINIMUM_SHARE_OF_REPEATING_USERS):
        reasons.append(
            f"{repeating} of {users} users have at least 2 interactions, {rules.minimum_users} "
            f"and {MINIMUM_SHARE_OF_REPEATING_USERS:.0%} of the users are needed"
        )
    if reasons:
        raise TooFewInteractions("too few interactions to train on", tuple(reasons))


def _split(people: Log, rules: SnapshotRules) -> Split:
    """Step 4; rows of `people` are in the order of time."""
    last_out = rules.split.kind == "leave_last_out"
    split = LastOut() if last_out else _cuts(people.timestamp, rules)
    counts = rows_of(split, people.user, people.timestamp)
    if empty := [window for window, count in counts.items() if count == 0]:
        moments = len(np.unique(people.timestamp))
        reason = (
            f"{len(people.user)} interactions at {moments} moments leave no row for "
            f"{', '.join(empty)}"
        )
        raise TooFewInteractions("they cannot be split into three windows", (reason,))
    return split


def _cuts(timestamp: Longs, rules: SnapshotRules) -> Cuts:
    rows = len(timestamp)

    def at(share: float) -> int:
        index = rows - math.floor(rows * share)
        return int(timestamp[index]) if index < rows else int(timestamp[-1]) + 1

    return Cuts(at(rules.validation_share + rules.test_share), at(rules.test_share))
