"""Names that many parts share become one list, and not with every part."""

from __future__ import annotations

from typing import Any

import pytest

from lethe.interactions.training import selection
from lethe.interactions.training.selection import SnapshotRules, select
from tests.fakes.interaction_store import InteractionStore

RULES = SnapshotRules(minimum_interactions=1, minimum_users=1, validation_share=0.2, test_share=0.2)


def test_names_are_made_one_list_as_seldom_as_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not with every part, once more people are known than may wait: each time copies all rows.

    The mutant that counts those who are known among those who wait does.
    """
    parts = [
        [(f"u{n}", f"i{(n + day) % 7}", day, "view", None) for n in range(8)] for day in range(40)
    ]
    united, times = selection._united, list[int]()

    def counted(waiting: list[Any]) -> Any:
        times.append(len(waiting))
        return united(waiting)

    monkeypatch.setattr(selection, "_united", counted)
    whole = select(
        InteractionStore([[row for part in parts for row in part]]), frozenset(), RULES
    ).log
    assert len(times) == 2  # once for users, once for items
    monkeypatch.setattr(selection, "_AT_ONCE", 4)
    found = select(InteractionStore(parts), frozenset(), RULES).log
    assert (found.users, found.items) == (whole.users, whole.items)
    for name in ("user", "item", "timestamp", "weight"):
        assert getattr(found, name).tolist() == getattr(whole, name).tolist()
    assert 10 < len(times) - 2 <= 2 * (1 + len(parts) // 2) + 2
