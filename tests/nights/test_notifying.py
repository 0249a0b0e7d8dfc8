"""Recipients are told of what was entered, no more, and nothing is closed before (Art. 19)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lethe.durable import read_json, sha256_json
from lethe.errors import BadRequest, LetheError
from lethe.estate.search import Needles, holds, search
from lethe.interactions.rights.merges import Pair
from lethe.interactions.rights.register import Action
from lethe.nights.forgetting import notifying
from lethe.nights.forgetting.notifying import Told, deliver, waiting
from tests.fakes.night_desk import World, name_of, stone_of
from tests.nights.forgotten import ANN, BOB, CAT, DAN, PEOPLE, after_one_night, retired
from tests.nights.recipients import (
    DAY,
    MAILER,
    PRINTER,
    RECIPIENTS,
    ask,
    notices,
    states,
    with_recipients,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return with_recipients(after_one_night(tmp_path / "shop"), *RECIPIENTS)


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
