"""The fold over the register, against a slow oracle that reads the rules off the whole history."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import ArtifactCorrupt, BadRequest
from lethe.interactions.rights.deadlines import due_date
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

PEOPLE = [letter * 64 for letter in "abc"]
REQUESTS = st.lists(
    st.builds(Request, st.sampled_from(Action), st.sampled_from(PEOPLE), st.integers(0, 50)),
    max_size=25,
)
LAW = settings(max_examples=300, deadline=None)


def _entered(requests: list[Request]) -> list[Entry]:
    """What an honest register lets in."""
    fold, chain = Fold(), list[Entry]()
    for request in requests:
        if fold.objection_to(request) is None and not fold.repeats(request):
            head = Head(chain[-1].position, chain[-1].digest) if chain else GENESIS
            chain.append(next_entry(head, request))
            fold.enter(chain[-1])
    return chain


def _switched_on(chain: list[Entry], stone: str, on: Action, off: Action, upto: int) -> bool:
    """The last of two opposite actions at or before a position is `on`."""
    last = [e.action for e in chain if e.tombstone == stone and e.action in (on, off)]
    del last[sum(e.tombstone == stone and e.action in (on, off) for e in chain[:upto]) :]
    return bool(last) and last[-1] is on


def _held(chain: list[Entry], stone: str, upto: int) -> bool:
    return _switched_on(chain, stone, Action.RESTRICT, Action.RELEASE, upto)


def _erased_at(chain: list[Entry], stone: str, upto: int) -> int | None:
    """The first position by which an erasure was asked for, at which no hold is in force."""
    for position in range(1, upto + 1):
        asked = any(e.tombstone == stone and e.action is Action.ERASE for e in chain[:position])
        if asked and not _held(chain, stone, position):
            return position
    return None


def _excluded(chain: list[Entry], stone: str, upto: int) -> bool:
    objects = _switched_on(chain, stone, Action.OBJECT, Action.WITHDRAW_OBJECTION, upto)
    return objects or _held(chain, stone, upto) or _erased_at(chain, stone, upto) is not None


def _assert_equals_oracle(chain: list[Entry], standing: Standing, end: int) -> None:
    for stone in PEOPLE:
        erased_at = _erased_at(chain, stone, end)
        asked = any(e.tombstone == stone and e.action is Action.ERASE for e in chain[:end])
        assert (stone in standing.erased) == (erased_at is not None)
        assert standing.erased_at.get(stone) == erased_at
        assert (stone in standing.blocked) == (asked and erased_at is None)
        assert (stone in standing.restricted) == _held(chain, stone, end)
        objects = _switched_on(chain, stone, Action.OBJECT, Action.WITHDRAW_OBJECTION, end)
        assert (stone in standing.objecting) == objects
        returned = [
            e.received for e in chain[:end] if e.tombstone == stone and e.action is Action.RECONSENT
        ]
        assert standing.reconsented.get(stone) == (returned[0] if returned else None)
        assert (stone in standing.excluded) == _excluded(chain, stone, end)


@given(requests=REQUESTS)
@LAW
def test_the_fold_says_what_the_rules_say_at_every_position(requests: list[Request]) -> None:
    chain = _entered(requests)
    for end in range(len(chain) + 1):
        _assert_equals_oracle(chain, Fold(chain[:end]).standing(), end)


@given(requests=REQUESTS)
@LAW
def test_changed_since_names_those_excluded_now_who_were_free_at_or_after_it(
    requests: list[Request],
) -> None:
    chain = _entered(requests)
    standing = Fold(chain).standing()
    for position in range(len(chain) + 1):
        expected = {
            stone
            for stone in standing.excluded
            if not all(_excluded(chain, stone, at) for at in range(position, len(chain) + 1))
        }
        assert standing.changed_since(position) == expected


@given(requests=REQUESTS)
@LAW
def test_an_erased_life_never_comes_back(requests: list[Request]) -> None:
    chain, before = _entered(requests), frozenset[str]()
    for end in range(len(chain) + 1):
        erased = Fold(chain[:end]).standing().erased
        assert before <= erased
        before = erased


def _chain(*actions: Action) -> list[Entry]:
    chain = _entered([Request(action, PEOPLE[0], 10) for action in actions])
    assert len(chain) == len(actions)
    return chain


def test_a_legal_hold_blocks_an_erasure_until_its_release() -> None:
    chain = _chain(Action.RESTRICT, Action.ERASE, Action.RELEASE)
    during, after = Fold(chain[:2]).standing(), Fold(chain).standing()
    assert (during.blocked, during.erased) == (frozenset({PEOPLE[0]}), frozenset())
    assert PEOPLE[0] in during.excluded
    assert (after.blocked, after.erased_at) == (frozenset(), {PEOPLE[0]: 3})


def test_a_withdrawn_objection_leaves_nothing_behind() -> None:
    standing = Fold(_chain(Action.OBJECT, Action.WITHDRAW_OBJECTION)).standing()
    assert standing.excluded == frozenset()
    assert standing.changed_since(0) == frozenset()


def test_a_consent_given_anew_keeps_the_old_life_erased() -> None:
    standing = Fold(_chain(Action.ERASE, Action.RECONSENT)).standing()
    assert standing.erased == {PEOPLE[0]}
    assert standing.reconsented == {PEOPLE[0]: 10}


@pytest.mark.parametrize(
    ("received", "due"),
    [
        ("2024-01-31T12:00:00", "2024-02-29T12:00:00"),
        ("2023-01-31T12:00:00", "2023-02-28T12:00:00"),
        ("2024-12-15T00:00:01", "2025-01-15T00:00:01"),
        ("2024-11-30T23:59:59", "2024-12-30T23:59:59"),
    ],
)
def test_a_request_is_due_one_calendar_month_later(received: str, due: str) -> None:
    start = int(datetime.fromisoformat(received).replace(tzinfo=UTC).timestamp())
    assert datetime.fromtimestamp(due_date(start), UTC).isoformat() == f"{due}+00:00"


@pytest.mark.parametrize(
    ("tombstone", "received", "reason"),
    [
        ("A" * 64, 1, "ok"),
        ("a" * 63, 1, "ok"),
        ("a" * 64, -1, "ok"),
        ("a" * 64, 1_700_000_000_000, "ok"),
        ("a" * 64, 1, "someone@example.org"),
        ("a" * 64, 1, ""),
    ],
    ids=["upper case", "too short", "before 1970", "milliseconds", "not a code", "no code"],
)
def test_a_request_proves_itself_without_showing_the_person(
    tombstone: str, received: int, reason: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        Request(Action.ERASE, tombstone, received, reason)
    assert tombstone not in str(caught.value)


def test_before_any_entry_nobody_stands_anywhere_at_position_nought() -> None:
    assert Fold().standing() == Standing(position=0)
    assert checked_head([], known=GENESIS) == GENESIS
    assert checked_head(_entered([Request(Action.ERASE, PEOPLE[0], 1)]), known=GENESIS).position


@pytest.mark.parametrize("claimed", [1, 3])
def test_an_entry_that_numbers_itself_wrongly_breaks_the_chain(claimed: int) -> None:
    """Its digest and the one before are right: only the number is not the next one."""
    [first] = _entered([Request(Action.ERASE, PEOPLE[0], 1)])
    forged = next_entry(Head(claimed - 1, first.digest), Request(Action.OBJECT, PEOPLE[1], 2))
    with pytest.raises(ArtifactCorrupt, match="broken at position 2"):
        checked_head([first, forged])


@pytest.mark.parametrize("reason", ["art17", "canaries", "Canary", "data-subject-request"])
def test_only_the_very_reason_makes_a_canary(reason: str) -> None:
    chain = _entered([Request(Action.ERASE, PEOPLE[0], 1, reason),
                      Request(Action.ERASE, PEOPLE[1], 1, CANARY),
                      Request(Action.OBJECT, PEOPLE[2], 1, CANARY)])  # fmt: skip
    standing = Fold(chain).standing()
    assert standing.canaries == {PEOPLE[1]}
    assert standing.people().excluded == {PEOPLE[0], PEOPLE[2]}
    assert standing.canaries_since(1) == {PEOPLE[1]}
    assert standing.canaries_since(2) == frozenset()


@given(REQUESTS)
@LAW
def test_no_repr_shows_a_tombstone(requests: list[Request]) -> None:
    chain = _entered(requests)
    shown = repr([Fold(chain).standing(), chain, requests])
    assert not any(stone in shown for stone in PEOPLE)
