"""A register on SQLite that is quick to ask: for tests that ask it thousands of times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.pool import StaticPool

from lethe.interactions.rights import ledger
from lethe.interactions.rights.register import Register


def quick_register(patch: pytest.MonkeyPatch) -> None:
    """One connection, and what was read is read again only after something was written."""
    patch.setattr(ledger, "NullPool", StaticPool)
    answers: dict[Any, Any] = {}
    transaction = ledger.transaction

    def writing(engine: Any, write: bool) -> Any:
        if write:
            answers.clear()
        return transaction(engine, write)

    def remembered(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(register: Register, *arguments: Any, **options: Any) -> Any:
            key = original, id(register), arguments, *options.items()
            if key not in answers:
                answers[key] = original(register, *arguments, **options)
            return answers[key]

        return call

    patch.setattr(ledger, "transaction", writing)
    for name in ("entries", "_states", "_extensions", "_merges", "promotions", "head"):
        patch.setattr(Register, name, remembered(getattr(Register, name)))
