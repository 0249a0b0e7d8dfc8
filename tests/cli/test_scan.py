"""`lethe scan`: who is where is told by place and count, and never by name."""

from __future__ import annotations

import base64
import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lethe.estate.search import Needles, holds
from tests.cli.door import Door
from tests.watched import Shop


@pytest.fixture(scope="module")
def someone(small_night: Shop) -> tuple[str, str]:
    """A shopper's id and pseudonym, from the vault."""
    vault = small_night.root / ".lethe" / "vault.db"
    with closing(sqlite3.connect(f"{vault.as_uri()}?mode=ro", uri=True)) as link:
        found = link.execute("SELECT id, pseudonym FROM people ORDER BY id LIMIT 1").fetchone()
    return str(found[0]), str(found[1])


def test_a_shopper_is_found_by_store_and_file_and_nobody_is_named(
    shop: Shop, door: Door, someone: tuple[str, str]
) -> None:
    at = ("--workspace", str(shop.root))
    machine = door(*at, "--json", "scan", text=f"{someone[0]}\n")
    plain = door(*at, "scan", text=f"{someone[0]}\n")

    assert machine.code == plain.code == machine.json["exit_code"] == 1
    places = machine.json["places"]
    assert isinstance(places, list)
    stores = {place["store"] for place in places}
    assert {"interactions", "DVC cache", "DVC remote", "solution versions", "vault"} <= stores
    assert all(place["count"] > 0 for place in places)
    assert {place["how"] for place in places if place["store"] == "interactions"} == {
        "parquet > plain"
    }
    assert "found in" in plain.out
    for ended in (machine, plain):
        assert not any(name in ended.out + ended.err for name in someone)


def test_a_stranger_is_nowhere_and_what_was_searched_is_told(shop: Shop, door: Door) -> None:
    at = ("--workspace", str(shop.root))
    machine = door(*at, "--json", "scan", text="a-stranger-to-all\n")
    plain = door(*at, "scan", text="a-stranger-to-all\n")

    assert machine.code == plain.code == 0
    assert (machine.json["found"], machine.json["places"]) == (0, [])
    assert machine.json["undecoded"] == []
    assert int(str(machine.json["files_searched"])) > 50
    assert plain.out.startswith("nothing found; searched for 1 people in ")


def test_places_beside_the_stores_are_searched_when_they_are_named(
    shop: Shop, door: Door, tmp_path: Path
) -> None:
    name = "a-stranger-to-all"
    backup = tmp_path / "backup"
    backup.mkdir()
    (backup / "old.gz").write_bytes(gzip.compress(base64.b64encode(name.encode())))
    (backup / f"{name}.txt").write_text("x")
    (backup / "cut.gz").write_bytes(gzip.compress(b"x" * 99)[:-8])
    found = door(
        "--workspace", str(shop.root), "--json", "scan", "--also", str(backup), text=f"{name}\n"
    )

    assert found.code == 1
    assert name not in found.out
    assert found.json["places"] == [
        {"store": "beside the stores", "path": f"{backup}/(a name that holds an id)",
         "how": "in its name", "count": 1},
        {"store": "beside the stores", "path": f"{backup}/old.gz",
         "how": "gzip > base64", "count": 1},
    ]  # fmt: skip
    assert found.json["undecoded"] == [
        {"store": "beside the stores", "path": f"{backup}/cut.gz", "link": False}
    ]


def test_with_nobody_to_look_for_nothing_is_searched(shop: Shop, door: Door) -> None:
    ended = door("--workspace", str(shop.root), "scan")
    given = door("--workspace", str(shop.root), "scan", "anna-karenina")

    assert (ended.code, ended.out) == (2, "")
    assert "holds no id: nothing was asked for" in ended.err
    assert given.code == 2
    assert "anna" not in given.err


def test_every_life_of_a_returned_person_is_looked_for(
    shop: Shop, door: Door, someone: tuple[str, str], tmp_path: Path
) -> None:
    from lethe.estate.workspace import Workspace
    from lethe.interactions.rights.identity import every_pseudonym
    from lethe.stages import opening

    at = ("--workspace", str(shop.root))
    name = "somebody-who-returns"
    assert door(*at, "erase", text=name).code == 0
    assert door(*at, "reconsent", text=name).code == 0
    workspace = Workspace(shop.root)
    register = opening.open_register(workspace, opening.open_params(workspace))
    lives = every_pseudonym(opening.open_identities(workspace), register.standing(), name)
    assert len(set(lives)) == 2
    for life in lives:
        (tmp_path / "note").write_text(life)
        assert holds(tmp_path / "note", Needles.of([life], []), fields=False)[0]
        assert door(*at, "scan", "--also", str(tmp_path / "note"), text=name).code == 1
