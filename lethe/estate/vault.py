"""The vault: pseudonym -> user id, the one place below intake that knows both.

It keeps *inner* names, which no replacement of the key changes, and answers in the present ones.

One SQLite file with mode 0600 outside `data/`. Freed bytes are overwritten (`secure_delete`), there
is no write-ahead log, and VACUUM rebuilds the file in memory, never in a temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Final

from lethe.errors import StoreUnavailable
from lethe.interactions.rights.identity import Keys

Known = tuple[str, str, str]
"""(pseudonym, tombstone, canonical id)"""

_CHUNK: Final = 500
_BULK: Final = 20_000


@dataclass(frozen=True)
class Vault:
    """The look-up table in one file, opened for each call. Names are of the keys' generation.

    All methods raise `StoreUnavailable` when SQLite refuses or waits longer than `wait_seconds`.
    """

    path: Path
    keys: Keys = field(repr=False)
    wait_seconds: float = 30.0

    def remember(self, people: Iterable[Known]) -> int:
        """Keep rows of (pseudonym, tombstone, canonical id); known ones stay. Counts the new."""
        with self._connection() as connection:
            before = _count(connection)
            rows = iter(sorted(people, key=itemgetter(1)))  # as they lie in the file: half the time
            while bulk := list(islice(rows, _BULK)):
                inner = self.keys.inner([name for name, *_ in bulk])
                bulk = [(n, stone, raw) for n, (_, stone, raw) in zip(inner, bulk, strict=True)]
                connection.executemany(
                    "INSERT OR IGNORE INTO people (pseudonym, tombstone, id) VALUES (?, ?, ?)", bulk
                )
            return _count(connection) - before

    def by_tombstone(self, tombstones: Collection[str]) -> dict[str, tuple[str, str]]:
        """Tombstone -> (pseudonym, canonical id) for those that are known."""
        found: dict[str, tuple[str, str]] = {}
        with self._connection() as connection:
            for chunk in _chunks(tombstones):
                marks = ",".join("?" * len(chunk))
                query = f"SELECT tombstone, pseudonym, id FROM people WHERE tombstone IN ({marks})"  # noqa: S608
                rows = connection.execute(query, chunk).fetchall()
                names = self.keys.wrapped([row[1] for row in rows])
                found |= {row[0]: (n, row[2]) for n, row in zip(names, rows, strict=True)}
        return found

    def forget(self, tombstones: Collection[str]) -> int:
        """Delete these people and rebuild the file; how many were there.

        A repeat after a kill finds nobody and still rebuilds the file.
        """
        with self._connection() as connection:
            before = _count(connection)
            connection.executemany(
                "DELETE FROM people WHERE tombstone = ?", ((stone,) for stone in tombstones)
            )
            gone = before - _count(connection)
            connection.execute("COMMIT")
            connection.execute("VACUUM")
            connection.execute("BEGIN IMMEDIATE")
        return gone

    def count(self) -> int:
        """How many people the vault knows."""
        with self._connection() as connection:
            return _count(connection)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A transaction on the file, which is made with mode 0600 if it is absent."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            connection = sqlite3.connect(self.path, timeout=self.wait_seconds, isolation_level=None)
            with contextlib.closing(connection):
                _prepare(connection)
                yield connection
                connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            kind = type(error).__name__
            raise StoreUnavailable(f"the vault {self.path.name} refused: {kind}") from error


def _prepare(connection: sqlite3.Connection) -> None:
    # temp_store: VACUUM would write every id to a temporary folder otherwise.
    for pragma in ("secure_delete=ON", "journal_mode=DELETE", "synchronous=EXTRA", "temp_store=2"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS people "
        "(tombstone TEXT PRIMARY KEY, pseudonym TEXT NOT NULL, id TEXT NOT NULL) WITHOUT ROWID"
    )


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM people").fetchone()[0])


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    rows = iter(values)
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk
