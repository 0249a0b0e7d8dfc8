"""Interaction matrices to measure on: read as a night reads them, or drawn."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from scipy import sparse

from lethe import sample
from lethe.interactions.columns import USER
from lethe.interactions.intake.reading import read_attributes, read_interactions, survey
from lethe.interactions.intake.rules import IntakeRules, LandedFile
from lethe.interactions.rights.identity import canonical_id, pseudonym
from lethe.interactions.shards.store import ShardStore
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.interactions.training.snapshot import SnapshotRules, build
from lethe.interactions.training.windows import TrainingSet

ROOT = Path(__file__).resolve().parent.parent
KEY = b"a key for measurements only....."


def read(name: str, data: Path) -> InteractionMatrix:
    """The matrix of a whole data set, read as a night would read it."""
    return training_set(name, data).matrix("all")


def training_set(name: str, data: Path, **rules: Any) -> TrainingSet:
    """A data set through intake, shards and snapshot; `rules` overrides section `training`."""
    with tempfile.TemporaryDirectory() as folder:
        return TrainingSet.read(training_folder(name, data, Path(folder), **rules))


def training_folder(
    name: str, data: Path, folder: Path, days: int | None = None, **rules: Any
) -> Path:
    """The same as a folder under `folder`; of `days`, only the last files of a day each."""
    sections, store = shards(name, data, folder, days)
    into = folder / "training"
    made = SnapshotRules.model_validate(sections["training"] | rules)
    build(store, frozenset(), made, into, 0, "")
    return into


def shards(
    name: str, data: Path, folder: Path, days: int | None = None
) -> tuple[dict[str, Any], ShardStore]:
    """Sections `intake` and `training` of a data set's example, and its interactions."""
    sections: dict[str, Any] = {"intake": {}, "training": {}}
    landing = folder / "landing"
    landing.mkdir()
    if name == "shop":
        sample.write_history(landing, 120, 20240301)
    else:
        example = ROOT / "examples" / f"{name}.params.yaml"
        if example.is_file():
            sections = yaml.safe_load(example.read_text(encoding="utf-8"))
            # what is measured side by side learns from weights that do not fade, unless asked to
            sections["training"].pop("half_life_days", None)
        files = sorted((data / name).iterdir())
        for path in files if days is None else files[-days:]:
            shutil.copy(path, landing / path.name)
    rules = IntakeRules.model_validate(sections["intake"])
    store = ShardStore(folder / "interactions")
    with store.batch() as batch:
        for table in _tables(landing, rules):
            batch.add(table)
    for file in survey(landing, rules):
        if isinstance(file, LandedFile) and file.kind == "items":
            store.put_attributes("items", read_attributes(file, rules, "items"))
    store.seal(0, "0" * 64)
    return sections, store


def _tables(landing: Path, rules: IntakeRules) -> Iterator[pa.Table]:
    for file in survey(landing, rules):
        if not isinstance(file, LandedFile) or file.kind != "interactions":
            continue
        for part in read_interactions(file, rules):
            coded = part.table[USER].combine_chunks().dictionary_encode()
            names = [pseudonym(KEY, canonical_id(text), 0) for text in coded.dictionary.to_pylist()]
            column = pa.array(names, pa.string()).take(coded.indices)
            yield part.table.set_column(part.table.column_names.index(USER), USER, column)


def synthetic(pairs: int) -> InteractionMatrix:
    """Power-law items, 25 pairs a user on average."""
    draw = np.random.default_rng(0)
    users, items = pairs // 25, max(500, pairs // 100)
    popularity = 1.0 / np.arange(1, items + 1) ** 0.8
    rows = draw.choice(users, int(pairs * 1.12), p=_power(draw, users))
    columns = draw.choice(items, len(rows), p=popularity / popularity.sum())
    csr = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (users, items))
    csr.data[:] = 1
    csr.sort_indices()
    kept = csr[np.diff(csr.indptr) > 0]
    kept = kept[:, np.bincount(kept.indices, minlength=items) > 0].tocsr()
    return InteractionMatrix(
        tuple(f"{k:032x}" for k in range(kept.shape[0])),
        tuple(f"{k:09d}" for k in range(kept.shape[1])),
        kept,
    )


def _power(draw: np.random.Generator, users: int) -> Any:
    weight = draw.gamma(1.2, size=users) + 0.05
    return weight / weight.sum()


def at_hand(names: Sequence[str], data: Path) -> Iterator[str]:
    """Those of the data sets that are there; the others are left out, and that is said."""
    for name in names:
        if name == "shop" or (data / name.partition(", ")[0]).is_dir():
            yield name
        else:
            print(f"{name} is not at hand: left out", file=sys.stderr)
