"""Ids of one person: joined for good, standing alike, and asked for together.

On a SQLite file, and on a PostgreSQL server where its binaries and the driver are at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.errors import BadRequest
from lethe.interactions.rights.merges import Links, Merge, Pair, check_alike, checked_merges, merged
from lethe.interactions.rights.progress import sift
from lethe.interactions.rights.register import Action, Entry, Receipt, Register, Request
from lethe.interactions.rights.standing import CANARY, Fold, checked_head
from tests.interactions.rights.place import AT, STONES, A, B, C, D, ask, pair

PAIRS = st.lists(st.tuples(*[st.sampled_from(STONES)] * 2).filter(lambda two: two[0] != two[1]))
Patch = pytest.MonkeyPatch


def rows(pairs: Iterable[tuple[str, str]]) -> list[Pair]:
    return [Pair(row, *two) for row, two in enumerate(pairs, start=1)]


def person_of(stone: str, pairs: Sequence[tuple[str, str]]) -> set[str]:
    """The slow way: whoever is reached over the pairs, one step after the other."""
    found = {stone}
    while True:
        more = {name for two in pairs if found & set(two) for name in two}
        if more <= found:
            return found
        found |= more


# What is asked for one id


def erases_exactly_the_person(pairs: Sequence[tuple[str, str]], stone: str) -> None:
    made, _ = merged(rows(pairs), (), (), AT)
    entered, already, followed = sift([ask(Action.ERASE, stone)], (), Links(made))
    person = person_of(stone, pairs)
    assert entered[0].tombstone == stone
    assert {entry.tombstone for entry in entered} == person
    assert (len(entered), already, followed) == (len(person), 0, len(person) - 1)
    assert len({(entry.received, entry.due, entry.reason) for entry in entered}) == 1
    checked_head(entered)


@given(PAIRS, st.sampled_from(STONES))
def test_erasing_any_id_of_a_person_erases_exactly_that_person(
    pairs: list[tuple[str, str]], stone: str
) -> None:
    erases_exactly_the_person(pairs, stone)


@given(PAIRS.flatmap(lambda pairs: st.tuples(st.just(pairs), st.permutations(pairs))))
def test_merges_in_any_order_and_direction_make_the_same_people(
    both: tuple[list[tuple[str, str]], list[tuple[str, str]]],
) -> None:
    pairs, other = both
    one = Links(merged(rows(pairs), (), (), AT)[0])
    turned = Links(merged(rows((b, a) for a, b in other), (), (), AT)[0])
    assert set(one.people()) == set(turned.people())


def links_go_one_step_only(patch: Patch) -> None:
    def person(links: Links, stones: Iterable[str]) -> frozenset[str]:
        found = frozenset(stones)
        return found.union(*({a, b} for a, b in steps if found & {a, b}))

    def join(_: Links, one: str, other: str) -> bool:
        steps.append((one, other))
        return True

    steps: list[tuple[str, str]] = []
    patch.setattr(Links, "join", join)
    patch.setattr(Links, "person", person)


def links_go_one_way_only(patch: Patch) -> None:
    def join(links: Links, one: str, other: str) -> bool:
        links._people.setdefault(one, {one}).add(other)
        return True

    patch.setattr(Links, "join", join)


def somebody_else_is_followed_as_well(patch: Patch) -> None:
    original = Links.person
    patch.setattr(Links, "person", lambda links, stones: original(links, stones) | {STONES[0]})


@pytest.mark.parametrize(
    "mutant",
    [links_go_one_step_only, links_go_one_way_only, somebody_else_is_followed_as_well],
    ids=lambda mutant: mutant.__name__,
)
def test_whoever_follows_wrongly_breaks_the_law(
    mutant: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        erases_exactly_the_person([(STONES[2], STONES[1]), (STONES[3], STONES[2])], STONES[1])


ASKED = st.builds(ask, st.sampled_from(Action), st.sampled_from(STONES[:4]))
EVENTS = st.lists(ASKED | st.builds(pair, *[st.sampled_from(STONES[:4])] * 2), max_size=25)


@given(EVENTS)
def test_whatever_is_asked_and_merged_in_whatever_order_nobody_is_half_erased(
    events: list[Request | Pair],
) -> None:
    """A merge is refused, or from then on both ids are erased, objecting and restricted alike."""
    chain, made = list[Entry](), list[Merge]()
    for event in events:
        try:
            if isinstance(event, Pair):
                made += merged([event], chain, made, AT)[0]
            else:
                chain += sift([event], chain, Links(made))[0]
        except BadRequest as error:
            assert not any(stone in str(error) for stone in STONES)  # noqa: PT017
        links = checked_merges(made, chain)
        check_alike(links, chain)
        standing = Fold(chain).standing()
        for person in links.people():
            assert len(person & standing.erased) in (0, len(person))
            assert len(person & standing.blocked) in (0, len(person))
            assert len(person & standing.objecting) in (0, len(person))


def test_a_new_consent_and_a_canary_follow_nobody(register: Register) -> None:
    register.merge([pair(A, B)], AT)
    register.append([ask(Action.ERASE, A)])
    assert register.append([ask(Action.RECONSENT, A)]).entered == 1
    assert register.standing().reconsented.keys() == {A}
    canary = Request(Action.ERASE, C, AT, CANARY)
    assert Links(merged([pair(C, D)], (), (), AT)[0]).following(canary) == []


def test_each_followed_entry_has_its_own_date_state_and_closure(register: Register) -> None:
    register.merge([pair(B, A)], AT)
    receipt = register.append([ask(Action.OBJECT, A), ask(Action.ERASE, B)])
    assert receipt == Receipt(1, 4, entered=4, already=0, followed=2)
    assert [(s.entry.tombstone, s.state) for s in register.requests()] == [
        (A, "received"), (B, "received"), (B, "received"), (A, "received"),
    ]  # fmt: skip
    register.record_purge(3, 12)
    assert [(s.state, s.rows_removed) for s in register.requests()][2:] == [
        ("purged", 12), ("received", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("action", [Action.WITHDRAW_OBJECTION, Action.RELEASE])
def test_both_ids_in_one_list_are_asked_once(register: Register, action: Action) -> None:
    begun = {Action.WITHDRAW_OBJECTION: Action.OBJECT, Action.RELEASE: Action.RESTRICT}[action]
    register.merge([pair(A, B)], AT)
    for verb in (begun, action):
        receipt = register.append([ask(verb, A), ask(verb, B)])
        assert (receipt.entered, receipt.already, receipt.followed) == (2, 1, 1)


def test_an_extension_is_for_every_id_of_a_person(register: Register) -> None:
    register.merge([pair(A, B)], AT)
    register.append([ask(Action.ERASE, A)])
    assert len(register.extend([frozenset({B})], "complex", AT + 9)) == 2


# What may be merged


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        ([ask(Action.ERASE, A)], "row 4: one id is erased"),
        ([ask(Action.ERASE, A), ask(Action.ERASE, B)], "row 4: both ids are erased"),
        ([ask(Action.OBJECT, B)], "row 4: the two stand differently"),
        ([ask(Action.RESTRICT, A)], "row 4: the two stand differently"),
        (
            [ask(Action.RESTRICT, A), ask(Action.RESTRICT, B), ask(Action.ERASE, B)],
            "row 4: the two stand differently",
        ),
    ],
    ids=["one erased", "both erased", "one objecting", "one restricted", "one waiting"],
)
def test_two_who_stand_differently_keep_the_whole_file_out(
    register: Register, asked: list[Request], rule: str
) -> None:
    register.append(asked)
    with pytest.raises(BadRequest, match=rule) as caught:
        register.merge([pair(C, D, 2), pair(A, B, 4)], AT)
    assert "nothing was merged" in str(caught.value)
    assert not any(stone in str(caught.value) for stone in (A, B, C, D))
    assert list(register.links().people()) == []


def test_two_who_stand_alike_are_merged_however_they_stand(register: Register) -> None:
    for action in (Action.OBJECT, Action.RESTRICT, Action.ERASE):
        register.append([ask(action, A), ask(action, B)])
    assert register.merge([pair(A, B)], AT) == Receipt(1, 1, 1, 0)
    register.append([ask(Action.RELEASE, B)])
    assert register.standing().erased == {A, B}


def test_a_pair_known_before_is_counted_also_when_both_are_erased(register: Register) -> None:
    assert register.merge(rows([(A, B), (B, A), (B, C), (C, A)]), AT) == Receipt(1, 2, 2, 2)
    register.append([ask(Action.ERASE, C)])
    assert register.merge([pair(C, A)], AT + 5) == Receipt(None, None, 0, 1)


def test_an_id_merged_with_itself_or_nothing_at_all_is_refused(register: Register) -> None:
    with pytest.raises(BadRequest, match="rows 1, 2: an id merged with itself"):
        register.merge(rows([(A, A), (B, B), (C, D)]), AT)
    with pytest.raises(BadRequest, match="nothing was asked for"):
        register.merge([], AT)
    with pytest.raises(BadRequest, match="rows 1, 2, 3, 4, 5 and 4 more"):
        register.merge(rows([(A, A)] * 9), AT)


def test_a_life_that_ended_is_not_the_one_after_it(register: Register) -> None:
    """The tombstone of a new life is another one: nothing joins it with the old."""
    register.merge([pair(A, B)], AT)
    register.append([ask(Action.ERASE, A)])
    register.append([ask(Action.RECONSENT, B)])
    with pytest.raises(BadRequest, match="one id is erased"):
        register.merge([pair(B, C)], AT)
