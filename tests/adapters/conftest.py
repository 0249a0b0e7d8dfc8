"""MLflow reads this when it is imported, so it stands before any test of this folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lethe.adapters.solution_versions import SolutionVersions
from tests.adapters.place import NAME


@pytest.fixture(autouse=True, scope="session")
def _no_telemetry() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
            patch.setitem(os.environ, name, "true")
        patch.setitem(os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        yield


@pytest.fixture(scope="session")
def blank(_no_telemetry: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database: the migration takes seconds, so it is done once and copied."""
    root = tmp_path_factory.mktemp("blank")
    SolutionVersions(f"sqlite:///{root}/mlflow.db", root / "artifacts", "warm-up").initialise()
    return root / "mlflow.db"


@pytest.fixture
def real(blank: Path, tmp_path: Path) -> Iterator[SolutionVersions]:
    root = tmp_path / "mlflow"
    root.mkdir()
    shutil.copy(blank, root / "mlflow.db")
    versions = SolutionVersions(f"sqlite:///{root}/mlflow.db", root / "artifacts", NAME)
    versions.initialise()
    yield versions
    versions.client._tracking_client.store.engine.dispose()
