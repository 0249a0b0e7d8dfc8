"""MLflow's SQLite file before MLflow opens it: a restored one must name no champion."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from lethe.errors import StoreUnavailable


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
