"""The verifier's own reading of a data version: the retained matrix, built a second time.

`lethe.interactions.training.snapshot` defines the matrix and builds it for the trainer. This file
builds it again from the same words and shares none of that code: grouping is done by Arrow's hash
tables instead of by numpy's sorting, people are barred by their tombstones instead of by a list of
pseudonyms, and nothing is read that the trainer wrote. What the two share is the array format,
`InteractionMatrix`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy

from lethe.errors import ArtifactCorrupt
from lethe.interactions.training.matrix import Features, InteractionMatrix

_MILLION = 1_000_000
_COLUMNS = ["user", "item", "event_type", "event_value"]
_SECONDS_OF_A_DAY = 86_400
_BITS = 256  # of the fixed-point numbers that halve weights; half of them decide
_RULES = ("event_value_minimum", "event_weights", "minimum_item_users", "minimum_user_items",
          "maximum_weight", "item_attributes", "user_attributes", "category_separator",
          "blank_values", "minimum_category_rows", "maximum_categories")  # fmt: skip


class Retained(NamedTuple):
    """A rebuilt matrix, and the day (from 1970, UTC) that ages were counted from, if they were."""

    matrix: InteractionMatrix
    day: int | None


def rebuild(
    folder: Path, is_barred: Callable[[str], bool], definition: Mapping[str, Any]
) -> Retained:
    """The matrix of everything in the data version at `folder` that may be trained on.

    `is_barred` answers for one pseudonym whether the register keeps that person out.
    `definition` holds the rules of the training section as recorded with the version; of those
    `half_life_days` alone may be missing, and then nothing fades.

    Raises:
        ArtifactCorrupt: the folder holds no shards, a page fails its checksum, a rule or an
            attribute that the definition needs is missing, or nothing is left.
    """
    if missing := sum(name not in definition for name in _RULES):
        raise ArtifactCorrupt(f"{missing} rules of the matrix were not recorded with the version")
    met = {"user": _Met(lambda user: not is_barred(user)), "item": _Met(lambda _: True)}
    weighted = (_weighted(shard, definition) for shard in _shards(folder, definition))
    events = pa.concat_tables(_numbered(shard, met) for shard in weighted)
    pairs = events.group_by(["user", "item"]).aggregate([("millionths", "sum")])
    pairs = _frequent(pairs, "item", int(definition["minimum_item_users"]))
    pairs = _frequent(pairs, "user", int(definition["minimum_user_items"]))
    if pairs.num_rows == 0:
        raise ArtifactCorrupt("the data version leaves nothing to train on")
    day = None
    if definition.get("half_life_days") is not None:
        # a row is kept if its user and its item are: no item is rare for one user alone
        for name in ("user", "item"):
            events = events.filter(pc.is_in(events[name], value_set=pc.unique(pairs[name])))
        day = _newest_day(events["timestamp"])
        events = _faded(events, day, definition)
        pairs = events.group_by(["user", "item"]).aggregate([("millionths", "sum")])
    del events
    left = {
        name: sorted(pc.unique(pairs[name]).to_pylist(), key=met[name].names.__getitem__)
        for name in ("user", "item")
    }
    users, items = (tuple(met[name].names[k] for k in left[name]) for name in ("user", "item"))
    matrix = InteractionMatrix(
        users=users,
        items=items,
        csr=_cells(pairs, left["user"], left["item"], float(definition["maximum_weight"])),
        item_features=_features(folder / "items.parquet", "item", items, definition),
        user_features=_features(folder / "users.parquet", "user", users, definition),
    )
    return Retained(matrix, day)


def histories(
    folder: Path,
    is_wanted: Callable[[str], bool],
    items: tuple[str, ...],
    definition: Mapping[str, Any],
    day: int | None,
) -> scipy.sparse.csr_matrix:
    """What people who must not be there would have been trained on, had they been.

    Weights as in `rebuild`, float32 CSR with `items` as columns and one row for each wanted person
    who has an event on one of them; the rows' order says nothing. Rare items and short histories
    are kept: they were counted among others. Ages are counted from `day`, that of the retained.

    Raises:
        ArtifactCorrupt: the folder holds no shards, a page fails its checksum, or weights fade
            and no day is given.
    """
    events = pa.concat_tables(
        _weighted(_of(shard, is_wanted), definition) for shard in _shards(folder, definition)
    )
    if definition.get("half_life_days") is not None:
        if day is None:
            raise ArtifactCorrupt("weights fade, and from which day was not told")
        events = _faded(events, day, definition)
    events = events.filter(pc.is_in(events["item"], value_set=pa.array(items, pa.string())))
    pairs = events.group_by(["user", "item"]).aggregate([("millionths", "sum")])
    users = sorted(set(pairs["user"].to_pylist()))
    return _cells(pairs, users, items, float(definition["maximum_weight"]))


class _Met:
    """Ids by the order in which they were met: each that is admitted gets the next number."""

    def __init__(self, admits: Callable[[str], bool]) -> None:
        self.names: list[str] = []
        self._admits = admits
        self._numbers: dict[str, int | None] = {}

    def numbers(self, ids: pa.ChunkedArray) -> pa.Array:
        """The number of each id, int32; null for those who are not admitted."""
        coded = ids.combine_chunks().dictionary_encode()
        for name in set(coded.dictionary.to_pylist()) - self._numbers.keys():
            admitted = self._admits(name)
            self._numbers[name] = len(self.names) if admitted else None
            self.names += [name] * admitted
        numbers = [self._numbers[name] for name in coded.dictionary.to_pylist()]
        return pc.take(pa.array(numbers, pa.int32()), coded.indices)


def _numbered(events: pa.Table, met: Mapping[str, _Met]) -> pa.Table:
    """The events of whoever is admitted, their ids in numbers."""
    for name in ("user", "item"):
        numbers = met[name].numbers(events[name])
        events = events.set_column(events.column_names.index(name), name, numbers)
        events = events.filter(pc.is_valid(numbers))
    return events


def _shards(folder: Path, definition: Mapping[str, Any]) -> Iterator[pa.Table]:
    dated = definition.get("half_life_days") is not None
    columns = [*_COLUMNS, "timestamp"] if dated else _COLUMNS
    shards = sorted(path for path in folder.glob("*/*.parquet") if path.is_file())
    if not shards:
        raise ArtifactCorrupt("the data version holds no shard")
    try:
        for path in shards:
            yield pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        raise ArtifactCorrupt("a shard of the data version is not readable") from None


def _of(events: pa.Table, is_wanted: Callable[[str], bool]) -> pa.Table:
    wanted = [user for user in pc.unique(events["user"]).to_pylist() if is_wanted(user)]
    return events.filter(pc.is_in(events["user"], value_set=pa.array(wanted, pa.string())))


def _weighted(events: pa.Table, definition: Mapping[str, Any]) -> pa.Table:
    minimum = definition["event_value_minimum"]
    if minimum is not None:
        events = events.filter(
            pc.fill_null(pc.greater_equal(events["event_value"], float(minimum)), False)
        )
    weights: Mapping[str, float] = definition["event_weights"]
    kinds = pc.unique(events["event_type"])
    worth = [round(float(weights.get(name, 1.0)) * _MILLION) for name in kinds.to_pylist()]
    kind = pc.index_in(events["event_type"], value_set=kinds)
    millionths = pc.take(pa.array(worth, pa.int64()), kind)
    events = events.append_column("millionths", millionths)
    events = events.drop_columns(["event_type", "event_value"])
    return events.filter(pc.greater(events["millionths"], 0))


def _newest_day(timestamps: Any) -> int:
    """The day of the newest row, once one row in a thousand, the newest, is left out."""
    newest_first = pc.sort_indices(timestamps, sort_keys=[("", "descending")])
    newest = timestamps[newest_first[len(timestamps) // 1_000].as_py()].as_py()
    return int(newest) // _SECONDS_OF_A_DAY


def _faded(events: pa.Table, day: int, definition: Mapping[str, Any]) -> pa.Table:
    """Each event's millionths halved for every half-life of its age, and never below one."""
    half_life = Fraction(float(definition["half_life_days"]))
    days = pc.divide(events["timestamp"], _SECONDS_OF_A_DAY)
    ages = pc.max_element_wise(pc.subtract(pa.scalar(day, pa.int64()), days), 0)
    events = events.append_column("age", ages)
    kinds = events.group_by(["age", "millionths"]).aggregate([])
    left = [
        max(1, _halved(millionths, age / half_life))
        for age, millionths in zip(
            kinds["age"].to_pylist(), kinds["millionths"].to_pylist(), strict=True
        )
    ]
    worth = kinds.append_column("left", pa.array(left, pa.int64()))
    events = events.join(worth, ["age", "millionths"]).drop_columns(["age", "millionths"])
    return events.rename_columns({"left": "millionths"})


def _halved(number: int, times: Fraction) -> int:
    """number * 2^-times to the nearest integer, halves to the even one, in integers alone.

    2^-(1/2), 2^-(1/4) and so on are square roots in fixed point; those that the fraction of
    `times` needs are multiplied.
    """
    whole, rest = divmod(times, 1)
    share = root = 1 << _BITS
    root >>= 1
    for _ in range(_BITS // 2):
        if rest == 0:
            break
        root = isqrt(root << _BITS)
        rest *= 2
        if rest >= 1:
            rest -= 1
            share = share * root >> _BITS
    return round(Fraction(number * share, 1 << (_BITS + int(whole))))


def _frequent(pairs: pa.Table, column: str, minimum: int) -> pa.Table:
    """Pairs are distinct, so a name's rows are its distinct partners."""
    counts = pc.value_counts(pairs[column].combine_chunks())
    kept = counts.field("values").filter(pc.greater_equal(counts.field("counts"), minimum))
    return pairs.filter(pc.is_in(pairs[column], value_set=kept))


def _cells(
    pairs: pa.Table, users: Sequence[Any], items: Sequence[Any], cap: float
) -> scipy.sparse.csr_matrix:
    """Capped sums of pairs, by where their user stands in `users` and their item in `items`."""
    held = pc.min_element_wise(pairs["millionths_sum"], round(cap * _MILLION)).to_numpy()
    rows, columns = (
        pc.index_in(pairs[name], value_set=pa.array(names, pairs[name].type)).to_numpy()
        for name, names in (("user", users), ("item", items))
    )
    matrix = scipy.sparse.coo_matrix(
        ((held / _MILLION).astype(np.float32), (rows, columns)), shape=(len(users), len(items))
    ).tocsr()
    matrix.sort_indices()
    return matrix


def _features(
    path: Path, key: str, ids: tuple[str, ...], definition: Mapping[str, Any]
) -> Features | None:
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        raise ArtifactCorrupt(f"{path.name} of the data version is not readable") from None
    known = set(ids)
    wanted = definition[f"{key}_attributes"]
    attributes = [name for name in table.column_names if name != key]
    if wanted is not None and not set(wanted) <= set(attributes):
        raise ArtifactCorrupt(f"{path.name} of the data version lacks an attribute")
    held: dict[str, set[str]] = {name: set() for name in ids}
    for attribute in attributes if wanted is None else wanted:
        column: dict[str, set[str]] = {}
        for owner, cell in zip(table[key].to_pylist(), table[attribute].to_pylist(), strict=True):
            if owner in known and cell is not None:
                column.setdefault(owner, set()).update(_categories(cell, definition))
        for owner, categories in _common_enough(column, definition).items():
            held[owner].update(f"{attribute}={category}" for category in categories)
    names = tuple(sorted({name for carried in held.values() for name in carried}))
    if not names:
        return None
    position = {name: index for index, name in enumerate(names)}
    indptr, indices = [0], []
    for owner in ids:
        indices += sorted(position[name] for name in held[owner])
        indptr.append(len(indices))
    csr = scipy.sparse.csr_matrix(
        (np.ones(len(indices), dtype=np.float32), indices, indptr), shape=(len(ids), len(names))
    )
    return Features(names=names, csr=csr)


def _categories(cell: str, definition: Mapping[str, Any]) -> set[str]:
    parts = {part.strip(" ") for part in cell.split(definition["category_separator"])}
    return parts - {""} - set(definition["blank_values"])


def _common_enough(
    column: Mapping[str, set[str]], definition: Mapping[str, Any]
) -> dict[str, set[str]]:
    rows = Counter(category for categories in column.values() for category in categories)
    frequent = [name for name, n in rows.items() if n >= definition["minimum_category_rows"]]
    frequent.sort(key=lambda name: (-rows[name], name))
    kept = set(frequent[: definition["maximum_categories"]])
    return {owner: categories & kept for owner, categories in column.items()}
