"""A full disk or a failing one at any durable call of an erasure: the next night completes it."""

from __future__ import annotations

import copy
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lethe.errors import LetheError
from lethe.interactions.rights.register import Action
from tests.fakes.night_desk import World, name_of, stone_of
from tests.nights.forgotten import (
    DURABLE,
    PEOPLE,
    ends_as,
    in_need,
    killing,
    retired,
)

RENAMED = (Path, "replace")
WRITTEN = (os, "fsync"), (Path, "write_bytes")  # late or not, the same: nothing was renamed yet
LEDGERS = ("recorded", "lists"), ("kept", "aliases", "descriptions", "last")


@dataclass
class Again:
    """A world that can be put back to where it was, at the place where it was made."""

    world: World
    copy: Path
    ledgers: list[dict[str, Any]]

    @classmethod
    def of(cls, world: World) -> Again:
        place = world.root.with_name("copy")
        shutil.copytree(world.root, place)
        return cls(world, place, copy.deepcopy(cls._ledgers(world)))

    @staticmethod
    def _ledgers(world: World) -> list[dict[str, Any]]:
        owners = zip((world.data, world.versions), LEDGERS, strict=True)
        return [{name: getattr(owner, name) for name in names} for owner, names in owners]

    def back(self) -> World:
        shutil.rmtree(self.world.root)
        shutil.copytree(self.copy, self.world.root)
        owners = (self.world.data, self.world.versions)
        for owner, kept in zip(owners, copy.deepcopy(self.ledgers), strict=True):
            for name, value in kept.items():
                setattr(owner, name, value)
        return self.world


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Again, dict[str, Any]]]:
    """The world before its last step, and how an undisturbed one ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LETHE_REGISTER_URL", raising=False)
        again = Again.of(in_need(tmp_path_factory.mktemp("faults") / "shop"))
        killing(again.world, None)
        yield again, ended(again.world)


def failing(world: World, at: int | None, fault: int, late: bool) -> int:
    """Retire on a disk that fails at the durable call `at`: before it, or `late`, after it.

    Returns how many calls came. What the code takes for harmless goes on.
    """
    calls = 0

    def counted(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            if name == "unlink" and str(arguments[0]).endswith(".part"):
                return original(*arguments, **options)  # tidying up behind the fault itself
            calls += 1
            if calls - 1 != at:
                return original(*arguments, **options)
            if late:
                original(*arguments, **options)
            if options.get("ignore_errors"):
                return None
            raise OSError(fault, os.strerror(fault))

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (*DURABLE, RENAMED, *(() if late else WRITTEN)):
            patch.setattr(owner, name, counted(getattr(owner, name), name))
        try:
            retired(world)
        except (LetheError, OSError):
            return calls
    return calls


def closed_too_early(world: World) -> list[int]:
    """Positions of closed erasures whose person is still somewhere."""
    closed = {
        state.entry.tombstone: state.entry.position
        for state in world.desk.register.requests()
        if state.entry.action is Action.ERASE and state.state == "closed"
    }
    left = world.bytes_everywhere() if closed else b""
    return [
        closed[stone_of(one)]
        for one in PEOPLE
        if stone_of(one) in closed and (one.encode() in left or name_of(one).encode() in left)
    ]


def ended(world: World) -> dict[str, Any]:
    """How it ended; what the search saw counts where somebody was searched for to be closed.

    A stranger's request, or an objection, may be closed in the very night whose search found the
    others in a folder that could not be emptied. Its evidence says so, and is right.
    """
    end = ends_as(world)
    for evidence in end["evidence"].values():
        if (evidence["action"], evidence["outcome"]) != ("ERASE", "closed"):
            del evidence["search"]
    return end


@pytest.mark.parametrize(
    ("fault", "late"),
    [(errno.ENOSPC, False), (errno.EIO, True)],
    ids=["a full disk", "an error that is told after the fact"],
)
def test_a_disk_that_fails_at_any_durable_call_changes_nothing_in_the_end(
    again: tuple[Again, dict[str, Any]], fault: int, late: bool
) -> None:
    start, expected = again
    calls = failing(start.back(), None, fault, late)
    assert ended(start.world) == expected
    assert calls > (40 if late else 60)
    for at in range(calls):
        world = start.back()
        failing(world, at, fault, late)
        assert closed_too_early(world) == [], f"durable call {at}"
        retired(world)
        assert ended(world) == expected, f"durable call {at}"
