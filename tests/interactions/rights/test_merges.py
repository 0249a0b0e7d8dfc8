"""Ids of one person: joined for good, standing alike, and asked for together.

On a SQLite file, and on a PostgreSQL server where its binaries and the driver are at hand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from lethe.errors import ArtifactCorrupt, BadRequest, StoreUnavailable
from lethe.interactions.rights import ledger
from lethe.interactions.rights.merges import Links, Merge, Pair, check_alike, checked_merges, merged
from lethe.interactions.rights.progress import sift
from lethe.interactions.rights.register import Action, Entry, Receipt, Register, Request
from lethe.interactions.rights.standing import CANARY, Fold, checked_head
from tests.interactions.rights.place import Place

A, B, C, D = (letter * 64 for letter in "abcd")
STONES = [f"{number:064x}" for number in range(7)]
AT = 1_700_000_000
PAIRS = st.lists(st.tuples(*[st.sampled_from(STONES)] * 2).filter(lambda two: two[0] != two[1]))
Patch = pytest.MonkeyPatch


def ask(action: Action, stone: str, received: int = AT) -> Request:
    return Request(action, stone, received)


def pair(one: str, other: str, row: int = 1) -> Pair:
    return Pair(row, one, other)


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


@pytest.fixture
def register(place: Place) -> Register:
    register = Register.open(place.url, wait_seconds=0.2)
    register.initialise()
    return register


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

    steps: list[tuple[str, str]] = []
    patch.setattr(Links, "join", lambda _, one, other: not steps.append((one, other)))
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
