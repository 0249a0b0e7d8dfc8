"""From the purged interactions to one training set: which rows count, how much, and when.

**The matrix, defined.** A second code path must be able to rebuild it to the same digest, so
every step is exact and none depends on the order of rows, files or threads.

1. Take every interaction of the store whose user is not in `excluded`.
2. Its weight is `round(w * 1_000_000)` millionths, an integer, where w is `event_weights` of its
   event type, 1 for a type not named. Drop weight 0. With an `event_value_minimum`, drop an event
   value that is below it or missing.
3. Drop each item with fewer than `minimum_item_users` distinct users. Then, counted on what is
   left, drop each user with fewer than `minimum_user_items` distinct items. Each filter runs
   once, in this order.
4. Split. With `global_time`, cuts: of the n kept timestamps t in ascending order (0-based, those
   of canaries left out), the test cut is t[n - floor(n * test_share)] and the validation cut
   t[n - floor(n * (validation_share + test_share))], shares as Python floats; an index of n
   stands for t[n - 1] + 1. Windows: "train" is t < validation cut, "train+validation" is
   t < test cut, "all" is everything. Equal timestamps fall into the same window, the later one.
   With `leave_last_out` there are no cuts and no shares: of each user's distinct timestamps the
   last is test, the one before it validation and all earlier ones train; with two of them there
   is no validation, and a single one is train.
5. The matrix of a window: rows are the users with an interaction in it, columns the items, both
   in ascending order of their text by code point. With `half_life_days` h a row of millionths m
   first becomes max(1, m * 2^(-age / h)), the product rounded exactly to the nearest integer,
   halves to the even one. The age is a number of days, d - floor(t / 86400) and never below 0,
   where d is floor(s / 86400) of the window's own newest row but one in a thousand: of its n
   timestamps in ascending order, s is the one at n - 1 - floor(n / 1000). A cell is
   float32(min(sum of millionths, round(maximum_weight * 1_000_000)) / 1_000_000): a sum of
   integers, one division in float64, one rounding. What fades does so before the sum and the
   cap: the cap bounds what a pair is worth now, and what was held out before does not fade.
6. Features, counted over the users (items) left by step 3: an attribute cell is split at
   `category_separator`, parts are stripped of spaces, empty ones and `blank_values` ignored; the
   feature is "ATTRIBUTE=part", held once per row with value 1. A feature held by fewer than
   `minimum_category_rows` rows is dropped; of one attribute's the `maximum_categories` most held
   stay, ties by name. A window's matrix keeps those that one of its own rows holds, names in
   ascending order.

`minimum_category_rows` is 2 by default: an attribute that one person alone holds names them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lethe.durable import replacing, sha256_file, write_bytes, write_json
from lethe.errors import BadConfiguration
from lethe.interactions.columns import ITEM, TIMESTAMP, USER
from lethe.interactions.training.log import Log
from lethe.interactions.training.selection import InteractionStore, SnapshotRules, select
from lethe.interactions.training.splits import PARTITION, Ints, Rows, present, rows_of
from lethe.interactions.training.windows import (
    FEATURES,
    FILES,
    FORMAT,
    ITEMS,
    MILLIONTHS,
    PAIRS,
    SNAPSHOT,
    USERS,
)

__all__ = ["AttributedStore", "SnapshotReceipt", "SnapshotRules", "build"]


class AttributedStore(InteractionStore, Protocol):
    """What a snapshot asks of `lethe.interactions.shards.store.ShardStore`."""

    def attributes(self, kind: Literal["items", "users"]) -> pa.Table | None: ...


@dataclass(frozen=True)
class SnapshotReceipt:
    """Counts of one snapshot, no ids. `dropped` is rows by rule, in the order of the rules.

    `cuts` is the record of the split: two moments in Unix seconds, or none.

    `windows` counts rows; `cold_users` and `cold_items` count who occurs in the validation (test)
    window and in none before it. `digest` is the SHA-256 of `snapshot.json`. `canaries` counts
    those in the training set; they are in no other count.
    """

    rows: int
    users: int
    items: int
    excluded_users: int
    dropped: dict[str, int]
    cuts: dict[str, int]
    windows: dict[str, int]
    cold_users: dict[str, int]
    cold_items: dict[str, int]
    features: dict[str, int]
    canaries: int
    digest: str


def build(  # noqa: PLR0913
    store: AttributedStore,
    excluded: Set[str],
    rules: SnapshotRules,
    into: Path,
    position: int,
    head: str,
    canaries: Set[str] = frozenset(),
    names: str = "",
) -> SnapshotReceipt:
    """Write the training set of `store` without the pseudonyms in `excluded` into folder `into`.

    `position` and `head` say for which state of the register `excluded` was drawn up. Pseudonyms
    in `canaries` are learned from and neither counted, nor cut by, nor ever held out. All
    pseudonyms are of the generation `names`. The bytes
    depend on the arguments only; `snapshot.json` is written last, and a folder without it is no
    snapshot.

    Raises:
        TooFewInteractions: less is left than Personalize's minimums, or a window is empty.
        BadConfiguration: an attribute that the rules name is in no file.
    """
    selection = select(store, excluded, rules, canaries)
    log, people, split = selection.log, selection.people, selection.split
    windows = {name: split.within(name, people.user, people.timestamp) for name in PARTITION}
    invented = [row for row, name in enumerate(log.users) if name in canaries]
    features = {
        ITEM: _features(store.attributes("items"), ITEM, log.items, rules.item_attributes, rules),
        USER: _features(store.attributes("users"), USER, log.users, rules.user_attributes, rules),
    }
    counts: dict[str, Any] = {
        "rows": len(people.user),
        "users": len(people.users),
        "items": len(people.items),
        "excluded_users": selection.excluded_users,
        "dropped": selection.dropped,
        "windows": rows_of(split, people.user, people.timestamp),
        "cold_users": _cold(people.user, windows),
        "cold_items": _cold(people.item, windows),
        "canaries": len(invented),
        "features": {key: len({name for _, name in held}) for key, held in features.items()},
    }
    record = {
        "format": FORMAT,
        "register_position": position,
        "register_head": head,
        "rules": rules.model_dump(mode="json"),
        "cuts": split.record(),
        "counts": counts,
        "canaries": invented,
        "files": _write(into, log, features),
    }
    if names:
        record["names"] = names
    write_json(into / SNAPSHOT, record)
    return SnapshotReceipt(**counts, cuts=split.record(), digest=sha256_file(into / SNAPSHOT))


def _cold(codes: Ints, windows: Mapping[Any, Rows]) -> dict[str, int]:
    """How many codes occur in a window and in none before it."""
    train, validation, test = (windows[name] for name in PARTITION)

    def new(held_out: Rows, before: Rows) -> int:
        theirs, known = (present(codes[rows]) for rows in (held_out, before))
        return len(np.setdiff1d(theirs, known, assume_unique=True))

    return {"validation": new(validation, train), "test": new(test, train | validation)}


def _features(
    table: pa.Table | None,
    key: str,
    names: list[str],
    selected: tuple[str, ...] | None,
    rules: SnapshotRules,
) -> list[tuple[int, str]]:
    """Step 6: (row, "ATTRIBUTE=part") pairs in ascending order."""
    present = [] if table is None else [name for name in table.column_names if name != key]
    if missing := sorted(set(selected or ()) - set(present)):
        raise BadConfiguration(f"{key}_attributes: no file holds the column {', '.join(missing)}")
    if table is None:
        return []
    row_of = {name: row for row, name in enumerate(names)}
    rows = [row_of.get(name) for name in table[key].to_pylist()]
    held: set[tuple[int, str]] = set()
    for attribute in present if selected is None else sorted(set(selected)):
        pairs = {
            (row, f"{attribute}={part}")
            for row, cell in zip(rows, table[attribute].to_pylist(), strict=True)
            if row is not None and cell is not None
            for part in (text.strip(" ") for text in cell.split(rules.category_separator))
            if part and part not in rules.blank_values
        }
        count = Counter(name for _, name in pairs)
        common = [name for name in count if count[name] >= rules.minimum_category_rows]
        common.sort(key=lambda name: (-count[name], name))
        kept = set(common[: rules.maximum_categories])
        held.update(pair for pair in pairs if pair[1] in kept)
    return sorted(held)


def _write(into: Path, log: Log, features: dict[str, list[tuple[int, str]]]) -> dict[str, str]:
    """Write every file but the record, clear what an earlier build left, return the digests."""
    into.mkdir(parents=True, exist_ok=True)
    for name in (SNAPSHOT, *FEATURES.values()):
        (into / name).unlink(missing_ok=True)
    write_bytes(into / USERS, "".join(f"{name}\n" for name in log.users).encode())
    write_json(into / ITEMS, log.items)
    weight = (log.weight / MILLIONTHS).astype(np.float32)
    columns = {USER: log.user, ITEM: log.item, TIMESTAMP: log.timestamp, "weight": weight}
    _write_table(into / PAIRS, pa.table(columns))
    for key, held in features.items():
        if held:
            rows, names = zip(*held, strict=True)
            columns = {key: pa.array(rows, pa.int32()), "name": pa.array(names, pa.string())}
            _write_table(into / FEATURES[key], pa.table(columns))
    return {name: sha256_file(into / name) for name in FILES if (into / name).exists()}


def _write_table(path: Path, table: pa.Table) -> None:
    with replacing(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )
        temporary.chmod(0o600)
