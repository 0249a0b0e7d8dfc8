"""The register on a real database: all or none, chained, exclusive, and loud when it is gone.

On a SQLite file, and on a PostgreSQL server where its binaries and the driver are at hand.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from lethe.errors import ArtifactCorrupt, BadRequest, StoreUnavailable
from lethe.interactions.rights.register import (
    GENESIS,
    Action,
    Head,
    Receipt,
    Register,
    Request,
)
from tests.interactions.rights.place import INTENT, A, B, C, Place, ask


def test_an_empty_register_stands_at_genesis(register: Register) -> None:
    assert register.head() == register.check_chain() == GENESIS
    assert register.standing().excluded == frozenset()
    assert register.requests() == ()


def test_entries_are_numbered_chained_and_due(register: Register) -> None:
    receipt = register.append([ask(Action.ERASE, A), ask(Action.OBJECT, B)])
    assert receipt == Receipt(1, 2, entered=2, already=0)
    first, second = register.entries()
    assert (first.previous, second.previous) == (GENESIS.digest, first.digest)
    assert register.head() == Head(2, second.digest) == register.check_chain()
    assert register.entries(since=1) == (second,)
    assert register.entries(upto=1) == (first,)
    assert register.standing(upto=1).objecting == frozenset()
    assert first.due == 1_702_592_000


def test_a_repeat_is_counted_and_not_entered(register: Register) -> None:
    register.append([ask(Action.ERASE, A)])
    receipt = register.append([ask(Action.ERASE, A), ask(Action.OBJECT, B), ask(Action.OBJECT, B)])
    assert receipt == Receipt(2, 2, entered=1, already=2)
    assert register.append([ask(Action.ERASE, A)]) == Receipt(None, None, 0, 1)


def test_nothing_asked_for_is_an_error(register: Register) -> None:
    with pytest.raises(BadRequest, match="nothing was asked for"):
        register.append([])


@pytest.mark.parametrize(
    ("requests", "rule"),
    [
        ([ask(Action.WITHDRAW_OBJECTION, A)], "withdrawal without an objection"),
        ([ask(Action.RELEASE, A)], "release without a restriction"),
        ([ask(Action.RECONSENT, A)], "without an erasure in effect"),
        (
            [ask(Action.RESTRICT, A), ask(Action.ERASE, A), ask(Action.RECONSENT, A)],
            "without an erasure in effect",
        ),
        ([ask(Action.ERASE, A), ask(Action.RECONSENT, A, 1_600_000_000)], "dated before"),
        ([ask(Action.ERASE, A), ask(Action.RESTRICT, A)], "after the erasure took effect"),
        (
            [ask(Action.ERASE, A), ask(Action.RECONSENT, A), ask(Action.RECONSENT, A)],
            "without an erasure in effect",
        ),
    ],
    ids=["withdraw", "release", "reconsent", "blocked", "back-dated", "late hold", "twice"],
)
def test_a_request_that_makes_no_sense_keeps_the_whole_batch_out(
    register: Register, requests: list[Request], rule: str
) -> None:
    with pytest.raises(BadRequest, match=rule) as caught:
        register.append([ask(Action.OBJECT, B), *requests])
    assert "nothing was entered" in str(caught.value)
    assert A not in str(caught.value)
    assert register.head() == GENESIS


def test_what_makes_no_sense_is_counted_by_rule(register: Register) -> None:
    asked = [(Action.RELEASE, A), (Action.OBJECT, C), (Action.RELEASE, B)]
    asked.append((Action.WITHDRAW_OBJECTION, B))
    with pytest.raises(BadRequest) as caught:
        register.append([ask(action, stone) for action, stone in asked])
    assert str(caught.value) == (
        "nothing was entered; of 4 requests: 2 x a release without a restriction, "
        "1 x a withdrawal without an objection"
    )


def test_a_failure_in_the_middle_of_an_append_enters_nothing(
    register: Register, place: Place
) -> None:
    place.run(
        "CREATE TRIGGER filled BEFORE INSERT ON entries WHEN NEW.position = 3 "
        "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        if place.sqlite
        else "ALTER TABLE entries ADD CHECK (position <> 3)"
    )
    with pytest.raises(StoreUnavailable) as caught:
        register.append([ask(Action.ERASE, stone) for stone in (A, B, C)])
    assert register.head() == GENESIS
    assert A not in f"{caught.value} {caught.value.__cause__}"


# The chain


TAMPERINGS = {
    "action": "UPDATE entries SET action = 'OBJECT' WHERE position = 2",
    "unknown action": "UPDATE entries SET action = 'FORGIVE' WHERE position = 2",
    "tombstone": "UPDATE entries SET tombstone = previous WHERE position = 1",
    "received": "UPDATE entries SET received = received + 1 WHERE position = 3",
    "due": "UPDATE entries SET due = due + 86400 WHERE position = 1",
    "reason": "UPDATE entries SET reason = 'other' WHERE position = 1",
    "digest": "UPDATE entries SET digest = previous WHERE position = 3",
    "first dropped": "DELETE FROM entries WHERE position = 1",
    "middle dropped": "DELETE FROM entries WHERE position = 2",
    "reordered": "UPDATE entries SET position = 9 WHERE position = 1; "
    "UPDATE entries SET position = 1 WHERE position = 2; "
    "UPDATE entries SET position = 2 WHERE position = 9",
    "closed up": "DELETE FROM entries WHERE position = 2; "
    "UPDATE entries SET position = 2 WHERE position = 3",
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_an_edited_dropped_or_reordered_entry_breaks_the_chain(
    register: Register, place: Place, tampering: str
) -> None:
    register.append([ask(Action.ERASE, stone) for stone in (A, B, C)])
    place.tamper(*TAMPERINGS[tampering].split("; "))
    with pytest.raises(ArtifactCorrupt):
        register.check_chain()
    with pytest.raises(ArtifactCorrupt):
        register.append([ask(Action.OBJECT, "d" * 64)])


def test_a_lost_end_shows_against_a_remembered_head(register: Register, place: Place) -> None:
    register.append([ask(Action.ERASE, A), ask(Action.ERASE, B)])
    known = register.head()
    place.tamper("DELETE FROM entries WHERE position = 2")
    assert register.check_chain().position == 1
    with pytest.raises(ArtifactCorrupt, match="position 2 is known"):
        register.check_chain(known)
    with pytest.raises(ArtifactCorrupt, match="position 2 is known"):
        register.append([ask(Action.ERASE, C)], known)
    register.append([ask(Action.ERASE, C)])
    with pytest.raises(ArtifactCorrupt, match="not the one known at position 2"):
        register.check_chain(known)


@pytest.mark.parametrize("table", ["entries", "outcomes"])
def test_the_database_itself_refuses_to_change_or_delete(
    register: Register, place: Place, table: str
) -> None:
    register.append([ask(Action.ERASE, A)])
    register.done(register.intend(INTENT), at=6)
    column = {"entries": "received", "outcomes": "at"}[table]
    statements = [f"DELETE FROM {table}", f"UPDATE {table} SET {column} = 9"]  # noqa: S608
    for statement in [*statements, *[f"TRUNCATE {table}"] * (not place.sqlite)]:
        with pytest.raises(sa.exc.DBAPIError, match="append-only"):
            place.run(statement)
