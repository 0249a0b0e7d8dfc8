"""One spelling of an id, and names that nobody can turn back without the key."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import BadConfiguration, BadInput
from lethe.interactions.rights.identity import (
    Identities,
    Keys,
    canonical_id,
    every_pseudonym,
    id_fault,
    key_fingerprint,
    pseudonym,
    tombstone,
)
from lethe.interactions.rights.standing import Standing

KEYS = Keys(pseudonym=bytes(range(32)), tombstone=bytes(range(32, 64)))
LAW = settings(max_examples=200, deadline=None)


@pytest.mark.parametrize("text", ["00123", "1e5", "NA", "null", "9007199254740993123", "17850.0"])
def test_an_id_that_looks_like_something_else_stays_as_it_is(text: str) -> None:
    assert canonical_id(text) == text


def test_composed_and_decomposed_spellings_are_one_person() -> None:
    assert canonical_id("Ange\u0301lique") == canonical_id(" Ang\u00e9lique ")


@pytest.mark.parametrize(
    ("number", "text", "rule"),
    [
        (1, "", "blank"),
        (2, "   ", "blank"),
        (3, "a\tb", "control"),
        (4, "a\x00", "control"),
        (5, "a\x7f", "control"),
        (6, "a\u0085b", "control"),
        (7, "a\u200bb", "zero-width"),
        (8, "\ufeffa", "zero-width"),
        (9, "a\u00adb", "zero-width"),
        (10, "a\u202eb", "format"),
        (11, "a\u00a0b", "space"),
        (12, "a\u2028b", "line separator"),
        (13, "a\ud800", "surrogate"),
        (14, "a\ufe0f", "invisible"),
        (15, "a\u3164", "invisible"),
        (16, "a\uffff", "unknown"),
        (17, "x" * 257, "256 bytes"),
        (18, "\u00e9" * 129, "256 bytes"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_a_faulty_id_is_refused_with_its_rule(number: int, text: str, rule: str) -> None:
    fault = id_fault(text)
    assert fault is not None
    assert rule in fault, number
    with pytest.raises(BadInput, match="cannot be used"):
        canonical_id(text)


def test_256_bytes_are_allowed_after_stripping() -> None:
    assert canonical_id(" " + "\u00e9" * 128 + " ") == "\u00e9" * 128


@given(text=st.text(min_size=1, max_size=40), fold=st.booleans())
@LAW
def test_canonical_form_is_idempotent_and_never_faulty(text: str, fold: bool) -> None:
    if id_fault(text, fold) is None:
        once = canonical_id(text, fold)
        assert id_fault(once, fold) is None
        assert canonical_id(once, fold) == once
        assert once == once.strip(" ")
        assert unicodedata.is_normalized("NFC", once)


@given(text=st.text(alphabet="aAbB\u00e9\u00c9\u00df", min_size=1, max_size=10))
@LAW
def test_case_matters_unless_it_is_configured_away(text: str) -> None:
    assert canonical_id(text) == text
    assert canonical_id(text.upper(), True) == canonical_id(text, True)


def test_keys_show_nothing_and_prove_themselves() -> None:
    assert KEYS.pseudonym.hex() not in repr(KEYS)
    assert repr(KEYS) == "Keys()"
    with pytest.raises(BadConfiguration, match="31 bytes"):
        Keys(bytes(31), bytes(32))
    with pytest.raises(BadConfiguration, match="the same"):
        Keys(bytes(32), bytes(32))


def test_a_fingerprint_tells_keys_apart() -> None:
    prints = {key_fingerprint(KEYS.pseudonym), key_fingerprint(KEYS.tombstone)}
    assert len(prints) == 2
    assert all(len(text) == 16 for text in prints)


@given(
    people=st.lists(
        st.tuples(st.text("ab01\x00", max_size=6), st.integers(0, 2**40)), unique=True, max_size=30
    )
)
@LAW
def test_no_two_pairs_of_id_and_epoch_share_a_pseudonym(people: list[tuple[str, int]]) -> None:
    names = {pseudonym(KEYS.pseudonym, text, epoch) for text, epoch in people}
    assert len(names) == len(people)


def test_names_have_the_agreed_form_and_never_change() -> None:
    name = pseudonym(KEYS.pseudonym, "00123", 0)
    stone = tombstone(KEYS.tombstone, name)
    assert (len(name), len(stone)) == (32, 64)
    assert name == "fe0e26b4d83bf819cab40cbd5e55cd37"
    assert stone == "112e054da6a02dd66138e077d6bef316d3b62f447e7d8153a1dccf8586f7ba48"


def _life(text: str, epoch: int) -> tuple[str, str]:
    name = pseudonym(KEYS.pseudonym, text, epoch)
    return name, tombstone(KEYS.tombstone, name)


def test_a_stranger_is_in_the_first_life() -> None:
    [found] = Identities(KEYS, Standing()).resolve(["u1"])
    assert (found.pseudonym, found.tombstone) == _life("u1", 0)
    assert (found.erased, found.not_before) == (False, 0)
    assert found.pseudonym not in repr(found)
    assert found.tombstone not in repr(found)


def test_an_erased_person_is_told() -> None:
    standing = Standing(erased=frozenset({_life("u1", 0)[1]}))
    first, second = Identities(KEYS, standing).resolve(["u1", "u2"])
    assert (first.erased, second.erased) == (True, False)


def test_a_returning_person_starts_afresh_under_another_name() -> None:
    lives = [_life("u1", epoch) for epoch in range(3)]
    standing = Standing(
        erased=frozenset({lives[0][1], lives[1][1]}),
        reconsented={lives[0][1]: 1_000, lives[1][1]: 2_000},
    )
    [found] = Identities(KEYS, standing).resolve(["u1"])
    assert (found.pseudonym, found.tombstone) == lives[2]
    assert (found.erased, found.not_before) == (False, 2_000)


def test_a_second_erasure_after_a_return_is_an_erasure() -> None:
    lives = [_life("u1", epoch) for epoch in range(2)]
    standing = Standing(
        erased=frozenset({lives[0][1], lives[1][1]}), reconsented={lives[0][1]: 1_000}
    )
    [found] = Identities(KEYS, standing).resolve(["u1"])
    assert (found.pseudonym, found.erased, found.not_before) == (lives[1][0], True, 1_000)


def test_256_letters_are_allowed_too() -> None:
    assert canonical_id("x" * 256) == "x" * 256


def test_an_id_that_folding_would_make_too_long_is_so_only_where_ids_are_folded() -> None:
    text = "\u0149" * 128
    assert id_fault(text) is None
    assert canonical_id(text) == text
    assert id_fault(text, True) == "an id of more than 256 bytes"


@pytest.mark.parametrize(
    "codes",
    [(0x034F,), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180C, 0x180D, 0x180F),
     range(0xFE00, 0xFE10), (0x3164,), (0xFFA0,), range(0xE0100, 0xE01F0)],
)  # fmt: skip
def test_every_letter_that_takes_no_room_is_refused_and_its_neighbours_are_not(
    codes: Sequence[int],
) -> None:
    assert {id_fault(f"a{chr(code)}b") for code in codes} == {"an invisible character in the id"}
    for code in (codes[0] - 1, codes[-1] + 1):
        assert id_fault(f"a{chr(code)}b") != "an invisible character in the id"


def test_an_id_in_any_script_may_hold_a_plain_space_and_no_control_character() -> None:
    assert canonical_id(" \u00c9mile Zola ") == "\u00c9mile Zola"
    assert id_fault("\u00e9\t") == "a control character in the id"


def test_letters_fold_to_a_lower_code_as_to_a_higher() -> None:
    assert (canonical_id("\u017f", True), canonical_id("S", True)) == ("s", "s")


@pytest.mark.parametrize("size", [31, 33, 0])
@pytest.mark.parametrize("which", ["pseudonym", "tombstone"])
def test_a_key_of_another_length_is_named(size: int, which: str) -> None:
    sizes = {"pseudonym": bytes(range(32)), "tombstone": bytes(32), which: bytes(size)}
    with pytest.raises(BadConfiguration, match=f"the {which} key has {size} bytes, not 32"):
        Keys(sizes["pseudonym"], sizes["tombstone"])


def test_somebody_has_a_name_for_each_life() -> None:
    lives = [_life("u1", epoch) for epoch in range(3)]
    standing = Standing(reconsented={lives[0][1]: 1_000, lives[1][1]: 2_000})
    assert every_pseudonym(KEYS, standing, "u1") == [name for name, _ in lives]
    assert every_pseudonym(KEYS, standing, "u2") == [_life("u2", 0)[0]]
