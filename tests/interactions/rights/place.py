"""An empty database for a register, what is asked of it, and what is done behind its back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from lethe.interactions.rights.merges import Pair
from lethe.interactions.rights.register import Action, Intent, Request

A, B, C, D = (letter * 64 for letter in "abcd")
STONES = [f"{number:064x}" for number in range(7)]
AT = 1_700_000_000
INTENT = Intent(2, "f" * 64, "e" * 64, position=1, previous_champion=1, at=5)


def ask(action: Action, stone: str, received: int = AT) -> Request:
    return Request(action, stone, received)


def pair(one: str, other: str, row: int = 1) -> Pair:
    return Pair(row, one, other)


def url(path: Path) -> str:
    return f"sqlite:///{path}"


@dataclass(frozen=True)
class Place:
    """An empty database, and statements to it behind the register's back."""

    url: str

    @property
    def sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    def run(self, *statements: str) -> None:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def tamper(self, *statements: str, table: str = "entries") -> None:
        """Change what the triggers protect, as the owner of the database can."""
        triggers = tuple(f"DROP TRIGGER {table}_no_{verb}" for verb in ("update", "delete"))
        off = triggers if self.sqlite else (f"ALTER TABLE {table} DISABLE TRIGGER USER",)
        self.run(*off, *statements)
