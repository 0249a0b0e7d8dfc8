"""Where everybody stands, case by case: what repeats, what makes no sense, and every threshold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lethe.errors import ArtifactCorrupt, BadRequest
from lethe.interactions.rights.standing import (
    CANARY,
    GENESIS,
    Action,
    Entry,
    Fold,
    Head,
    Request,
    Standing,
    checked_head,
    next_entry,
)
from tests.interactions.rights.test_standing import PEOPLE, _chain, _entered

STANDINGS: dict[str, tuple[Action, ...]] = {
    "nothing": (),
    "objecting": (Action.OBJECT,),
    "restricted": (Action.RESTRICT,),
    "blocked": (Action.RESTRICT, Action.ERASE),
    "erased": (Action.ERASE,),
    "erased, objecting": (Action.OBJECT, Action.ERASE),
    "returned": (Action.ERASE, Action.RECONSENT),
}
REPEATS = {
    "nothing": set[Action](),
    "objecting": {Action.OBJECT},
    "restricted": {Action.RESTRICT},
    "blocked": {Action.RESTRICT, Action.ERASE},
    "erased": {Action.ERASE},
    "erased, objecting": {Action.OBJECT, Action.ERASE},
    "returned": {Action.ERASE},
}
NO_OBJECTION, NO_RESTRICTION = (
    "a withdrawal without an objection",
    "a release without a restriction",
)
NO_ERASURE, LATE_HOLD = (
    "a new consent without an erasure in effect",
    "a restriction after the erasure took effect",
)
RULED_OUT: dict[str, dict[Action, str]] = {
    "nothing": {
        Action.WITHDRAW_OBJECTION: NO_OBJECTION,
        Action.RELEASE: NO_RESTRICTION,
        Action.RECONSENT: NO_ERASURE,
    },
    "objecting": {Action.RELEASE: NO_RESTRICTION, Action.RECONSENT: NO_ERASURE},
    "restricted": {Action.WITHDRAW_OBJECTION: NO_OBJECTION, Action.RECONSENT: NO_ERASURE},
    "blocked": {Action.WITHDRAW_OBJECTION: NO_OBJECTION, Action.RECONSENT: NO_ERASURE},
    "erased": {
        Action.WITHDRAW_OBJECTION: NO_OBJECTION,
        Action.RELEASE: NO_RESTRICTION,
        Action.RESTRICT: LATE_HOLD,
    },
    "erased, objecting": {Action.RELEASE: NO_RESTRICTION, Action.RESTRICT: LATE_HOLD},
    "returned": {
        Action.WITHDRAW_OBJECTION: NO_OBJECTION,
        Action.RELEASE: NO_RESTRICTION,
        Action.RESTRICT: LATE_HOLD,
        Action.RECONSENT: NO_ERASURE,
    },
}


@pytest.mark.parametrize("standing", STANDINGS)
def test_what_repeats_and_what_makes_no_sense_is_this_table(standing: str) -> None:
    fold = Fold(_chain(*STANDINGS[standing]))
    asked = {action: Request(action, PEOPLE[0], 10) for action in Action}
    assert {action for action in Action if fold.repeats(asked[action])} == REPEATS[standing]
    found = {action: fold.objection_to(asked[action]) for action in Action}
    assert {action: rule for action, rule in found.items() if rule} == RULED_OUT[standing]


def test_a_consent_may_be_as_old_as_the_erasure_and_not_a_second_older() -> None:
    fold = Fold(_chain(Action.ERASE))
    at = {second: Request(Action.RECONSENT, PEOPLE[0], second) for second in (9, 10, 11)}
    assert fold.objection_to(at[9]) == "a new consent dated before the erasure"
    assert (fold.objection_to(at[10]), fold.objection_to(at[11])) == (None, None)


@pytest.mark.parametrize("standing", STANDINGS)
def test_nothing_but_a_consent_is_held_against_its_date(standing: str) -> None:
    """Requests may be entered late, in any order."""
    fold = Fold(_chain(*STANDINGS[standing]))
    for action in set(Action) - {Action.RECONSENT}:
        found = fold.objection_to(Request(action, PEOPLE[0], 9))
        assert found == RULED_OUT[standing].get(action)


@pytest.mark.parametrize("received", [0, 4_102_444_799])
def test_the_first_second_of_1970_and_the_last_of_2099_are_times_of_receipt(received: int) -> None:
    assert Request(Action.ERASE, PEOPLE[0], received).received == received


@pytest.mark.parametrize("received", [-1, 4_102_444_800, 4_102_444_801])
def test_a_second_outside_of_them_is_none(received: int) -> None:
    with pytest.raises(BadRequest, match="before 2100"):
        Request(Action.ERASE, PEOPLE[0], received)


def test_the_chain_begins_where_every_register_begins() -> None:
    """Another beginning would be another register: no chain written so far would hold."""
    assert GENESIS.digest == "38820a90903891bb671327a3c44e1570b53f17f847304b89bcd66ae675baf67e"
    assert (Standing().position, Standing()) == (0, Fold().standing())


def _forged(entry: Entry, **changes: Any) -> Entry:
    """The entry with something changed, and its digest made to fit."""
    changed = replace(entry, **changes)
    return replace(changed, digest=changed.expected_digest())


@pytest.mark.parametrize("digit", "0f")
def test_an_entry_that_follows_a_lower_or_a_higher_digest_breaks_the_chain(digit: str) -> None:
    first, second = _chain(Action.OBJECT, Action.WITHDRAW_OBJECTION)
    assert checked_head([first, _forged(second)]).position == 2
    with pytest.raises(ArtifactCorrupt, match="broken at position 2"):
        checked_head([first, _forged(second, previous=digit * 64)])


@pytest.mark.parametrize("digit", "0f")
def test_an_entry_with_a_lower_or_a_higher_digest_was_edited(digit: str) -> None:
    first, second = _chain(Action.OBJECT, Action.WITHDRAW_OBJECTION)
    with pytest.raises(ArtifactCorrupt, match="entry at position 2 was edited"):
        checked_head([first, replace(second, digest=digit * 64)])


@pytest.mark.parametrize("position", [-1, 3, 4])
def test_a_place_that_no_chain_of_two_has_is_told_with_where_it_ends(position: int) -> None:
    chain = _chain(Action.OBJECT, Action.WITHDRAW_OBJECTION)
    for known in (GENESIS, Head(1, chain[0].digest), Head(2, chain[1].digest)):
        assert checked_head(chain, known) == Head(2, chain[1].digest)
    told = f"ends at position 2, but position {position} is known"
    with pytest.raises(ArtifactCorrupt, match=told):
        checked_head(chain, Head(position, chain[1].digest))


def test_a_chain_of_three_hundred_is_whole() -> None:
    chain = list[Entry]()
    for number in range(300):
        head = Head(chain[-1].position, chain[-1].digest) if chain else GENESIS
        chain.append(next_entry(head, Request(Action.ERASE, f"{number:064x}", number)))
    assert checked_head(chain).position == 300


def test_of_canaries_nothing_is_left_among_people_and_of_people_everything() -> None:
    asked = [
        Request(Action.ERASE, PEOPLE[0], 1),
        Request(Action.ERASE, PEOPLE[1], 1, CANARY),
        Request(Action.RECONSENT, PEOPLE[0], 2),
        Request(Action.OBJECT, PEOPLE[2], 3),
        Request(Action.RESTRICT, PEOPLE[2], 4),
        Request(Action.ERASE, PEOPLE[2], 5),
    ]
    whole = Fold(_entered(asked)).standing()
    assert whole.excluded == set(PEOPLE)
    assert whole.people() == Standing(
        position=6,
        erased=frozenset({PEOPLE[0]}),
        objecting=frozenset({PEOPLE[2]}),
        restricted=frozenset({PEOPLE[2]}),
        blocked=frozenset({PEOPLE[2]}),
        reconsented={PEOPLE[0]: 2},
        erased_at={PEOPLE[0]: 1},
        excluded_at={PEOPLE[0]: 1, PEOPLE[2]: 4},
    )
    assert not any(stone in repr((whole, whole.people())) for stone in PEOPLE)
    assert whole.canaries_since(0) == {PEOPLE[1]}
    assert whole.canaries_since(9) == frozenset()
