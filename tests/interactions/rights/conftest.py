"""A register's database: a SQLite file, and a PostgreSQL server where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interactions.rights.place import Place, url
from tests.postgres import fresh_schema


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place(url(tmp_path / "register.db"))
    server = request.getfixturevalue("postgres")
    return Place(fresh_schema(server))
