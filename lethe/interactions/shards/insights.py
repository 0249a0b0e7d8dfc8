"""What is in the interactions, in counts: dates, kinds of events, completeness, cardinality.

The questions are those of Amazon Personalize's data insights, and so are the marks: a column that
is less than 70 % complete, more than 30 categories in an attribute, more than 10 kinds of events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lethe.interactions import columns as c
from lethe.interactions.intake.verdicts import mask
from lethe.interactions.shards.folding import one_array, together
from lethe.interactions.shards.merging import read_folded

COMPLETE: Final = 0.7
CATEGORIES: Final = 30
KINDS: Final = 10
FEWEST_PEOPLE: Final = 10
_OPTIONAL: Final = (c.EVENT_VALUE, c.IMPRESSIONS, c.EVENT_ID)
_COLUMNS: Final = (c.USER, c.TIMESTAMP, c.EVENT_TYPE, *_OPTIONAL)
_AT_ONCE: Final = 2  # buckets that are read at one time


@dataclass(frozen=True)
class Counts:
    """Interactions, and the distinct users and items in them."""

    rows: int
    users: int
    items: int


@dataclass(frozen=True)
class Census:
    """Rows of every user, and of every item with `uncounted` users left out, at one time.

    Whoever removes rows afterwards says so: then it still holds.
    """

    users: Counter[str] = field(default_factory=Counter, repr=False)
    items: Counter[str] = field(default_factory=Counter, repr=False)
    uncounted: Set[str] = field(default=frozenset(), repr=False)

    @classmethod
    def of(
        cls,
        buckets: Iterable[Sequence[Path]],
        uncounted: Set[str] = frozenset(),
        *,
        items: bool = True,
    ) -> Census:
        """Read the shards, given bucket by bucket; without `items` none is looked at.

        Raises:
            ArtifactCorrupt: names a shard that cannot be read.
        """
        census, out = cls(uncounted=uncounted), pa.array(sorted(uncounted), pa.string())
        columns = (c.USER, c.ITEM) if items else (c.USER,)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for found in threads.map(lambda paths: _by_name(paths, columns, out), buckets):
                for counter, rows in zip((census.users, census.items), found, strict=False):
                    counter.update(rows)
        return census

    def remove(self, rows: pa.Table) -> None:
        """Rows (columns user and item) that are no longer there."""
        for name, count in _counted(rows[c.USER]):
            self.users[name] -= count
            if not self.users[name]:
                del self.users[name]
        if self.uncounted:
            out = pc.is_in(rows[c.USER], value_set=pa.array(sorted(self.uncounted), pa.string()))
            rows = rows.filter(pc.invert(out))
        self.items.subtract(dict(_counted(rows[c.ITEM])))

    def holds(self, rows: int, uncounted: Set[str]) -> bool:
        """Whether it may be of `rows` rows in all, and counts as it would with these left out."""
        whole = self.users.total() == rows and self.items.total() == self.counts().rows
        return whole and self.uncounted == uncounted

    def counts(self) -> Counts:
        """Of those who are counted."""
        theirs = {name: rows for name, rows in self.users.items() if name not in self.uncounted}
        items = sum(rows > 0 for rows in self.items.values())
        return Counts(sum(theirs.values()), len(theirs), items)


def _by_name(paths: Sequence[Path], columns: Sequence[str], out: pa.Array) -> list[dict[str, int]]:
    """Rows by user, and by item of whoever is not in `out`, of one bucket's shards."""
    table = together([read_folded(path, columns) for path in paths])
    users, *others = (one_array(table.column(name)) for name in columns)
    user = users.indices.to_numpy()
    found = [_named(users.dictionary, user)]
    for column in others:
        counted = ~mask(pc.is_in(users.dictionary, value_set=out))[user]
        codes = column.indices.to_numpy()
        found.append(_named(column.dictionary, codes[counted] if len(out) else codes))
    return found


def _named(names: pa.Array, codes: Any) -> dict[str, int]:
    counts = np.bincount(codes, minlength=len(names))
    held = np.flatnonzero(counts)
    return dict(zip(names.take(pa.array(held)).to_pylist(), counts[held].tolist(), strict=True))


class Store(Protocol):
    """Where the interactions and attributes are."""

    def scan(self, columns: tuple[str, ...], /) -> Iterator[pa.Table]:
        """The interactions in parts."""
        ...

    def attributes(self, kind: Literal["items", "users"], /) -> pa.Table | None:
        """The attributes of items or users; None where there are none."""
        ...


def insights(store: Store, without: Set[str] = frozenset()) -> dict[str, Any]:
    """Counts over everything that is here, `without` some pseudonyms; plain values for JSON.

    `first` and `last` are Unix seconds, None without rows. `events` names a kind of event only if
    at least `FEWEST_PEOPLE` people have it, since a name that one person has could be theirs; the
    rest is `other_events`. A column's `complete` is the share of its rows that say something.
    """
    out = pa.array(sorted(without), pa.string())
    rows, times = 0, list[int]()
    kinds, filled = Counter[str](), Counter[str]()
    people: dict[str, set[str]] = {}
    for part in store.scan(_COLUMNS):
        table = part.filter(pc.invert(pc.is_in(part[c.USER], value_set=out))) if without else part
        if not table.num_rows:
            continue
        rows += table.num_rows
        ends = pc.min_max(table[c.TIMESTAMP]).as_py()
        times += [ends["min"], ends["max"]]
        filled.update({name: table.num_rows - table[name].null_count for name in _OPTIONAL})
        for kind, count in _counted(table[c.EVENT_TYPE]):
            kinds[kind] += count
            known = people.setdefault(kind, set())
            if len(known) < FEWEST_PEOPLE:
                own = table.filter(pc.equal(table[c.EVENT_TYPE], kind))
                known.update(pc.unique(own[c.USER]).to_pylist())
    named = [(kind, n) for kind, n in kinds.most_common() if len(people[kind]) >= FEWEST_PEOPLE]
    shown = named[:KINDS]
    return {
        "first": min(times, default=None),
        "last": max(times, default=None),
        "kinds": len(kinds),
        "many_kinds": len(kinds) > KINDS,
        "events": [{"name": kind, "rows": count} for kind, count in shown],
        "other_events": rows - sum(count for _, count in shown),
        "columns": [
            _column("interactions", name, filled[name], rows, None) for name in _OPTIONAL if rows
        ]
        + [*_attributes(store, "items", out), *_attributes(store, "users", out)],
    }


def _attributes(
    store: Store, kind: Literal["items", "users"], out: pa.Array
) -> Iterator[dict[str, Any]]:
    """Each attribute of a table: how complete it is, and how many texts stand in it."""
    table = store.attributes(kind)
    if table is None:
        return
    key = table.column_names[0]
    if kind == "users":
        table = table.filter(pc.invert(pc.is_in(table[key], value_set=out)))
    for name in table.column_names[1:]:
        held = table[name].drop_null()
        texts = len(pc.unique(held))
        yield _column(kind, name, len(held), table.num_rows, texts)


def _column(table: str, name: str, filled: int, rows: int, texts: int | None) -> dict[str, Any]:
    complete = filled / rows if rows else None
    return {
        "table": table,
        "name": name,
        "complete": complete,
        "texts": texts,
        "sparse": complete is not None and complete < COMPLETE,
        "many": texts is not None and texts > CATEGORIES,
    }


def _counted(column: pa.ChunkedArray) -> Iterator[tuple[str, int]]:
    found = pc.value_counts(column.combine_chunks())
    yield from zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True)
