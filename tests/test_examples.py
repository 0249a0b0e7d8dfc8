"""The examples load, and read the exports that they were written for."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest
import yaml

from lethe.interactions.intake.reading import read_attributes, read_interactions, survey
from lethe.interactions.intake.rules import IntakeRules, LandedFile
from lethe.interactions.training.snapshot import SnapshotReceipt, SnapshotRules, build
from lethe.interactions.training.windows import TrainingSet

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
EXAMPLES = sorted((ROOT / "examples").glob("*.params.yaml"))


class Landed:
    """What a landing folder holds, read by the rules; a store for a snapshot."""

    def __init__(self, landing: Path, rules: IntakeRules) -> None:
        self.tables: list[pa.Table] = []
        self.counts: Counter[str] = Counter()
        self.side: dict[str, pa.Table] = {}
        for file in survey(landing, rules):
            assert isinstance(file, LandedFile), file.rule
            if file.kind != "interactions":
                self.side[file.kind] = read_attributes(file, rules, file.kind)
                continue
            for batch in read_interactions(file, rules):
                self.tables.append(batch.table)
                self.counts.update(batch.dropped)
                self.counts.update(refused=len(batch.refused), read=batch.rows_read)

    def scan(self, columns: Sequence[str], *, folded: bool = False) -> Iterator[pa.Table]:
        del folded  # texts may come as dictionaries, and need not
        return (table.select(list(columns)) for table in self.tables)

    def attributes(self, kind: Literal["items", "users"]) -> pa.Table | None:
        return self.side.get(kind)


def sections(name: str) -> tuple[IntakeRules, SnapshotRules]:
    text = (ROOT / "examples" / f"{name}.params.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    assert set(content) == {"intake", "training"}
    return (
        IntakeRules.model_validate(content["intake"]),
        SnapshotRules.model_validate(content["training"]),
    )


def landed(name: str, files: str, tmp_path: Path) -> tuple[Landed, SnapshotReceipt, TrainingSet]:
    found = sorted((DATA / name).glob(files))
    if not found:
        pytest.skip(f"the real data set {name} is not on this machine")
    landing = tmp_path / "landing"
    landing.mkdir()
    for path in found:
        shutil.copy(path, landing)
    intake, rules = sections(name)
    store = Landed(landing, intake)
    receipt = build(store, frozenset(), rules, tmp_path / "training", 0, "00" * 32)
    return store, receipt, TrainingSet.read(tmp_path / "training")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_holds_the_two_sections_that_depend_on_the_data(path: Path) -> None:
    sections(path.name.removesuffix(".params.yaml"))


def test_a_month_of_the_gift_shop_loads_without_its_cancellations_and_blanks(
    tmp_path: Path,
) -> None:
    store, receipt, training = landed("online-retail", "2010-12-*.csv.gz", tmp_path)
    assert store.counts["refused"] == 0
    assert set(store.counts) - {"read", "refused"} == {
        "blank user",
        "cancelled invoice",
        "not a positive quantity",
        "not a product",
    }
    assert store.counts["read"] == 42_481
    assert receipt.rows > 20_000
    assert {len(user) for user in training.users} == {5}
    assert all(item[:5].isdecimal() for item in training.items)


def test_movielens_loads_with_its_genres_and_without_its_postcodes(tmp_path: Path) -> None:
    store, receipt, training = landed("ml-100k", "u.[diu]*", tmp_path)
    assert (store.counts["read"], store.counts["refused"]) == (100_000, 0)
    assert receipt.dropped["event_value"] == 44_625
    matrix = training.matrix("all")
    assert matrix.item_features is not None
    assert matrix.user_features is not None
    assert len(matrix.item_features.names) == 18
    assert "Film-Noir=1" in matrix.item_features.names
    kinds = {name.partition("=")[0] for name in matrix.user_features.names}
    assert kinds == {"gender", "occupation"}
