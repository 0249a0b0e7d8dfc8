"""Settings of the whole test run: no telemetry, nothing shared with the machine's own folders."""

from __future__ import annotations

import os

from lethe.estate.process import TELEMETRY_OFF
from lethe.solutions.environment import pin_process

os.environ.update(TELEMETRY_OFF)
os.environ["MLFLOW_LOGGING_LEVEL"] = "WARNING"
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
pin_process("Haswell")
