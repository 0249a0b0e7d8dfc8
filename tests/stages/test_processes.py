"""A stage as DVC starts it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from lethe.estate.workspace import Workspace
from lethe.stages import opening, snapshots
from tests.watched import Shop


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.mark.parametrize("stage", ["interactions", "training"])
def test_a_stage_leaves_pandas_alone_and_writes_what_it_would_with_it(
    shop: Shop, stage: str
) -> None:
    """pyarrow would import it with the first array."""
    workspace = Workspace(shop.root)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lethe.stages", stage],
        cwd=workspace.root,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pyarrow.compute" in imported
    assert not {name for name in imported if name.startswith("pandas.")}
    if stage == "training":
        without = bytes_of(workspace.training)
        assert pa.table({"x": [1]}).to_pandas().equals(pd.DataFrame({"x": [1]})), "here it is there"
        snapshots.training(workspace, opening.open_params(workspace))
        assert bytes_of(workspace.training) == without
