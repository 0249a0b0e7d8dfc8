"""MLflow's database before MLflow opens it: a restored one must name no champion."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

from lethe.errors import StoreUnavailable

HISTORY: Final = ("runs", "model_versions")
"""The tables that have rows once a night has run."""

_ALIAS = "alias taken: "
TAKE_ALIASES: Final = (
    "DELETE FROM public.registered_model_aliases "
    "RETURNING 'alias taken: ' || alias || ' ' || version"
)
"""What `take_aliases` does, for PostgreSQL; `taken` reads what it answers."""


def take_aliases(database: Path) -> dict[str, int]:
    """Take every alias out of MLflow's SQLite file that nothing has opened yet; name -> version.

    Raises:
        StoreUnavailable: it is no database of MLflow's.
    """
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=60)) as link, link:
            found = link.execute("SELECT alias, version FROM registered_model_aliases").fetchall()
            link.execute("DELETE FROM registered_model_aliases").close()
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{database.name} refused: {type(error).__name__}") from None
    return {str(alias): int(version) for alias, version in found}


def taken(answer: str) -> dict[str, int]:
    """The aliases of an answer to `TAKE_ALIASES`, between lines of anything else.

    >>> taken("t\\nalias taken: champion 3\\n\\n")
    {'champion': 3}
    """
    lines = (line for line in answer.splitlines() if line.startswith(_ALIAS))
    pairs = (line.removeprefix(_ALIAS).rpartition(" ") for line in lines)
    return {alias: int(version) for alias, _, version in pairs}
