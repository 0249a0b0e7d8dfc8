"""Recipients are told of what was entered, no more, and nothing is closed before (Art. 19)."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lethe import durable
from lethe.durable import read_json, sha256_json
from lethe.errors import BadRequest, LetheError, StoreUnavailable
from lethe.estate.outward import outbox
from lethe.estate.search import Needles, holds, search
from lethe.interactions.rights.merges import Pair
from lethe.interactions.rights.register import Action, Register, Request
from lethe.nights.desk import Desk
from lethe.nights.forgetting import notifying
from lethe.nights.forgetting.notifying import Told, about, deliver, waiting
from tests.fakes.night_desk import PARAMS, World, name_of, stone_of
from tests.kills import Killed
from tests.nights.forgotten import ANN, BOB, CAT, DAN, EVE, PEOPLE, after_one_night, retired

PRINTER, MAILER = RECIPIENTS = ("A printer of letters", "The mailer")
DAY = "2026-02-02"


def with_recipients(world: World, *names: str) -> World:
    world.desk = replace(world.desk, params=PARAMS.model_copy(update={"recipients": names}))
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return with_recipients(after_one_night(tmp_path / "shop"), *RECIPIENTS)


def ask(world: World, action: Action, *raw: str) -> None:
    """As `lethe erase` and the others enter a batch."""
    asked_by_way_of(about, world, action, *raw)


def asked_by_way_of(telling: Any, world: World, action: Action, *raw: str) -> None:
    world.clock += 60
    with telling(world.desk, action, world.clock, [(stone_of(one), one) for one in raw]):
        world.desk.register.append([Request(action, stone_of(one), world.clock) for one in raw])


def notices(world: World) -> list[tuple[str, str, tuple[int, ...], tuple[str, ...]]]:
    """What each notice says, with the ids that it holds."""
    folder = world.workspace.outbox
    return [
        (one.recipient, one.asked, one.positions, tuple(read_json(folder / one.file)["people"]))
        for one in waiting(world.desk)
    ]


def states(world: World) -> dict[int, str]:
    return {s.entry.position: s.state for s in world.desk.register.requests()}


# --- what is told --------------------------------------------------------------------------------


def test_each_recipient_is_told_whom_what_and_since_when_and_nobody_else_is(world: World) -> None:
    ask(world, Action.ERASE, ANN, BOB)
    ask(world, Action.RESTRICT, CAT)
    ask(world, Action.RELEASE, CAT)
    ask(world, Action.OBJECT, DAN)
    assert notices(world) == [
        (recipient, asked, positions, people)
        for asked, positions, people in (
            ("erasure", (1, 2), (ANN, BOB)),
            ("restriction", (3,), (CAT,)),
            ("end of restriction", (4,), (CAT,)),
        )
        for recipient in RECIPIENTS
    ]
    folder = world.workspace.outbox
    assert {one.received for one in waiting(world.desk)} == {DAY}
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.iterdir():
        assert path.name == "lock" or path.stat().st_mode & 0o777 == 0o600
        assert not any(one in path.name for one in PEOPLE)


def test_what_stood_so_already_is_told_once(world: World) -> None:
    ask(world, Action.ERASE, ANN)
    ask(world, Action.ERASE, ANN, BOB)
    ask(world, Action.ERASE, ANN, BOB)
    assert [(one[2], one[3]) for one in notices(world)] == [((1,), (ANN,))] * 2 + [
        ((2,), (BOB,))
    ] * 2


def test_a_request_that_follows_to_a_merged_id_is_told_of_that_id_as_well(world: World) -> None:
    register = world.desk.register
    register.merge([Pair(1, stone_of(ANN), stone_of(BOB))], world.clock)
    ask(world, Action.ERASE, ANN)
    assert {tuple(zip(one[2], one[3], strict=True)) for one in notices(world)} == {
        tuple(
            (entry.position, {stone_of(ANN): ANN, stone_of(BOB): BOB}[entry.tombstone])
            for entry in register.entries()
        )
    }
    assert len(register.entries()) == 2


def test_an_erasure_under_a_legal_hold_is_told_when_the_hold_ends(world: World) -> None:
    ask(world, Action.RESTRICT, ANN)
    ask(world, Action.ERASE, ANN, BOB)
    assert [one[1:] for one in notices(world)][::2] == [
        ("restriction", (1,), (ANN,)),
        ("erasure", (3,), (BOB,)),
    ]
    ask(world, Action.RELEASE, ANN)
    assert [one[1:] for one in notices(world)][::2] == [
        ("restriction", (1,), (ANN,)),
        ("erasure", (2, 4), (ANN,)),
        ("erasure", (3,), (BOB,)),
    ]


def test_a_batch_that_is_refused_leaves_nothing(world: World) -> None:
    with pytest.raises(BadRequest):
        ask(world, Action.RELEASE, ANN)
    assert notices(world) == []
    assert [path.name for path in world.workspace.outbox.iterdir()] == ["lock"]


def test_without_recipients_there_is_no_outbox(world: World) -> None:
    with_recipients(world)
    ask(world, Action.ERASE, ANN)
    world.night()
    assert retired(world).closed == 1
    assert not world.workspace.outbox.exists()
    with pytest.raises(BadRequest, match="no notice waits"):
        deliver(world.desk, None, world.clock)


def test_a_recipient_who_comes_later_is_not_told_of_earlier_requests(world: World) -> None:
    with_recipients(world, PRINTER)
    ask(world, Action.ERASE, ANN)
    with_recipients(world, *RECIPIENTS)
    ask(world, Action.ERASE, BOB)
    told = [(one[0], one[2]) for one in notices(world)]
    assert told == [(PRINTER, (1,)), (PRINTER, (2,)), (MAILER, (2,))]


def test_a_number_in_a_notice_is_nobodys_short_id(world: World) -> None:
    ask(world, Action.ERASE, *PEOPLE)
    for notice in waiting(world.desk):
        needles = Needles.of([], [str(number) for number in range(1, 10)])
        assert not holds(world.workspace.outbox / notice.file, needles, fields=True)[0]


# --- what a notice keeps open --------------------------------------------------------------------


def test_a_request_is_closed_only_after_its_notices_were_delivered(world: World) -> None:
    ask(world, Action.ERASE, ANN)
    world.ask(Action.ERASE, BOB)  # of whom nobody had to be told
    world.night()
    done = retired(world)
    assert (done.closed, done.hits, done.untold) == (1, 0, 1)
    assert states(world) == {1: "verified", 2: "closed"}
    assert world.vault.by_tombstone([stone_of(ANN)]), "needed to search again"
    needles = Needles.of([name_of(ANN)], [ANN])
    found = search(world.workspace, needles, before_closing=False)
    assert found.files_by_store == {"outbox": 2, "vault": 1}

    first, second = (notice.file for notice in waiting(world.desk))
    deliver(world.desk, [first], world.clock)
    assert retired(world).closed == 0
    deliver(world.desk, [second], world.clock + 5)
    assert retired(world).closed == 1
    assert states(world) == {1: "closed", 2: "closed"}
    left = world.bytes_everywhere()
    assert ANN.encode() not in left
    assert name_of(ANN).encode() not in left
    evidence = read_json(world.workspace.evidence / "request-1.json")
    assert [(one["recipient"], one["delivered"]) for one in evidence["recipients_told"]] == [
        (PRINTER, world.clock),
        (MAILER, world.clock + 5),
    ]
    assert world.desk.register.requests()[0].evidence == sha256_json(evidence)
    assert read_json(world.workspace.evidence / "request-2.json")["recipients_told"] == []


def test_it_is_the_notice_alone_that_keeps_the_request_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(world, Action.ERASE, ANN)
    world.night()
    assert retired(world).closed == 0
    monkeypatch.setattr(Told, "holds", lambda *_: False)
    assert retired(world).closed == 1


def test_an_erasure_waits_for_every_notice_that_still_holds_the_id(world: World) -> None:
    ask(world, Action.RESTRICT, ANN)
    ask(world, Action.RELEASE, ANN)
    with_recipients(world)
    ask(world, Action.ERASE, ANN)
    world.night()
    assert retired(world).closed == 0
    deliver(world.desk, None, world.clock)
    assert retired(world).closed == 3
    assert ANN.encode() not in world.bytes_everywhere()


def test_somebody_nobody_ever_heard_of_is_told_to_recipients_all_the_same(world: World) -> None:
    ask(world, Action.ERASE, "stranger-1")
    world.night()
    assert retired(world).not_found == 0
    deliver(world.desk, None, world.clock)
    assert retired(world).not_found == 1


def test_a_delivery_is_recorded_without_ids_and_the_notice_is_gone(world: World) -> None:
    ask(world, Action.ERASE, ANN, BOB)
    files = {notice.file: notice.digest for notice in waiting(world.desk)}
    assert not notifying.newly_delivered(world.workspace)
    done = deliver(world.desk, [str(world.workspace.outbox / name) for name in files], 7)
    assert {notice.file for notice in done} == files.keys()
    assert notices(world) == []
    for name, digest in files.items():
        record = read_json(world.workspace.evidence / name)
        assert (record["asked"], record["people"], record["positions"]) == ("erasure", 2, [1, 2])
        assert (record["delivered"], record["notice"]) == (7, digest)
        assert not any(one in str(record) for one in (ANN, BOB, stone_of(ANN), name_of(ANN)))
    assert notifying.newly_delivered(world.workspace), "the sweep between nights has work"
    world.night()
    retired(world)
    assert not notifying.newly_delivered(world.workspace)


def test_what_does_not_wait_is_refused_and_nothing_is_recorded(world: World) -> None:
    ask(world, Action.ERASE, ANN)
    there = waiting(world.desk)[0].file
    with pytest.raises(BadRequest, match="1 of 2 named notices do not wait"):
        deliver(world.desk, [there, "notice-9-nobody.json"], 7)
    assert len(waiting(world.desk)) == 2
    assert list(world.workspace.evidence.glob("notice-*")) == []


def test_a_notice_that_cannot_be_read_closes_nothing(world: World) -> None:
    ask(world, Action.ERASE, ANN)
    world.night()
    path = world.workspace.outbox / waiting(world.desk)[0].file
    for content in (b"", b"[]", b"{}", json.dumps({"register": ["entry x"]}).encode()):
        path.write_bytes(content)
        with pytest.raises(LetheError, match="in the outbox"):
            retired(world)
    assert states(world) == {1: "verified"}


# --- kills and disks -----------------------------------------------------------------------------

DURABLE: list[tuple[Any, str]] = [
    (Path, "replace"),
    (Path, "unlink"),
    (Register, "_insert"),
    (durable, "sync_folder"),
    (outbox, "sync_folder"),
]


def disturbed(act: Callable[[], None], at: int | None, fault: BaseException, late: bool) -> int:
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
            lambda batch=(new, held, other): ask(world, Action.ERASE, *batch), at, fault, late
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
        calls = disturbed(lambda: deliver(world.desk, None, 7) and None, at, fault, late)
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
