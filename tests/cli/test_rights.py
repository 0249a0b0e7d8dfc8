"""Entering requests of rights at the door, and asking where each one stands."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.cli.door import Door
from tests.watched import Shop


@pytest.fixture(scope="module")
def people(small_night: Shop) -> tuple[str, ...]:
    """Raw ids of shoppers who are in the data, from a fresh copy of the shop's exports."""
    from lethe import sample

    exports = small_night.root.with_name("small-night.exports")
    sample.write_history(exports, 30, seed=1, users=80, items=50)
    found: dict[str, None] = {}
    for path in sorted(exports.glob("interactions-*.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            found |= {row["USER_ID"]: None for row in csv.DictReader(stream) if row["USER_ID"]}
    return tuple(found)


def requests(door: Door, shop: Shop, state: str = "all") -> list[dict[str, Any]]:
    ended = door("--workspace", str(shop.root), "--json", "requests", "--state", state)
    listed = ended.json["requests"]
    assert isinstance(listed, list)
    return listed


def ask(door: Door, shop: Shop, verb: str, *ids: str, **options: str) -> dict[str, Any]:
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    text = "".join(f"{name}\n" for name in ids)
    ended = door("--workspace", str(shop.root), "--json", verb, *given, text=text)
    assert ended.code == 0, ended.out
    assert not any(name in ended.out + ended.err for name in ids)
    return ended.json


def test_ids_come_from_standard_input_or_a_file_and_are_never_shown(
    shop: Shop, door: Door, people: tuple[str, ...], tmp_path: Path
) -> None:
    asked = ask(door, shop, "object", people[0])
    file = tmp_path / "ids.csv"
    file.write_text(f"NAME,USER_ID\nsomebody,{people[1]}\n", encoding="utf-8")
    ended = door("--workspace", str(shop.root), "--json", "restrict", "--file", str(file))

    assert (asked["asked"], asked["entered"], asked["register_position"]) == (1, 1, 1)
    assert (ended.code, ended.json["entered"]) == (0, 1)
    assert [entry["action"] for entry in requests(door, shop)] == ["OBJECT", "RESTRICT"]


def test_what_stands_already_is_counted_and_not_entered_twice(
    shop: Shop, door: Door, people: tuple[str, ...]
) -> None:
    again = ask(door, shop, "object", people[0])

    assert (again["asked"], again["entered"], again["already"]) == (1, 0, 1)
    assert len(requests(door, shop)) == 2


def test_one_unusable_id_keeps_the_whole_file_out(
    shop: Shop, door: Door, people: tuple[str, ...]
) -> None:
    bad = f"{people[2]}\nzero\u200bwidth\n"
    ended = door("--workspace", str(shop.root), "erase", text=bad)

    assert ended.code == 2
    assert "row 2" in ended.err
    assert people[2] not in ended.err
    assert len(requests(door, shop)) == 2


@pytest.mark.parametrize(
    ("verb", "rule"),
    [("withdraw", "objection"), ("release", "restriction"), ("reconsent", "erasure")],
)
def test_taking_back_what_never_stood_is_refused(
    shop: Shop, door: Door, verb: str, rule: str
) -> None:
    ended = door("--workspace", str(shop.root), verb, text="a-stranger\n")

    assert ended.code == 2
    assert rule in ended.err
    assert "a-stranger" not in ended.err


def test_a_receipt_in_the_future_and_a_reason_with_words_are_refused(
    shop: Shop, door: Door, people: tuple[str, ...]
) -> None:
    at = ("--workspace", str(shop.root), "erase")
    later = door(*at, "--received", "2999-01-01", text=people[2])
    words = door(*at, "--reason", "wrote to us on Monday", text=people[2])

    assert (later.code, words.code) == (2, 2)
    assert "lies in the future" in later.err
    assert "reason code" in words.err


def test_a_request_is_due_one_month_after_it_was_received(
    shop: Shop, door: Door, people: tuple[str, ...]
) -> None:
    ask(door, shop, "erase", people[2], received="2020-01-31")
    newest = requests(door, shop, "due")[-1]

    assert (newest["received"], newest["due"]) == ("2020-01-31", "2020-02-29")
    assert newest["overdue"] is True


def test_what_is_overdue_is_an_exit_code_and_said_in_words(shop: Shop, door: Door) -> None:
    at = ("--workspace", str(shop.root))
    status, due = door(*at, "status"), door(*at, "requests", "--state", "due")

    assert (status.code, due.code) == (1, 1)
    for ended in (status, due):
        assert ended.out.startswith("OVERDUE: 1 request is past its due date; ")
    assert door(*at, "requests", "--state", "open").code == 0


def test_an_extension_is_for_a_reason_once_and_in_the_first_month(
    shop: Shop, door: Door, people: tuple[str, ...]
) -> None:
    at = ("--workspace", str(shop.root), "extend", "--reason", "many-requests")
    told = door(*at, text=people[0])
    twice, late = door(*at, text=people[0]), door(*at, text=people[2])
    first = requests(door, shop)[0]

    assert told.code == 0
    assert "tell them so, and why, within a month" in told.out
    assert first["extended"] == "many-requests"
    assert (twice.code, late.code) == (2, 2)
    assert "1 x it was extended before" in twice.err
    assert "1 x the first month is over" in late.err
    assert not any(name in ended.out + ended.err for ended in (told, twice) for name in people[:3])
    assert door(*at, people[0]).code == 2


def test_an_erased_champion_no_longer_verifies_and_the_exit_code_says_so(
    shop: Shop, door: Door, people: tuple[str, ...]
) -> None:
    ask(door, shop, "erase", *people[:4])
    ended = door("--workspace", str(shop.root), "--json", "verify")
    status = door("--workspace", str(shop.root), "--json", "status").json

    assert ended.code == 1
    assert "version 1 is REFUSED" in str(ended.json["error"])
    assert "may not train at the register's head" in str(ended.json["error"])
    assert not any(name in ended.out for name in people[:4])
    assert status["versions"][0]["verdict"] == "REFUSED"


def test_a_register_restored_from_before_a_request_is_noticed(
    shop: Shop, door: Door, people: tuple[str, ...], small_night: Shop
) -> None:
    register = shop.root / ".lethe" / "register.db"
    present = register.read_bytes()
    register.write_bytes((small_night.root / ".lethe" / "register.db").read_bytes())
    ended = door("--workspace", str(shop.root), "status")
    register.write_bytes(present)

    assert ended.code == 3
    assert "register" in ended.err


def test_what_an_extension_leaves_out_is_told(
    shop: Shop, door: Door, people: tuple[str, ...]
) -> None:
    """An objection of years ago can no longer be extended, an erasure of today can."""
    ask(door, shop, "object", people[6], received="2020-02-01")
    ask(door, shop, "erase", people[6])
    told = door("--workspace", str(shop.root), "extend", "--reason", "many", text=people[6])

    assert told.code == 0
    assert told.out.startswith("1 requests of 1 people extended to ")
    assert "1 others of theirs are past their first month and stay as they are" in told.out
