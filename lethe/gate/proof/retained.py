"""The verifier's own reading of a data version: the retained matrix, built a second time.

`lethe.interactions.training.snapshot` defines the matrix and builds it for the trainer. This file
builds it again from the same words and shares none of that code: grouping is done by Arrow on
strings instead of by numpy on codes, people are barred by their tombstones instead of by a list of
pseudonyms, and nothing is read that the trainer wrote. What the two share is the array format,
`InteractionMatrix`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse

from lethe.errors import ArtifactCorrupt
from lethe.interactions.training.matrix import Features, InteractionMatrix

_MILLION = 1_000_000
_COLUMNS = ["user", "item", "event_type", "event_value"]
_RULES = ("event_value_minimum", "event_weights", "minimum_item_users", "minimum_user_items",
          "maximum_weight", "item_attributes", "user_attributes", "category_separator",
          "blank_values", "minimum_category_rows", "maximum_categories")  # fmt: skip


def rebuild(
    folder: Path, is_barred: Callable[[str], bool], definition: Mapping[str, Any]
) -> InteractionMatrix:
    """The matrix of everything in the data version at `folder` that may be trained on.

    `is_barred` answers for one pseudonym whether the register keeps that person out.
    `definition` holds the rules of the training section as recorded with the version.

    Raises:
        ArtifactCorrupt: the folder holds no shards, a page fails its checksum, a rule or an
            attribute that the definition needs is missing, or nothing is left.
    """
    if missing := sum(name not in definition for name in _RULES):
        raise ArtifactCorrupt(f"{missing} rules of the matrix were not recorded with the version")
    events = _allowed(_events(folder), is_barred)
    events = _weighted(events, definition)
    pairs = events.group_by(["user", "item"]).aggregate([("millionths", "sum")])
    pairs = _frequent(pairs, "item", int(definition["minimum_item_users"]))
    pairs = _frequent(pairs, "user", int(definition["minimum_user_items"]))
    if pairs.num_rows == 0:
        raise ArtifactCorrupt("the data version leaves nothing to train on")
    pairs = pairs.sort_by([("user", "ascending"), ("item", "ascending")])
    users, items = (tuple(sorted(set(pairs[name].to_pylist()))) for name in ("user", "item"))
    return InteractionMatrix(
        users=users,
        items=items,
        csr=_cells(pairs, users, items, float(definition["maximum_weight"])),
        item_features=_features(folder / "items.parquet", "item", items, definition),
        user_features=_features(folder / "users.parquet", "user", users, definition),
    )


def histories(
    folder: Path,
    is_wanted: Callable[[str], bool],
    items: tuple[str, ...],
    definition: Mapping[str, Any],
) -> sparse.csr_matrix:
    """What people who must not be there would have been trained on, had they been.

    Weights as in `rebuild`, float32 CSR with `items` as columns and one row for each wanted person
    who has an event on one of them; the rows' order says nothing. Rare items and short histories
    are kept: they were counted among others.

    Raises:
        ArtifactCorrupt: the folder holds no shards, or a page fails its checksum.
    """
    found = [_allowed(shard, lambda user: not is_wanted(user)) for shard in _shards(folder)]
    events = _weighted(pa.concat_tables(found), definition)
    events = events.filter(pc.is_in(events["item"], value_set=pa.array(items, pa.string())))
    pairs = events.group_by(["user", "item"]).aggregate([("millionths", "sum")])
    users = tuple(sorted(set(pairs["user"].to_pylist())))
    return _cells(pairs, users, items, float(definition["maximum_weight"]))


def _events(folder: Path) -> pa.Table:
    return pa.concat_tables(_shards(folder))


def _shards(folder: Path) -> Iterator[pa.Table]:
    shards = sorted(path for path in folder.glob("*/*.parquet") if path.is_file())
    if not shards:
        raise ArtifactCorrupt("the data version holds no shard")
    try:
        for path in shards:
            yield pq.read_table(path, columns=_COLUMNS, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        raise ArtifactCorrupt("a shard of the data version is not readable") from None


def _allowed(events: pa.Table, is_barred: Callable[[str], bool]) -> pa.Table:
    allowed = [user for user in pc.unique(events["user"]).to_pylist() if not is_barred(user)]
    return events.filter(pc.is_in(events["user"], value_set=pa.array(allowed, pa.string())))


def _weighted(events: pa.Table, definition: Mapping[str, Any]) -> pa.Table:
    minimum = definition["event_value_minimum"]
    if minimum is not None:
        events = events.filter(
            pc.fill_null(pc.greater_equal(events["event_value"], float(minimum)), False)
        )
    weights: Mapping[str, float] = definition["event_weights"]
    by_type = {
        name: round(float(weights.get(name, 1.0)) * _MILLION)
        for name in pc.unique(events["event_type"]).to_pylist()
    }
    millionths = pa.array(
        [by_type[name] for name in events["event_type"].to_pylist()], type=pa.int64()
    )
    events = events.append_column("millionths", millionths)
    return events.filter(pc.greater(events["millionths"], 0))


def _frequent(pairs: pa.Table, column: str, minimum: int) -> pa.Table:
    """Pairs are distinct, so a name's rows are its distinct partners."""
    counts = pc.value_counts(pairs[column].combine_chunks())
    kept = counts.field("values").filter(pc.greater_equal(counts.field("counts"), minimum))
    return pairs.filter(pc.is_in(pairs[column], value_set=kept))


def _cells(
    pairs: pa.Table, users: tuple[str, ...], items: tuple[str, ...], cap: float
) -> sparse.csr_matrix:
    limit = round(cap * _MILLION)
    values = [min(total, limit) / _MILLION for total in pairs["millionths_sum"].to_pylist()]
    rows = pc.index_in(pairs["user"], value_set=pa.array(users, pa.string())).to_numpy()
    columns = pc.index_in(pairs["item"], value_set=pa.array(items, pa.string())).to_numpy()
    matrix = sparse.coo_matrix(
        (np.array(values, dtype=np.float64).astype(np.float32), (rows, columns)),
        shape=(len(users), len(items)),
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
    csr = sparse.csr_matrix(
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
