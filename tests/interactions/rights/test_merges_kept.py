"""The chain of merges, and the lock under which one is entered.

On a SQLite file, and on a PostgreSQL server where its binaries and the driver are at hand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest
import sqlalchemy as sa

from lethe.errors import ArtifactCorrupt, BadRequest, StoreUnavailable
from lethe.interactions.rights import ledger
from lethe.interactions.rights.merges import Links, Merge, merged
from lethe.interactions.rights.progress import sift
from lethe.interactions.rights.register import Action, Receipt, Register, Request
from tests.interactions.rights.place import AT, STONES, A, B, C, D, Place, ask, pair

Patch = pytest.MonkeyPatch


# Under one lock


def erasure_follows_a_merge_that_came_while_it_waited(place: Place) -> None:
    register, patient = Register.open(place.url), Register.open(place.url, wait_seconds=10)
    register.initialise()
    worker = threading.Thread(target=patient.append, args=([ask(Action.ERASE, A)],))
    with register.exclusive(0):
        worker.start()
        time.sleep(0.1)
        [made], _ = merged([pair(A, B)], register.entries(), (), AT)
        register._insert(ledger.MERGES, [asdict(made)])
    worker.join(10)
    assert register.standing().erased == {A, B}


def test_an_erasure_follows_a_merge_that_came_while_it_waited(place: Place) -> None:
    erasure_follows_a_merge_that_came_while_it_waited(place)


def test_an_append_that_looks_before_it_holds_the_register_is_found_out(
    place: Place, monkeypatch: Patch
) -> None:
    original = Register.append

    def append(register: Register, requests: Sequence[Request]) -> Receipt:
        before = register._merges()
        early = replace(register)
        monkeypatch.setattr(Register, "_merges", lambda _: before)
        return original(early, requests)

    monkeypatch.setattr(Register, "append", append)
    with pytest.raises(AssertionError):
        erasure_follows_a_merge_that_came_while_it_waited(place)


def test_a_merge_sees_the_erasure_that_came_while_it_waited(register: Register) -> None:
    patient, ended = replace(register, wait_seconds=10), list[Exception]()

    def merging() -> None:
        try:
            patient.merge([pair(A, B)], AT)
        except BadRequest as error:
            ended.append(error)

    worker = threading.Thread(target=merging)
    with register.exclusive(0):
        worker.start()
        time.sleep(0.1)
        [entry], _, _ = sift([ask(Action.ERASE, A)], (), Links())
        register._insert(ledger.ENTRIES, [asdict(entry)])
    worker.join(10)
    assert "one id is erased" in str(ended[0])
    assert list(register.links().people()) == []


# The chain of merges


TAMPERINGS = {
    "one": "UPDATE merges SET one = digest WHERE number = 1",
    "other": "UPDATE merges SET other = digest WHERE number = 2",
    "at": "UPDATE merges SET at = at - 1 WHERE number = 1",
    "position": "UPDATE merges SET position = 0 WHERE number = 2",
    "of another register": "UPDATE merges SET position = 9 WHERE number = 2",
    "digest": "UPDATE merges SET digest = previous WHERE number = 2",
    "first dropped": "DELETE FROM merges WHERE number = 1",
    "closed up": "DELETE FROM merges WHERE number = 1; UPDATE merges SET number = 1",
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_an_edited_or_dropped_merge_is_noticed_and_nobody_is_entered(
    register: Register, place: Place, tampering: str
) -> None:
    register.append([ask(Action.OBJECT, C), ask(Action.OBJECT, D)])
    register.merge([pair(A, B)], AT)
    register.merge([pair(C, D)], AT + 1)
    statements = TAMPERINGS[tampering].split("; ")
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        place.run(statements[0])
    place.tamper(*statements, table="merges")
    for call in (
        register.check_chain,
        register.links,
        lambda: register.append([ask(Action.ERASE, A)]),
        lambda: register.merge([pair(STONES[0], STONES[1])], AT),
    ):
        with pytest.raises(ArtifactCorrupt, match="merge"):
            call()


def test_a_lost_last_merge_shows_against_the_remembered_one(
    register: Register, place: Place
) -> None:
    register.merge([pair(A, B)], AT)
    knowing = replace(register, known_merge=register.merge_head())
    assert knowing.check_chain() == register.head()
    register.merge([pair(B, C)], AT)
    assert list(knowing.links().people()) == [{A, B, C}]
    place.tamper("DELETE FROM merges", table="merges")
    assert list(register.links().people()) == []
    for call in (knowing.check_chain, lambda: knowing.append([ask(Action.ERASE, A)])):
        with pytest.raises(ArtifactCorrupt, match="an old copy was restored"):
            call()


def test_a_register_of_an_older_lethe_gets_the_table_with_its_first_merge(
    register: Register, place: Place
) -> None:
    place.run("DROP TABLE merges")
    register.append([ask(Action.OBJECT, A)])
    assert register.check_chain().position == 1
    register.merge([pair(B, C)], AT)
    assert list(register.links().people()) == [{B, C}]
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        place.run("DELETE FROM merges")


def test_what_an_older_lethe_entered_for_one_id_only_is_noticed_and_mended(
    register: Register,
) -> None:
    register.merge([pair(A, B)], AT)
    [entry], _, _ = sift([ask(Action.ERASE, A)], (), Links())
    register._insert(ledger.ENTRIES, [asdict(entry)])
    with pytest.raises(ArtifactCorrupt, match="1 people have merged ids that stand differently"):
        register.check_chain()
    assert register.append([ask(Action.ERASE, A)]) == Receipt(2, 2, 1, 1, followed=1)
    assert register.check_chain().position == 2


def test_an_absent_register_is_not_made_by_a_merge(place: Place) -> None:
    with pytest.raises(StoreUnavailable):
        Register.open(place.url).merge([pair(A, B)], AT)


def test_neither_a_pair_nor_a_merge_shows_whom_it_joins() -> None:
    merge = Merge(1, one=A, other=B, position=0, at=AT, previous="0" * 64, digest="f" * 64)
    assert not any(stone in repr((merge, pair(A, B))) for stone in (A, B))
