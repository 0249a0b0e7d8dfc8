"""A night that is killed while it forgets ends, once done again, like one that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.nights.forgotten import (
    MOST_CALLS,
    ends_as,
    in_need,
    killing,
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    world = in_need(tmp_path_factory.mktemp("undisturbed") / "shop")
    calls = killing(world, None)
    return calls, ends_as(world)


def test_the_undisturbed_night_does_what_the_killed_ones_are_held_against(
    undisturbed: tuple[int, dict[str, Any]],
) -> None:
    calls, end = undisturbed
    assert 15 < calls <= MOST_CALLS
    assert [state for _, state, _ in end["requests"]] == [
        "closed", "closed", "not_found", "closed", "closed", "blocked",
    ]  # fmt: skip
    assert end["versions"] == [2]
    assert all(end["closed by"].values())


@pytest.mark.parametrize("at", range(MOST_CALLS))
def test_a_kill_between_any_two_durable_calls_changes_nothing_in_the_end(
    at: int, undisturbed: tuple[int, dict[str, Any]], tmp_path: Path
) -> None:
    calls, expected = undisturbed
    if at >= calls:
        pytest.skip("the night has fewer durable calls")
    world = in_need(tmp_path / "shop")
    killing(world, at)
    killing(world, None)
    assert ends_as(world) == expected
