"""An empty database for a register, and what somebody can do to it behind the register's back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa


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
