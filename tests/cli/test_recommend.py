"""`lethe recommend`: the champion's lists for everybody who may be served, and for nobody else."""

from __future__ import annotations

import csv
import hashlib
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from lethe.adapters.packing.model_folder import SOLUTION
from lethe.interactions.training.windows import TrainingSet
from lethe.solutions.factors import Solution, read_solution
from tests.cli.door import Door, Ended
from tests.watched import Shop

Row = tuple[str, str, int, float]


@pytest.fixture(scope="module")
def champion(small_night: Shop) -> Solution:
    [folder] = (small_night.root / ".lethe" / "mlflow").rglob(f"{SOLUTION}/users.txt")
    return read_solution(folder.parent)


@pytest.fixture(scope="module")
def training(small_night: Shop) -> TrainingSet:
    return TrainingSet.read(small_night.root / "data" / "training")


def ids_of(shop: Shop) -> dict[str, str]:
    with closing(sqlite3.connect(f"file:{shop.root}/.lethe/vault.db?mode=ro", uri=True)) as link:
        return dict(link.execute("SELECT pseudonym, id FROM people").fetchall())


def slowly(
    shop: Shop, champion: Solution, training: TrainingSet, k: int, keep: bool
) -> Iterator[Row]:
    """Every row, in pure Python but for the scores themselves."""
    ids = ids_of(shop)
    scores = champion.factors.scores(np.arange(len(champion.users)))
    has = {
        (training.users[user], training.items[item])
        for user, item in zip(training.user.tolist(), training.item.tolist(), strict=True)
    }
    for row, name in enumerate(champion.users):
        free = [c for c, item in enumerate(champion.items) if keep or (name, item) not in has]
        best = sorted(free, key=lambda c: (-scores[row, c], c))[:k]
        for rank, column in enumerate(best, start=1):
            yield ids[name], champion.items[column], rank, float(scores[row, column])


def table(shop: Shop, name: str = "version-1.csv") -> Path:
    return shop.root / "data" / "recommendations" / name


def rows_in(path: Path) -> list[Row]:
    if path.suffix == ".parquet":
        return [
            (row["USER_ID"], row["ITEM_ID"], row["RANK"], row["SCORE"])
            for row in parquet.read_table(path).to_pylist()
        ]
    with path.open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["USER_ID", "ITEM_ID", "RANK", "SCORE"]
    return [(user, item, int(rank), float(np.float32(score))) for user, item, rank, score in rows]


def asked(shop: Shop, door: Door, *arguments: str, text: str = "") -> Ended:
    return door("--workspace", str(shop.root), "--json", *arguments, text=text)


def test_the_night_wrote_what_its_params_ask_for(
    small_night: Shop, champion: Solution, training: TrainingSet
) -> None:
    names = {path.name for path in table(small_night).parent.iterdir()}
    assert names == {f"version-1{end}" for end in (".parquet", ".parquet.json", ".popular.parquet")}
    found = rows_in(table(small_night, "version-1.parquet"))
    assert found == list(slowly(small_night, champion, training, 20, keep=False))


def test_the_lists_are_those_of_a_slow_way(
    shop: Shop, door: Door, champion: Solution, training: TrainingSet
) -> None:
    ended = asked(shop, door, "recommend", "--k", "100", "--format", "csv")

    assert ended.code == 0
    found = rows_in(table(shop))
    assert found == list(slowly(shop, champion, training, 100, keep=False))
    people = len(training.users)
    assert ended.json["users"] == people == len({user for user, *_ in found})
    assert (ended.json["rows"], ended.json["cold"], ended.json["suppressed"]) == (len(found), 0, 0)
    facts = json.loads(table(shop, "version-1.csv.json").read_bytes())
    assert facts["sha256"] == hashlib.sha256(table(shop).read_bytes()).hexdigest()
    assert (facts["version"], facts["k"], facts["users"]) == (1, 100, people)
    best = [champion.items[column] for column in champion.popular[:100]]
    popular = table(shop, "version-1.popular.csv").read_text().splitlines()[1:]
    assert [line.split(",")[:2] for line in popular] == [["", f'"{item}"'] for item in best]
    assert not [name for name in {user for user, *_ in found} if name in ended.out + ended.err]
    assert all(path.stat().st_mode & 0o077 == 0 for path in table(shop).parent.iterdir())


def test_what_a_user_has_can_be_kept_and_parquet_holds_the_same(
    shop: Shop, door: Door, champion: Solution, training: TrainingSet
) -> None:
    told = asked(
        shop, door, "recommend", "--k", "3", "--items-already-seen", "keep", "--format", "parquet"
    )

    assert told.code == 0
    found = rows_in(table(shop, "version-1.parquet"))
    assert found == list(slowly(shop, champion, training, 3, keep=True))
    table(shop, "version-1.parquet").unlink()


def test_who_asks_is_told_what_was_given_and_who_is_erased_is_taken_out_at_once(
    shop: Shop, door: Door, tmp_path: Path
) -> None:
    assert asked(shop, door, "recommend", "--k", "7", "--format", "csv").code == 0
    before = table(shop).read_bytes().splitlines(keepends=True)
    people = sorted({user for user, *_ in rows_in(table(shop))})
    gone, other = people[1:3]
    out = tmp_path / "answer.zip"
    assert asked(shop, door, "access", "--out", str(out), text=gone).code == 0
    with zipfile.ZipFile(out) as archive:
        given = json.loads(archive.read("person-0001.json"))["recommendations_given"]
    assert [(row["USER_ID"], row["RANK"], row["version"]) for row in given] == [
        (gone, rank, 1) for rank in range(1, 8)
    ]
    places = asked(shop, door, "scan", text=gone).json["places"]
    assert isinstance(places, list)
    assert "batch outputs" in {place["store"] for place in places}

    assert asked(shop, door, "erase", text=gone).code == 0
    assert asked(shop, door, "restrict", text=other).code == 0

    left = [
        line for line in before if line.split(b",")[0].strip(b'"').decode() not in {gone, other}
    ]
    assert len(left) == len(before) - 14
    assert table(shop).read_bytes().splitlines(keepends=True) == left
    facts = json.loads(table(shop, "version-1.csv.json").read_bytes())
    assert facts["sha256"] == hashlib.sha256(table(shop).read_bytes()).hexdigest()
    assert (facts["users"], facts["rows"]) == (len(people) - 2, len(left) - 1)
    places = asked(shop, door, "scan", text=gone).json["places"]
    assert isinstance(places, list)
    assert "batch outputs" not in {place["store"] for place in places}
    again = asked(shop, door, "recommend", "--k", "7", "--format", "csv")
    assert (again.json["users"], again.json["suppressed"]) == (len(people) - 2, 2)
    assert not {gone, other} & {user for user, *_ in rows_in(table(shop))}


def test_a_champion_that_is_not_the_certified_one_recommends_nothing(
    shop: Shop, door: Door
) -> None:
    certificate = shop.root / ".lethe" / "certificates" / "version-1.json"
    content, before = certificate.read_bytes(), table(shop).read_bytes()
    certificate.unlink()
    assert asked(shop, door, "recommend").code == 1
    certificate.write_bytes(content.replace(b"a", b"b", 1))
    assert asked(shop, door, "recommend").code == 1
    certificate.write_bytes(content)
    [served] = (shop.root / ".lethe" / "mlflow").rglob("serving.py")
    served.write_bytes(served.read_bytes() + b"#\n")
    refused = asked(shop, door, "recommend")
    assert refused.code == 1
    assert "are not those of its certificate" in str(refused.json["error"])
    assert table(shop).read_bytes() == before
