"""Which interactions a training may learn from, what each weighs, and where time is cut.

Steps 1 to 4 of the definition in `lethe.interactions.training.snapshot`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

from lethe.errors import TooFewInteractions
from lethe.interactions.columns import (
    EVENT_TYPE,
    EVENT_VALUE,
    ITEM,
    TIMESTAMP,
    USER,
)
from lethe.interactions.intake.verdicts import mask
from lethe.interactions.training.log import Log
from lethe.interactions.training.splits import (
    Cuts,
    Ints,
    LastOut,
    Longs,
    Split,
    SplitRule,
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
    # left out where nothing fades: what was recorded before there was this rule reads the same
    half_life_days: float | None = Field(
        default=None, ge=1, le=36_500, exclude_if=lambda days: days is None
    )
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


_NAME = pa.dictionary(pa.int32(), pa.string())
_NOBODY = pa.nulls(0, _NAME)  # pa.array imports pandas
_AT_ONCE = 2_000_000
"""Names, of which many are one user's, that wait to be made one list (some 80 MB)."""
_NO_WEIGHT = np.empty(0, np.int32)


class InteractionStore(Protocol):
    """What a selection asks of `lethe.interactions.shards.store.ShardStore`."""

    def scan(self, columns: Sequence[str], *, folded: bool) -> Iterable[pa.Table]:
        """Those columns, part by part; `folded` texts may come as dictionaries."""
        ...


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
    people = log.keep(~log.of(canaries)).named() if canaries else log
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
    parts: dict[str, list[Any]] = {name: [_NOBODY] for name in (USER, ITEM)}
    numbers: dict[str, list[Any]] = {TIMESTAMP: [np.empty(0, np.int64)], "weight": [_NO_WEIGHT]}
    for table in store.scan((USER, ITEM, TIMESTAMP, EVENT_TYPE, EVENT_VALUE), folded=True):
        people, goods, types = (_folded(table[name]) for name in (USER, ITEM, EVENT_TYPE))
        codes = people.indices.to_numpy()
        out, uncountable = (
            mask(pc.is_in(people.dictionary, value_set=names)) for names in (barred, uncounted)
        )
        seen.update(people.dictionary.filter(pa.array(out)).to_pylist())
        weight = _weights(types.dictionary, rules)[types.indices.to_numpy()]
        removed = {"excluded": out[codes], "event_weight": weight == 0}
        if rules.event_value_minimum is not None:
            enough = pc.greater_equal(table[EVENT_VALUE], rules.event_value_minimum)
            removed["event_value"] = ~mask(enough.combine_chunks())
        kept, counted = np.ones(len(codes), np.bool_), ~uncountable[codes]
        for rule, rows in removed.items():
            dropped[rule] += int(np.count_nonzero(kept & rows & counted))
            kept &= ~rows
        few = None if kept.all() else pa.array(kept)
        for name, column in ((USER, people), (ITEM, goods)):
            parts[name].append(column if few is None else column.filter(few))
            known, *others = (len(part.dictionary) for part in parts[name])
            if sum(others) > max(known, _AT_ONCE):  # each time costs as much as there is so far
                parts[name] = [_united(parts[name])]
        numbers[TIMESTAMP].append(table[TIMESTAMP].to_numpy()[kept])
        numbers["weight"].append(weight[kept])
    (users, user), (items, item) = (
        (column.dictionary.to_pylist(), column.indices.to_numpy().copy())
        for column in (_united(parts.pop(name)) for name in (USER, ITEM))
    )
    times, weights = (np.concatenate(numbers.pop(name)) for name in (TIMESTAMP, "weight"))
    return Log(users, items, user, item, times, weights), len(seen - canaries)


def _folded(column: pa.ChunkedArray) -> Any:
    """A column of texts as one dictionary array; every text of the dictionary stands in a row."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    return column.unify_dictionaries().combine_chunks()


def _weights(types: Any, rules: SnapshotRules) -> Ints:
    """Millionths of each kind of event, int32."""
    weights = (rules.event_weights.get(name, 1.0) for name in types.to_pylist())
    return np.array([round(weight * MILLIONTHS) for weight in weights], dtype=np.int32)


def _united(parts: list[Any]) -> Any:
    """Dictionary arrays as one; `parts` is emptied."""
    column = pa.chunked_array(parts, _NAME)
    parts.clear()
    return column.unify_dictionaries().combine_chunks()


def _without_rare(log: Log, rules: SnapshotRules, dropped: Counter[str], canaries: Set[str]) -> Log:
    """Step 3: rare items once, then short histories once. Canaries' rows are dropped uncounted."""
    if rules.minimum_item_users == rules.minimum_user_items == 1:
        return log  # whatever has a row has one partner

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
