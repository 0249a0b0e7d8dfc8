"""A restore beside a copy of the keys that was taken while names were being changed."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from lethe.desk.backups.restoring import restore
from lethe.errors import RefusedByGate, WrongKey
from lethe.estate.keys import keys_before, open_keys
from lethe.estate.renaming import name_keys
from lethe.interactions.rights.identity import Keys
from tests.fakes.backed_up_shop import Shop
from tests.kills import dying_at


@pytest.fixture
def shop(backed_up: Shop) -> Shop:
    return backed_up


def rotated(shop: Shop) -> Keys:
    """Once, and to its end."""
    name_keys.begin(shop.room, keys_before(shop.room))
    name_keys.end(shop.room, keys_before(shop.room))
    return open_keys(shop.room)


def in_the_middle(shop: Shop) -> Keys:
    """A second replacement was begun; by which keys the names will be."""
    rotated(shop)
    return name_keys.begin(shop.room, keys_before(shop.room))


def under(shop: Shop, keys: Keys) -> Path:
    """A backup of stores whose names are under these keys."""
    return shop.backup(keys={**shop.room.recorded_fingerprints(), "names": keys.generation})


def test_stores_of_before_it_come_back_and_the_next_key_is_called_off(shop: Shop) -> None:
    coming = in_the_middle(shop)
    before = keys_before(shop.room)
    restore(shop.room, under(shop, before))
    assert open_keys(shop.room) == before
    assert not list(shop.room.keys.glob("*next*"))
    assert coming.names.hex().encode() not in b"".join(
        path.read_bytes() for path in shop.room.keys.iterdir()
    )


def test_stores_of_after_it_come_back_and_the_next_key_is_the_present_one(shop: Shop) -> None:
    coming = in_the_middle(shop)
    restore(shop.room, under(shop, coming))
    assert open_keys(shop.room) == coming
    assert not list(shop.room.keys.glob("*next*"))


def test_stores_of_neither_are_refused_and_nothing_is_changed(shop: Shop) -> None:
    coming = in_the_middle(shop)
    other = Keys(coming.pseudonym, coming.tombstone, bytes(32))
    unnamed = {
        name: key for name, key in shop.room.recorded_fingerprints().items() if name != "names"
    }
    for path in (under(shop, other), shop.backup(keys=unnamed)):
        before = shop.seen()
        with pytest.raises(WrongKey, match="another name key"):
            restore(shop.room, path)
        assert shop.seen() == before


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_call_about_the_keys_it_is_ended_by_another(shop: Shop, after: bool) -> None:
    """Whichever key stays, it is the one of the stores."""
    calls = [(Path, "replace"), (Path, "unlink"), (name_keys, "write_bytes")]
    calls.append((name_keys, "write_json"))
    for at in range(9):
        before = rotated(shop)
        kept = name_keys.begin(shop.room, before) if after else before
        name_keys.begin(shop.room, before)
        path = under(shop, kept)
        made = dying_at(
            at,
            calls,
            functools.partial(restore, shop.room, path),
            lambda *a: "keys" in Path(a[0]).parts,
        )
        restore(shop.room, path)
        assert open_keys(shop.room).generation == kept.generation
        assert not list(shop.room.keys.glob("*next"))
        if made <= at:
            assert made > 1
            return
    pytest.fail("it was killed more often than it has calls")


def test_a_restore_that_leaves_the_next_key_where_it_is_opens_nothing_afterwards(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_middle(shop)
    monkeypatch.setattr(name_keys, "settle", lambda *_: None)
    restore(shop.room, under(shop, keys_before(shop.room)))
    with pytest.raises(RefusedByGate, match="has not ended"):
        open_keys(shop.room)
