"""Settings of the whole test run: no telemetry, nothing shared with the machine's own folders."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lethe.estate.process import TELEMETRY_OFF
from lethe.solutions.environment import pin_process

os.environ.update(TELEMETRY_OFF)
os.environ["MLFLOW_LOGGING_LEVEL"] = "WARNING"
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
pin_process("Haswell")


@pytest.fixture(autouse=True)
def _no_tracking_uri_from_another_test() -> Iterator[None]:
    """MLflow writes its address into the environment, where the next test would find it."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)
