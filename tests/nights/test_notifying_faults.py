"""No kill and no full disk leaves a request without its notices, or a notice without one."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lethe import durable
from lethe.errors import LetheError, StoreUnavailable
from lethe.estate.outward import outbox
from lethe.interactions.rights.register import Action, Register
from lethe.nights.desk import Desk
from lethe.nights.forgetting import notifying
from lethe.nights.forgetting.notifying import deliver, waiting
from tests.fakes.night_desk import World
from tests.kills import Killed
from tests.nights.forgotten import EVE, after_one_night
from tests.nights.recipients import (
    DAY,
    RECIPIENTS,
    ask,
    asked_by_way_of,
    notices,
    with_recipients,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return with_recipients(after_one_night(tmp_path / "shop"), *RECIPIENTS)


DURABLE: list[tuple[Any, str]] = [
    (Path, "replace"),
    (Path, "unlink"),
    (Register, "_insert"),
    (durable, "sync_folder"),
    (outbox, "sync_folder"),
]


def disturbed(act: Callable[[], object], at: int | None, fault: BaseException, late: bool) -> int:
    """Do something and fail at the durable call `at`, before it or `late`; how many calls came."""
    calls = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            if str(arguments[0]).endswith(".part") and original.__name__ == "unlink":
                return original(*arguments, **options)  # tidying up behind the fault itself
            calls += 1
            if calls - 1 != at:
                return original(*arguments, **options)
            if late:
                original(*arguments, **options)
            raise fault

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in DURABLE:
            patch.setattr(owner, name, counted(getattr(owner, name)))
        try:
            act()
        except (Killed, LetheError, OSError):
            return calls
    return calls


FAULTS = [
    (Killed(), False),
    (Killed(), True),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), False),
]


@pytest.mark.parametrize(("fault", "late"), FAULTS, ids=["kill", "kill after", "full disk"])
def test_no_fault_leaves_a_request_without_its_notices_or_a_notice_without_its_request(
    world: World, fault: BaseException, late: bool
) -> None:
    """Each batch is of the same kinds: one stood so already, one is under a hold, one is new."""
    for at in range(100):
        new, held, other = (f"{kind}-{at:04d}" for kind in ("new", "held", "other"))
        ask(world, Action.RESTRICT, held)
        ask(world, Action.ERASE, other)
        deliver(world.desk, None, world.clock)
        head = world.desk.register.head().position
        calls = disturbed(
            functools.partial(ask, world, Action.ERASE, new, held, other), at, fault, late
        )
        entered = [e.position for e in world.desk.register.entries(since=head)]
        assert entered in ([], [head + 1, head + 2])
        expected = [(name, "erasure", (head + 1,), (new,)) for name in RECIPIENTS]
        assert notices(world) == (expected if entered else [])
        ask(world, Action.ERASE, new, held, other)
        assert notices(world) == expected
        assert all(not path.name.startswith((".", "pending")) for path in _outbox(world))
        if calls <= at:
            assert at > 8
            return
    raise AssertionError("it never ended")


@contextlib.contextmanager
def told_once_it_is_entered(
    desk: Desk, action: Action, received: int, people: list[tuple[str, str]]
) -> Iterator[None]:
    content = {
        "after": desk.register.head().position, "action": str(action), "received": DAY,
        "recipients": RECIPIENTS, "number": "0" * 32, "people": people,
    }  # fmt: skip
    yield
    outbox.put(desk.workspace.outbox, "pending-0.json", content)
    waiting(desk)


@contextlib.contextmanager
def told_before_it_is_entered(
    desk: Desk, action: Action, received: int, people: list[tuple[str, str]]
) -> Iterator[None]:
    positions = range(desk.register.head().position + 1, len(people) + 1)
    for name in desk.params.recipients if positions else ():
        ids = [one for _, one in people]
        outbox.put_notice(desk.workspace.outbox, name, "erasure", DAY, positions, ids, "0")
    yield


@pytest.mark.parametrize("mutant", [told_once_it_is_entered, told_before_it_is_entered])
def test_telling_in_any_other_order_is_noticed(
    world: World, mutant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ask", functools.partial(asked_by_way_of, mutant))
    with pytest.raises(AssertionError):
        test_no_fault_leaves_a_request_without_its_notices_or_a_notice_without_its_request(
            world, Killed(), False
        )


def _outbox(world: World) -> list[Path]:
    return list(world.workspace.outbox.iterdir())


@pytest.mark.parametrize(("fault", "late"), FAULTS, ids=["kill", "kill after", "full disk"])
def test_a_delivery_that_is_cut_off_is_ended_by_the_next_one(
    world: World, fault: BaseException, late: bool
) -> None:
    for at in range(100):
        ask(world, Action.ERASE, f"person-{at:04d}")
        before = {notice.file for notice in waiting(world.desk)}
        calls = disturbed(lambda: deliver(world.desk, None, 7), at, fault, late)
        left = {notice.file for notice in waiting(world.desk)}
        recorded = {path.name for path in world.workspace.evidence.glob("notice-*.json")}
        assert before - left == before & recorded
        if left:
            deliver(world.desk, None, 8)
        assert notifying.newly_delivered(world.workspace)
        assert {path.name for path in _outbox(world)} == {"lock", "delivered"}
        if calls <= at:
            assert at > 5
            return
    raise AssertionError("it never ended")


def test_where_nothing_can_be_put_by_nothing_is_entered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(outbox, "write_bytes", full)
    with pytest.raises(StoreUnavailable, match="the outbox cannot be written"):
        ask(world, Action.ERASE, EVE)
    assert world.desk.register.head().position == 0
