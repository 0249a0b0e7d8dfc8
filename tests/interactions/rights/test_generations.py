"""A name key is a permutation over the inner names: names change with it, tombstones never do."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import BadConfiguration, WrongKey
from lethe.interactions.rights.identity import (
    Identities,
    Keys,
    every_pseudonym,
    key_fingerprint,
    pseudonym,
    tombstone,
)
from lethe.interactions.rights.standing import Standing

K1, KT = bytes(range(32)), bytes(range(32, 64))
FIRST = Keys(K1, KT)
LAW = settings(max_examples=100, deadline=None)

name_keys = st.binary(min_size=32, max_size=32).filter(lambda key: key not in (K1, KT))
inner_names = st.lists(st.binary(min_size=16, max_size=16).map(bytes.hex), unique=True, max_size=20)
lives = st.lists(
    st.tuples(st.text("ab01", min_size=1, max_size=4), st.integers(0, 3)), unique=True, max_size=10
)


@given(key=name_keys, inner=inner_names)
@LAW
def test_wrapping_is_a_bijection_that_one_block_of_aes_gives(key: bytes, inner: list[str]) -> None:
    keys = Keys(K1, KT, key)
    stored = keys.wrapped(inner)
    assert len(set(stored)) == len(inner)
    assert keys.inner(stored) == inner
    for one, name in zip(inner, stored, strict=True):
        block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - the oracle
        assert (block.update(bytes.fromhex(one)) + block.finalize()).hex() == name


@given(people=lives, first=name_keys, second=name_keys)
@LAW
def test_a_rotation_changes_every_name_and_no_tombstone(
    people: list[tuple[str, int]], first: bytes, second: bytes
) -> None:
    generations = [FIRST, Keys(K1, KT, first), Keys(K1, KT, second)]
    stones = [[keys.stone(keys.name(*life)) for life in people] for keys in generations]
    assert stones[0] == [tombstone(KT, pseudonym(K1, *life)) for life in people]
    assert stones[1] == stones[2] == stones[0]
    old, new = ([keys.name(*life) for life in people] for keys in generations[1:])
    assert generations[2].wrapped(generations[1].inner(old)) == new
    assert generations[1].stones(old) == stones[0]
    assert first == second or not set(old) & set(new)


@given(people=lives, key=name_keys)
@LAW
def test_read_under_another_generation_a_name_belongs_to_nobody(
    people: list[tuple[str, int]], key: bytes
) -> None:
    """Why every store says its generation: an erased person would pass for a retained one."""
    keys = Keys(K1, KT, key)
    names = [keys.name(*life) for life in people]
    assert not set(FIRST.stones(names)) & set(keys.stones(names))


def test_before_the_first_rotation_a_stored_name_is_the_inner_one() -> None:
    assert FIRST.generation == ""
    assert FIRST.name("00123", 0) == pseudonym(K1, "00123", 0)
    assert FIRST.inner(["ab" * 16]) == FIRST.wrapped(["ab" * 16]) == ["ab" * 16]


def test_a_name_under_a_name_key_never_changes() -> None:
    keys = Keys(K1, KT, bytes(range(64, 96)))
    assert keys.name("00123", 0) == "cd996df4667b526415759185c315216f"
    assert keys.stone(keys.name("00123", 0)) == FIRST.stone(FIRST.name("00123", 0))


def test_a_person_has_one_standing_in_every_generation() -> None:
    keys = Keys(K1, KT, bytes(32))
    stones = [FIRST.stone(FIRST.name("u1", epoch)) for epoch in range(2)]
    standing = Standing(erased=frozenset({stones[1]}), reconsented={stones[0]: 1_000})
    [before] = Identities(FIRST, standing).resolve(["u1"])
    [after] = Identities(keys, standing).resolve(["u1"])
    assert (after.tombstone, after.erased, after.not_before) == (stones[1], True, 1_000)
    assert (before.tombstone, before.erased, before.not_before) == (stones[1], True, 1_000)
    assert after.pseudonym != before.pseudonym
    assert every_pseudonym(keys, standing, "u1") == [keys.name("u1", 0), keys.name("u1", 1)]


def test_former_generations_are_known_as_long_as_their_key_is() -> None:
    first, second = bytes(32), b"\7" * 32
    keys = Keys(K1, KT, second, (first,))
    former = keys.of(key_fingerprint(first))
    assert former == Keys(K1, KT, first)
    assert keys.of("") == FIRST
    assert keys.of(keys.generation) == Keys(K1, KT, second)
    with pytest.raises(WrongKey, match="not here any more"):
        Keys(K1, KT, second).of(key_fingerprint(first))
    name = keys.name("u1", 0)
    found = keys.everywhere([name])
    assert set(found) == {name, former.name("u1", 0), FIRST.name("u1", 0)}
    assert len(found) == 3


def test_a_store_of_another_generation_is_refused() -> None:
    keys = Keys(K1, KT, bytes(32))
    keys.check(keys.generation, "the shards")
    FIRST.check("", "the shards")
    for own, generation in ((keys, ""), (FIRST, keys.generation), (keys, "0" * 16)):
        with pytest.raises(WrongKey, match="the shards: the names are not"):
            own.check(generation, "the shards")


@pytest.mark.parametrize("name_key", [K1, KT, bytes(31)])
def test_a_name_key_is_one_of_its_own(name_key: bytes) -> None:
    with pytest.raises(BadConfiguration, match=r"the same|31 bytes"):
        Keys(K1, KT, name_key)
    with pytest.raises(BadConfiguration, match=r"the same|31 bytes"):
        Keys(K1, KT, bytes(32), (name_key,))


def test_name_keys_are_never_shown() -> None:
    assert repr(Keys(K1, KT, bytes(32), (b"\7" * 32,))) == "Keys()"
