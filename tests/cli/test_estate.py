"""The estate at the door: who is where is told by place and count, and never by name."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from lethe.desk.estate.dossiers import as_csv
from lethe.desk.estate.keeping import compared
from lethe.durable import sha256_file
from lethe.estate.search import Needles, holds
from lethe.estate.stores import STORES
from lethe.interactions.columns import INTERACTIONS
from lethe.interactions.shards.store import ShardStore
from tests.cli.door import Door
from tests.watched import Shop


@pytest.fixture(scope="module")
def someone(small_night: Shop) -> tuple[str, str]:
    """A shopper's id and pseudonym, from the vault."""
    vault = small_night.root / ".lethe" / "vault.db"
    with closing(sqlite3.connect(f"{vault.as_uri()}?mode=ro", uri=True)) as link:
        found = link.execute("SELECT id, pseudonym FROM people ORDER BY id LIMIT 1").fetchone()
    return str(found[0]), str(found[1])


# --- scan -----------------------------------------------------------------------------------------


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


# --- access ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def active(small_night: Shop) -> tuple[str, str]:
    """The id and the pseudonym of a shopper whom the champion was trained on."""
    folder = next((small_night.root / ".lethe" / "mlflow").rglob("solution/users.txt")).parent
    name = (folder / "users.txt").read_text(encoding="utf-8").split()[3]
    vault = small_night.root / ".lethe" / "vault.db"
    with closing(sqlite3.connect(f"{vault.as_uri()}?mode=ro", uri=True)) as link:
        found = link.execute("SELECT id FROM people WHERE pseudonym = ?", (name,)).fetchone()
    return str(found[0]), name


def rows_of(shop: Shop, pseudonym: str) -> int:
    return sum(
        parquet.read_table(path).column("user").to_pylist().count(pseudonym)
        for path in (shop.root / "data" / "interactions").glob("*/b*.parquet")
    )


def test_everything_held_on_a_person_is_in_one_private_archive(
    shop: Shop, door: Door, active: tuple[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "answer.zip"
    params = shop.root / "params.yaml"
    params.write_text(f"{params.read_text()}\nrecipients: [a printer of letters]\n")
    quarantine = shop.root / "data" / "quarantine" / "late.csv"
    quarantine.write_text(f"USER_ID,ITEM_ID\n{active[0]},broken\nx{active[0]},another's\n")
    asked = f"{active[0]}\na-stranger-to-all\n"
    ended = door(
        "--workspace", str(shop.root), "--json", "access", "--out", str(out), text=asked
    )  # fmt: skip
    quarantine.unlink()

    assert ended.code == 0
    assert (ended.json["asked"], ended.json["held"], ended.json["nothing_held"]) == (2, 1, 1)
    assert not any(name in ended.out + ended.err for name in (*active, "a-stranger"))
    assert out.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == ["about.json", "person-0001.json", "person-0002.json"]
        about, person, stranger = (json.loads(archive.read(name)) for name in archive.namelist())
    assert about["recipients"] == ["a printer of letters"]
    assert (person["id"], person["pseudonyms"]) == (active[0], [active[1]])
    assert len(person["interactions"]) == rows_of(shop, active[1]) > 0
    assert {row["user"] for row in person["interactions"]} == {active[1]}
    assert person["rows_not_taken_in"] == [{"place": "quarantine", "row": f"{active[0]},broken"}]
    assert [version["champion"] for version in person["versions"]] == [True]
    assert len(person["factors"]) >= 8
    assert len(person["nearest_items"]) == len(person["recommendations"]) == 10
    assert "near the items listed" in person["factors_meaning"]
    assert (stranger["held"], stranger["summary"]) == (False, "nothing is held")
    assert stranger["recommendations"][0]["because"] == "popular with everybody"


def test_the_recommendations_disclosed_are_those_that_the_champion_gives(
    shop: Shop, door: Door, active: tuple[str, str], tmp_path: Path
) -> None:
    import mlflow
    import pandas as pd

    out = tmp_path / "answer.zip"
    asked = f"{active[0]}\na-stranger-to-all\n"
    assert door("--workspace", str(shop.root), "access", "--out", str(out), text=asked).code == 0
    mlflow.set_tracking_uri(f"sqlite:///{shop.root}/.lethe/mlflow/mlflow.db")
    model = mlflow.pyfunc.load_model("models:/shop@champion")
    served = model.predict(pd.DataFrame({"user": [active[1], "0" * 32], "k": [10, 10]}))
    with zipfile.ZipFile(out) as archive:
        for number, user in ((1, active[1]), (2, "0" * 32)):
            person = json.loads(archive.read(f"person-000{number}.json"))
            disclosed = [entry["item"] for entry in person["recommendations"]]
            assert disclosed == served[served["user"] == user]["item"].tolist()


def test_tables_are_safe_to_open_in_a_spreadsheet(
    shop: Shop, door: Door, active: tuple[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "answers"
    at = ("--workspace", str(shop.root), "--json", "access", "--format", "csv")
    ended = door(*at, "--out", str(folder), text=f"=1+1\n{active[0]}\n")

    assert ended.code == 0
    [out] = folder.iterdir()
    assert str(out) == ended.json["archive"]
    with zipfile.ZipFile(out) as archive:
        assert "person-0002/interactions.csv" in archive.namelist()
        told = {
            name: list(csv.reader(io.StringIO(archive.read(name).decode())))
            for name in archive.namelist()
        }
    assert ["id", "'=1+1"] in told["person-0001/person.csv"]
    assert len(told["person-0002/interactions.csv"]) == rows_of(shop, active[1]) + 1
    assert not any(active[0] in name or active[1] in name for name in told)


@given(st.text(min_size=1, max_size=20))
def test_no_cell_of_a_table_is_a_formula(text: str) -> None:
    [_, [cell]] = csv.reader(io.StringIO(as_csv([{"x": text}]), newline=""))
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell.removeprefix("'") == text.removeprefix("'")


def test_an_archive_inside_the_workspace_or_over_another_file_is_refused(
    shop: Shop, door: Door, tmp_path: Path
) -> None:
    at = ("--workspace", str(shop.root), "access", "--out")
    inside = door(*at, str(shop.root / "data" / "answer.zip"), text="somebody")
    there = tmp_path / "there.zip"
    there.write_text("x")
    over = door(*at, str(there), text="somebody")
    nobody = door(*at, str(tmp_path / "new.zip"))

    assert (inside.code, over.code, nobody.code) == (2, 2, 2)
    assert "outside the workspace" in inside.err
    assert there.read_text() == "x"
    assert not (tmp_path / "new.zip").exists()


# --- du and data ----------------------------------------------------------------------------------


def test_the_disk_use_is_that_of_every_store(small_night: Shop, door: Door) -> None:
    at = ("--workspace", str(small_night.root))
    found, plain = door(*at, "--json", "du"), door(*at, "du")
    stores = found.json["stores"]
    assert isinstance(stores, list)
    sizes = {entry["store"]: (entry["files"], entry["bytes"]) for entry in stores}
    held = [path.stat().st_size for path in (small_night.root / ".lethe/remote").rglob("*")
            if path.is_file()]  # fmt: skip

    assert found.code == plain.code == 0
    assert list(sizes) == [store.name for store in STORES]
    assert sizes["DVC remote"] == (len(held), sum(held))
    assert found.json["bytes"] == sum(size for _, size in sizes.values()) > 0
    assert plain.out.splitlines()[-1].startswith("all ")


def test_what_lies_in_no_store_is_told(shop: Shop, door: Door) -> None:
    (shop.root / "data" / "stray.csv").write_text("x")
    stores = door("--workspace", str(shop.root), "--json", "du").json["stores"]
    (shop.root / "data" / "stray.csv").unlink()

    assert isinstance(stores, list)
    assert (stores[-1]["store"], stores[-1]["files"], stores[-1]["bytes"]) == ("in no store", 1, 1)


def test_a_data_version_is_listed_shown_and_checked_out(
    shop: Shop, door: Door, tmp_path: Path
) -> None:
    at = ("--workspace", str(shop.root), "--json", "data")
    listed = door(*at, "list").json["data_versions"]
    assert isinstance(listed, list)
    [version] = listed
    shown = door(*at, "show", version["digest"][:6]).json
    into = tmp_path / "copy"
    done = door(*at, "checkout", version["digest"], str(into))
    again = door(*at, "checkout", version["digest"], str(into))
    inside = door(*at, "checkout", version["digest"], str(shop.root / "data" / "copy"))

    assert version["present"] is True
    assert (shown["rows"], shown["solution_versions"]) == (version["rows"], [1])
    assert str(shown["digest"]).startswith(version["digest"])
    assert (done.code, again.code, inside.code) == (0, 2, 2)
    assert "not empty" in str(again.json["error"])
    assert "outside the workspace" in str(inside.json["error"])
    assert not (shop.root / "data" / "copy").exists()
    ShardStore(into).verify()
    assert ShardStore(into).rows() == version["rows"] == done.json["rows"]
    assert into.stat().st_mode & 0o777 == 0o700
    unknown = door(*at, "show", "ffff")
    assert "0 data versions start with" in str(unknown.json["error"])


def test_a_version_differs_from_itself_in_nothing(shop: Shop, door: Door) -> None:
    at = ("--workspace", str(shop.root), "--json", "data")
    listed = door(*at, "list").json["data_versions"]
    assert isinstance(listed, list)
    digest, rows = listed[0]["digest"], listed[0]["rows"]
    found = door(*at, "diff", digest, digest).json

    assert found["rows"] == {"only_in_the_first": 0, "only_in_the_second": 0, "in_both": rows}
    assert not (shop.root / ".lethe" / "tmp" / "difference").exists()


EVENTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 3)), max_size=25, unique=True
)


@settings(max_examples=25, deadline=None)
@given(first=EVENTS, second=EVENTS)
def test_the_difference_of_two_versions_is_that_of_their_rows(
    first: list[tuple[int, int, int]],
    second: list[tuple[int, int, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folders, files = [], []
    for events in (first, second):
        folder = tmp_path_factory.mktemp("version")
        rows = [
            {"user": f"{user:032x}", "item": f"i{item}", "timestamp": month * 2_700_000 + 1,
             "event_type": "view"}
            for user, item, month in events
        ]  # fmt: skip
        ShardStore(folder, 2).append(pa.Table.from_pylist(rows, schema=INTERACTIONS))
        folders.append(folder)
        files.append({path.relative_to(folder).as_posix(): sha256_file(path)
                      for path in folder.rglob("*.parquet")})  # fmt: skip
    found = compared(folders, files)
    for kind, sets in (
        ("rows", (set(first), set(second))),
        ("users", ({e[0] for e in first}, {e[0] for e in second})),
        ("items", ({e[1] for e in first}, {e[1] for e in second})),
    ):
        one, other = sets
        expected = [len(one - other), len(other - one), len(one & other)]
        assert list(found[kind].values()) == expected
