"""The vault: who is who, and nothing left of those it forgot."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lethe.errors import StoreUnavailable
from lethe.estate.vault import Vault
from lethe.interactions.rights.identity import Keys

KEYS = Keys(bytes(32), b"\1" * 32)


def person(number: int) -> tuple[str, str, str]:
    stone = hashlib.sha256(b"%d" % number).hexdigest()
    return hashlib.md5(stone.encode()).hexdigest(), stone, f"customer-{number:05d}@shop"  # noqa: S324


def bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "room" / "vault.db", KEYS, wait_seconds=0.2)


def test_people_are_found_by_their_tombstones(vault: Vault) -> None:
    assert vault.remember(person(number) for number in range(1_200)) == 1_200
    stones = [person(number)[1] for number in range(1_100)]
    found = vault.by_tombstone([*stones, "f" * 64])
    assert len(found) == 1_100
    assert found[stones[7]] == (person(7)[0], person(7)[2])


def test_remembering_again_changes_nothing(vault: Vault) -> None:
    vault.remember([person(1)])
    assert vault.remember([person(1), person(2)]) == 1
    assert vault.count() == 2


@pytest.mark.parametrize("text", ["00123", "1e5", "NA", "null", "9007199254740993123"])
def test_an_id_comes_back_as_the_string_it_was(vault: Vault, text: str) -> None:
    vault.remember([("a" * 32, "b" * 64, text)])
    assert vault.by_tombstone(["b" * 64]) == {"b" * 64: ("a" * 32, text)}


def test_after_forgetting_no_byte_of_a_person_is_left(vault: Vault) -> None:
    people = [person(number) for number in range(500)]
    vault.remember(people)
    gone, kept = people[::3], [p for number, p in enumerate(people) if number % 3]
    assert vault.forget([stone for _, stone, _ in gone]) == len(gone)
    left = bytes_of(vault.path.parent)
    for entry in gone:
        assert not any(text.encode() in left for text in entry)
    assert all(entry[2].encode() in left for entry in kept)
    assert vault.count() == len(kept)
    assert [file.name for file in vault.path.parent.iterdir()] == ["vault.db"]


def test_the_search_would_see_what_a_plain_delete_leaves(vault: Vault) -> None:
    vault.remember(person(number) for number in range(500))
    with closing(sqlite3.connect(vault.path, isolation_level=None)) as raw:
        raw.execute("PRAGMA secure_delete=OFF")
        raw.execute("DELETE FROM people WHERE id = ?", (person(3)[2],))
    assert person(3)[2].encode() in bytes_of(vault.path.parent)
    assert vault.forget([person(3)[1]]) == 0  # a repeat after a kill cleans up all the same
    assert person(3)[2].encode() not in bytes_of(vault.path.parent)


def test_forgetting_strangers_or_nobody_is_no_error(vault: Vault) -> None:
    assert vault.forget([]) == 0
    assert vault.forget(["f" * 64]) == 0


def test_the_vault_is_private(vault: Vault) -> None:
    vault.remember([person(1)])
    assert os.stat(vault.path).st_mode & 0o777 == 0o600
    assert os.stat(vault.path.parent).st_mode & 0o777 == 0o700
    with vault._connection() as connection:
        pragmas = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("secure_delete", "journal_mode", "temp_store")
        ]
    assert pragmas == [1, "delete", 2]


def test_a_bulk_that_fails_is_not_remembered_in_part(vault: Vault) -> None:
    with pytest.raises(RuntimeError):
        vault.remember(_fails_after(person(2)))
    assert vault.count() == 0


def _fails_after(*people: tuple[str, str, str]) -> Iterator[tuple[str, str, str]]:
    yield from people
    raise RuntimeError("the source broke")


def test_a_vault_that_is_no_database_is_unavailable(vault: Vault) -> None:
    vault.path.parent.mkdir()
    vault.path.write_bytes(b"these bytes are not a database " * 200)
    with pytest.raises(StoreUnavailable) as caught:
        vault.remember([person(1)])
    assert person(1)[2] not in f"{caught.value} {caught.value.__cause__}"


def test_a_held_vault_is_unavailable_after_the_wait(vault: Vault) -> None:
    vault.remember([person(1)])
    with closing(sqlite3.connect(vault.path, isolation_level=None)) as raw:
        raw.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable):
            vault.count()
