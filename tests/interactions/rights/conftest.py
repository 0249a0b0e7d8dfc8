"""A register's database: a SQLite file, and a PostgreSQL server where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lethe.interactions.rights.register import Register
from tests.interactions.rights.place import Place, url
from tests.postgres import fresh_schema


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place(url(tmp_path / "register.db"))
    server = request.getfixturevalue("postgres")
    return Place(fresh_schema(server))


@pytest.fixture
def register(place: Place) -> Register:
    register = Register.open(place.url, wait_seconds=0.2)
    register.initialise()
    return register


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "register.db"


@pytest.fixture
def on_sqlite(path: Path) -> Register:
    register = Register.open(url(path), wait_seconds=0.2)
    register.initialise()
    return register
