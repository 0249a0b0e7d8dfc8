"""What benchmarks/data_path.py sets side by side: each way from files to the matrix, and back.

Each is run in a process of its own, and tells what it did as plain values.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ERASED = (1, 10, 100, 1_000)
OVERLAY = """\
training: {minimum_item_users: 1, minimum_user_items: 1, validation_share: 0.1, test_share: 0.1}
canaries: {share: 0}
"""


def summed(users: Any, items: Any) -> dict[str, Any]:
    """The matrix of coded pairs: shape, cells and sum."""
    import numpy as np
    from scipy.sparse import coo_matrix

    ones = np.ones(len(users), np.float32)
    matrix = coo_matrix((ones, (users, items))).tocsr()
    matrix.sum_duplicates()
    return {"shape": list(matrix.shape), "cells": int(matrix.nnz), "sum": float(matrix.sum())}


def by_pandas(days: Path, into: Path) -> dict[str, Any]:
    """pandas, with its pyarrow reader."""
    import pandas as pd

    parts = [pd.read_csv(path, engine="pyarrow") for path in sorted(days.glob("*.csv"))]
    frame = pd.concat(parts, ignore_index=True).drop_duplicates(ignore_index=True)
    frame.to_parquet(into / "all.parquet", compression="zstd")
    return summed(pd.factorize(frame["USER_ID"])[0], pd.factorize(frame["ITEM_ID"])[0])


def by_polars(days: Path, into: Path) -> dict[str, Any]:
    """polars, lazily."""
    import polars as pl  # type: ignore[import-not-found, unused-ignore]

    frame = pl.scan_csv(days / "*.csv").unique().collect()
    frame.write_parquet(into / "all.parquet", compression="zstd")
    codes = frame.select(pl.col("USER_ID").rank("dense") - 1, pl.col("ITEM_ID").rank("dense") - 1)
    return summed(codes["USER_ID"].to_numpy(), codes["ITEM_ID"].to_numpy())


def by_duckdb(days: Path, into: Path) -> dict[str, Any]:
    """DuckDB, in memory."""
    import duckdb  # type: ignore[import-not-found, unused-ignore]

    link = duckdb.connect()
    link.execute(f"CREATE TABLE rows AS SELECT DISTINCT * FROM read_csv('{days}/*.csv')")  # noqa: S608
    target = into / "all.parquet"
    link.execute(f"COPY rows TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
    query = (
        "SELECT u.code AS users, i.code AS items FROM rows "
        "JOIN (SELECT USER_ID, row_number() OVER () - 1 AS code FROM "
        "(SELECT DISTINCT USER_ID FROM rows)) u USING (USER_ID) "
        "JOIN (SELECT ITEM_ID, row_number() OVER () - 1 AS code FROM "
        "(SELECT DISTINCT ITEM_ID FROM rows)) i USING (ITEM_ID)"
    )
    found = link.execute(query).fetchnumpy()
    return summed(found["users"], found["items"])


def empty_workspace(_days: Path, into: Path) -> dict[str, Any]:
    """As `lethe init` makes one."""
    from lethe.desk.setting_up import initialise
    from lethe.estate.workspace import Workspace

    overlay = into / "overlay.yaml"
    overlay.write_text(OVERLAY, encoding="utf-8")
    initialise(Workspace(into / "workspace"), overlay)
    return {}


def by_lethe(days: Path, into: Path) -> dict[str, Any]:
    """Everything from landed files up to the training set."""
    from lethe.estate.process import settle
    from lethe.estate.workspace import Workspace

    workspace = Workspace(into / "workspace")
    settle(workspace)  # before numpy is imported
    from lethe.interactions.training.windows import TrainingSet
    from lethe.stages import intake, opening, reproducing, snapshots

    for path in sorted(days.glob("*.csv")):
        os.link(path, workspace.landing / path.name)
    params, data = opening.open_params(workspace), opening.open_data(workspace)
    began = time.perf_counter()
    intake.interactions(workspace, params)
    taken = time.perf_counter()
    data.commit("interactions")
    reproducing.version(workspace, params, opening.now())
    versioned = time.perf_counter()
    snapshots.training(workspace, params)
    matrix = TrainingSet.read(workspace.training).matrix("all").csr
    ended = time.perf_counter()
    return {
        "shape": list(matrix.shape), "cells": int(matrix.nnz),
        "parts": {"intake and purge": taken - began, "version": versioned - taken,
                  "training set": ended - versioned},
    }  # fmt: skip


def rebuilt(_days: Path, into: Path) -> dict[str, Any]:
    """The same matrix a second time, as the verifier builds it from the shards."""
    from lethe.durable import read_json
    from lethe.estate.process import settle
    from lethe.estate.workspace import Workspace

    workspace = Workspace(into / "workspace")
    settle(workspace)
    from lethe.gate.proof.retained import rebuild

    rules = read_json(workspace.training / "snapshot.json")["rules"]
    matrix = rebuild(workspace.interactions, lambda _: False, rules).matrix
    return {"shape": list(matrix.csr.shape), "cells": int(matrix.csr.nnz)}


def rewritten_by_polars(days: Path, into: Path) -> dict[str, Any]:
    """One day more: the whole file written anew."""
    import polars as pl  # type: ignore[import-not-found, unused-ignore]

    new = pl.scan_csv(days / "*.csv")
    frame = pl.concat([pl.scan_parquet(into / "all.parquet"), new]).unique().collect()
    frame.write_parquet(into / "new.parquet", compression="zstd")
    (into / "new.parquet").replace(into / "all.parquet")
    return {}


def erased_by_polars(_days: Path, into: Path) -> dict[str, Any]:
    """Some people less: the whole file written anew, for each number of them."""
    import polars as pl  # type: ignore[import-not-found, unused-ignore]

    spent = {}
    people = sorted(pl.read_parquet(into / "all.parquet", columns=["USER_ID"])["USER_ID"].unique())
    for count in ERASED:
        gone = people[:: max(1, len(people) // count)][:count]
        began = time.perf_counter()
        frame = pl.read_parquet(into / "all.parquet").filter(~pl.col("USER_ID").is_in(gone))
        frame.write_parquet(into / "new.parquet", compression="zstd")
        spent[count] = time.perf_counter() - began
        (into / "new.parquet").unlink()
    return {"spent": spent}


def erased_by_lethe(_days: Path, into: Path) -> dict[str, Any]:
    """The shards that hold them written anew, and the seal, each time from the same start."""
    from lethe.estate.workspace import Workspace
    from lethe.stages import opening

    workspace, spent = Workspace(into / "workspace"), {}
    keys = opening.open_identities(workspace)
    params = opening.open_params(workspace)
    people = sorted(opening.rows_by_user(opening.open_shards(workspace, params, keys)))
    kept = into / "kept"
    shutil.copytree(workspace.interactions, kept)
    for count in ERASED:
        gone = set(people[:: max(1, len(people) // count)][:count])
        began = time.perf_counter()
        store = opening.open_shards(workspace, params, keys)
        head = opening.sealed_at(store)
        store.purge(gone)
        store.seal(head.position, head.digest)
        spent[count] = time.perf_counter() - began
        shutil.rmtree(workspace.interactions)
        shutil.copytree(kept, workspace.interactions)
    return {"spent": spent}


WAYS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "init": empty_workspace, "lethe": by_lethe, "rebuilt": rebuilt,
    "pandas": by_pandas, "polars": by_polars, "duckdb": by_duckdb,
    "rewritten": rewritten_by_polars, "lethe erased": erased_by_lethe,
    "polars erased": erased_by_polars,
}  # fmt: skip
