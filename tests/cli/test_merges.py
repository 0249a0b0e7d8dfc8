"""`lethe merge`: two ids of one person, whoever is asked for; no id is ever shown."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from lethe.durable import read_json
from lethe.estate.canaries.roll import Canaries
from lethe.estate.keys import open_keys
from lethe.estate.workspace import Workspace
from lethe.stages import opening
from lethe.stages.reproducing import take_in
from tests.cli.door import Door
from tests.watched import Shop


@pytest.fixture(scope="module")
def people(small_night: Shop) -> list[str]:
    """Ids of shoppers whom the vault knows."""
    vault = small_night.root / ".lethe" / "vault.db"
    with closing(sqlite3.connect(f"{vault.as_uri()}?mode=ro", uri=True)) as link:
        found = link.execute("SELECT id FROM people WHERE id NOT LIKE 'lethe-canary%' ORDER BY id")
        return [str(row[0]) for row in found.fetchall()]


def test_an_erasure_follows_both_ids_and_a_list_of_both_asks_once(
    shop: Shop, door: Door, people: list[str]
) -> None:
    at = ("--workspace", str(shop.root), "--json")
    pairs = f"USER_ID,SAME_AS\n{people[0]},{people[1]}\n{people[1]}, new-id \n"
    made, again = door(*at, "merge", text=pairs), door(*at, "merge", text=pairs)
    told = door("--workspace", str(shop.root), "erase", text=f"{people[1]}\n{people[9]}\n")
    both = door(*at, "erase", text=f"{people[0]}\nnew-id\n").json

    assert (made.code, made.json["merged"], made.json["already"]) == (0, 2, 0)
    assert (again.code, again.json["merged"], again.json["already"]) == (0, 0, 2)
    assert told.out.startswith("ERASE: 2 asked, 2 more ids merged with them, 4 entered, 0 stood")
    assert (both["asked"], both["entered"], both["already"], both["followed"]) == (2, 0, 2, 0)
    shown = "".join(ended.out + ended.err for ended in (made, again, told))
    assert not any(name in shown for name in (*people, "new-id"))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{2},{3}\n{0},{4}\n", "nothing was merged; row 2: one id is erased"),
        ("{2},{3}\n{4}, {4}\n", "nothing was merged; row 2: an id merged with itself"),
        ("{2},{3}\n\n{4}\n", "row 3: 1 fields where two ids were expected"),
        ("{2},{3}\nzero\u200bwidth,{4}\n", "row 2: a zero-width or format character in the id"),
        ("USER_ID,OTHER\n", "holds no pair of ids"),
    ],
    ids=["erased", "itself", "one field", "invisible", "only a header"],
)
def test_one_row_that_cannot_be_keeps_all_of_them_out(
    shop: Shop, door: Door, people: list[str], text: str, rule: str
) -> None:
    ended = door("--workspace", str(shop.root), "merge", text=text.format(*people))

    assert ended.code == 2
    assert rule in ended.err
    assert not any(name in ended.err for name in people)
    assert read_json(shop.root / ".lethe" / "merges.anchor")["position"] == 2


def test_a_canary_is_nobody_that_a_person_could_be(
    shop: Shop, door: Door, people: list[str]
) -> None:
    workspace = Workspace(shop.root)
    before = workspace.canaries.read_bytes() if workspace.canaries.is_file() else None
    canaries = Canaries(workspace.canaries, open_keys(workspace))
    canaries.note(made=2)
    [canary] = canaries.ids(1, 2)
    ended = door("--workspace", str(shop.root), "merge", text=f"{people[2]},{canary}\n")
    workspace.canaries.unlink() if before is None else workspace.canaries.write_bytes(before)

    assert ended.code == 2
    assert "row 1: an id of a canary, who is no person" in ended.err
    assert canary not in ended.err


def test_ids_on_the_command_line_are_refused(shop: Shop, door: Door, people: list[str]) -> None:
    ended = door("--workspace", str(shop.root), "merge", people[2], people[3])
    assert ended.code == 2
    assert "never from the command line" in ended.err


def test_access_by_one_id_tells_what_is_held_by_the_other(
    shop: Shop, door: Door, people: list[str], tmp_path: Path
) -> None:
    at = ("--workspace", str(shop.root))
    first, second = tmp_path / "one.zip", tmp_path / "both.zip"
    quarantine = shop.root / "data" / "quarantine" / "late.csv"
    quarantine.write_text(f"USER_ID,ITEM_ID\n{people[5]},broken\n")
    assert door(*at, "access", "--out", str(first), text=f"{people[4]}\n{people[5]}\n").code == 0
    assert door(*at, "merge", text=f"{people[5]},{people[4]}\n").code == 0
    assert door(*at, "access", "--out", str(second), text=people[4]).code == 0
    quarantine.unlink()

    apart = [json.loads(zipfile.ZipFile(first).read(f"person-000{n}.json")) for n in (1, 2)]
    told = json.loads(zipfile.ZipFile(second).read("person-0001.json"))
    assert (told["id"], told["merged_ids"]) == (people[4], [people[5]])
    assert told["pseudonyms"] == [*apart[1]["pseudonyms"], *apart[0]["pseudonyms"]]
    for kind in ("interactions", "rows_not_taken_in"):
        assert len(told[kind]) == len(apart[0][kind]) + len(apart[1][kind]) > 0
    assert told["versions"] == apart[0]["versions"]
    assert [row.get("learned_for") for row in told["factors"]] == [
        *[None] * len(apart[0]["factors"]),
        *[told["pseudonyms"][0]] * len(apart[1]["factors"]),
    ]


def test_both_ids_of_one_person_in_one_list_are_told_everything_twice(
    shop: Shop, door: Door, people: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "both.zip"
    at = ("--workspace", str(shop.root))
    door(*at, "access", "--out", str(out), text=f"{people[4]}\n{people[5]}\n")
    one, other = (json.loads(zipfile.ZipFile(out).read(f"person-000{n}.json")) for n in (1, 2))
    assert sorted(one["pseudonyms"]) == sorted(other["pseudonyms"])
    assert one["interactions"] == other["interactions"]


def test_a_search_for_one_id_finds_what_lies_under_the_other(
    shop: Shop, door: Door, people: list[str]
) -> None:
    at = ("--workspace", str(shop.root), "--json", "scan")

    def places(text: str) -> dict[tuple[str, str, str], int]:
        found = door(*at, text=text).json["places"]
        assert isinstance(found, list)
        return {(one["store"], one["path"], one["how"]): one["count"] for one in found}

    apart = places(f"{people[2]}\n{people[3]}\n")
    alone = places(people[2])
    assert alone != apart
    assert door("--workspace", str(shop.root), "merge", text=f"{people[2]},{people[3]}\n").code == 0
    assert places(people[2]) == places(people[3]) == places(f"{people[2]}\n{people[3]}\n") == apart


def test_a_merge_whose_command_was_killed_is_remembered_by_the_next_night(
    shop: Shop, door: Door, people: list[str]
) -> None:
    workspace = Workspace(shop.root)
    before = workspace.merges_anchor.read_bytes()
    assert door("--workspace", str(shop.root), "merge", text=f"{people[3]},new-3\n").code == 0
    after = workspace.merges_anchor.read_bytes()
    workspace.merges_anchor.write_bytes(before)  # as a kill right after the entry leaves it
    take_in(workspace, opening.open_params(workspace))
    assert workspace.merges_anchor.read_bytes() == after != before


def test_an_extension_follows_and_counts_what_it_left(
    shop: Shop, door: Door, people: list[str]
) -> None:
    at = ("--workspace", str(shop.root))
    door(*at, "object", text=people[5])
    door(*at, "restrict", "--received", "2020-02-01", text=people[4])
    told = door(*at, "--json", "extend", "--reason", "many", text=people[4]).json
    assert (told["extended"], told["left"]) == (2, 2)


def test_a_register_restored_from_before_a_merge_is_noticed(
    shop: Shop, door: Door, people: list[str]
) -> None:
    register = shop.root / ".lethe" / "register.db"
    before = register.read_bytes()
    assert door("--workspace", str(shop.root), "merge", text=f"{people[6]},{people[7]}").code == 0
    present = register.read_bytes()
    register.write_bytes(before)
    status = door("--workspace", str(shop.root), "status")
    erase = door("--workspace", str(shop.root), "erase", text=people[6])
    register.write_bytes(present)

    assert (status.code, erase.code) == (3, 3)
    assert "an old copy was restored" in erase.err
