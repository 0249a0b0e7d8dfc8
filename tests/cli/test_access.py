"""`lethe access`: everything held on a person, in one private archive, and of nobody else."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from lethe.desk.access.dossiers import as_csv
from tests.cli.door import Door
from tests.watched import Shop


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
    text = params.read_text()
    params.write_text(text.replace("recipients: []", "recipients: [a printer of letters]"))
    assert params.read_text() != text
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
