"""Real exports go all the way: read, sealed, cut to a training set, and rebuilt by the verifier.

Nobody invented these files: blanks, cancellations, floats for numbers, latin-1, no header. Each
data set is taken in once; the trainer's matrix and the verifier's must be the same to the bit.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from lethe.gate.proof.retained import rebuild
from lethe.interactions.columns import USER
from lethe.interactions.intake.reading import read_attributes, read_interactions, survey
from lethe.interactions.intake.rules import IntakeRules, LandedFile
from lethe.interactions.rights.identity import canonical_id, pseudonym
from lethe.interactions.shards.store import ShardStore
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.interactions.training.snapshot import SnapshotRules, build
from lethe.interactions.training.windows import TrainingSet

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
HEAD = "0" * 64
KEY = b"k" * 32
SETS = ("online-retail", "personalize-sample", "ml-100k")
DAYS = 25

Barred = Callable[[str], bool]


def parameters(name: str) -> tuple[IntakeRules, SnapshotRules]:
    """Of the example where there is one, else of the params.yaml that every workspace gets."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    example = ROOT / "examples" / f"{name}.params.yaml"
    if example.exists():
        for section, values in yaml.safe_load(example.read_text(encoding="utf-8")).items():
            document[section] = {**document[section], **values}
    return (
        IntakeRules.model_validate(document["intake"]),
        SnapshotRules.model_validate(document["training"]),
    )


def pseudonymised(table: pa.Table) -> pa.Table:
    column = table[USER].combine_chunks().dictionary_encode()
    names = [pseudonym(KEY, canonical_id(text), 0) for text in column.dictionary.to_pylist()]
    codes = pa.array(names, pa.string()).take(column.indices)
    return table.set_column(table.column_names.index(USER), USER, codes)


@dataclass(frozen=True)
class Taken:
    """A data set after intake: sealed shards in a folder, and what reading counted."""

    name: str
    folder: Path
    rules: SnapshotRules
    counts: Counter[str]

    @property
    def store(self) -> ShardStore:
        return ShardStore(self.folder, 8)

    def trained(self, into: Path, excluded: frozenset[str] = frozenset()) -> InteractionMatrix:
        build(self.store, excluded, self.rules, into, 0, HEAD)
        return TrainingSet.read(into).matrix("all")

    def rebuilt(self, is_barred: Barred = lambda _: False) -> InteractionMatrix:
        return rebuild(self.folder, is_barred, self.rules.model_dump(mode="json")).matrix


@pytest.fixture(scope="module", params=SETS)
def taken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    name: str = request.param
    files = sorted(path for path in (DATA / name).glob("*") if not path.name.startswith("README"))
    if not files:
        pytest.skip(f"the real data set {name} is not on this machine (../shared/data)")
    place = tmp_path_factory.mktemp(name)
    (place / "landing").mkdir()
    for path in files[:DAYS]:
        shutil.copy(path, place / "landing")
    intake, rules = parameters(name)
    store, counts = ShardStore(place / "interactions", 8), Counter[str]()
    with store.batch() as batch:
        for file in survey(place / "landing", intake):
            if not isinstance(file, LandedFile):
                counts[f"refused file {file.name}"] += 1
                continue
            counts[file.kind] += 1
            if file.kind != "interactions":
                table = read_attributes(file, intake, file.kind)
                table = pseudonymised(table) if file.kind == "users" else table
                store.put_attributes(file.kind, table)
                continue
            with batch.whole():
                for part in read_interactions(file, intake):
                    batch.add(pseudonymised(part.table))
                    counts.update(read=part.rows_read, refused=len(part.refused))
    store.seal(0, HEAD, [])
    store.verify()
    return Taken(name, place / "interactions", rules, counts)


def test_every_file_is_understood(taken: Taken) -> None:
    expected = {
        "online-retail": {"interactions": DAYS},
        "personalize-sample": {"interactions": 1, "items": 1},
        # u.genre is a list of genres, of no use here
        "ml-100k": {"interactions": 1, "items": 1, "users": 1, "refused file u.genre": 1},
    }[taken.name]
    found = {key: count for key, count in taken.counts.items() if key not in ("read", "refused")}
    assert found == expected


def test_real_rows_are_read_and_hardly_one_is_refused(taken: Taken) -> None:
    assert taken.counts["read"] >= 10_000
    assert taken.counts["refused"] <= taken.counts["read"] // 1000


@pytest.mark.parametrize("half_life", [None, 30.0])
def test_the_verifier_rebuilds_the_trainers_matrix_to_the_bit(
    taken: Taken, tmp_path: Path, half_life: float | None
) -> None:
    taken = replace(taken, rules=taken.rules.model_copy(update={"half_life_days": half_life}))
    trained, rebuilt = taken.trained(tmp_path), taken.rebuilt()

    assert len(trained.users) > 25
    assert trained.users == rebuilt.users
    assert trained.items == rebuilt.items
    assert trained.digest == rebuilt.digest


def test_with_people_barred_both_still_agree_and_neither_holds_them(
    taken: Taken, tmp_path: Path
) -> None:
    everybody = taken.rebuilt()
    barred = frozenset(everybody.users[::7])

    trained, rebuilt = taken.trained(tmp_path, barred), taken.rebuilt(barred.__contains__)

    assert trained.digest == rebuilt.digest != everybody.digest
    assert barred.isdisjoint(trained.users)


def test_a_real_purge_leaves_what_barring_leaves(taken: Taken, tmp_path: Path) -> None:
    barred = frozenset(taken.rebuilt().users[::11])
    copy = Taken(taken.name, tmp_path / "purged", taken.rules, taken.counts)
    shutil.copytree(taken.folder, copy.folder)

    removed = copy.store.purge(barred)

    assert removed.users == len(barred)
    assert removed.rows >= len(barred)
    assert barred.isdisjoint(copy.rebuilt().users)
    assert copy.rebuilt().csr.nnz == taken.rebuilt(barred.__contains__).csr.nnz
