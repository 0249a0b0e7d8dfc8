"""MLflow reads this when it is imported, so it stands before any test of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _no_telemetry() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
            patch.setitem(os.environ, name, "true")
        patch.setitem(os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        yield
