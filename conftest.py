"""Settings of the whole test run: no telemetry, nothing shared with the machine's own folders."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from lethe.estate.process import TELEMETRY_OFF
from lethe.solutions.environment import pin_process

os.environ.update(TELEMETRY_OFF)
os.environ["MLFLOW_LOGGING_LEVEL"] = "WARNING"
os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"  # it speaks as the process ends, to closed streams
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
os.environ["OMP_WAIT_POLICY"] = "passive"  # two workers, two cores: who waits must not spin
pin_process("Haswell")

# Two workers take whole files, in this order: a long one that came last would run alone.
LONGEST_FIRST = (
    "nights/test_killed_nights", "nights/test_mission", "flows/test_stack",
    "flows/test_moved_stack",
    "nights/test_life", "nights/test_other_lives", "nights/test_life_mutants",
    "nights/test_serving", "nights/test_two_nights", "test_doc_blocks", "test_docs",
    "nights/test_fading_nights", "nights/test_killed_runs",
    "test_loopback", "test_house", "nights/test_forgetting", "nights/test_forgetting_killed",
    "nights/test_forgetting_law", "interactions/rights/test_register",
    "interactions/rights/test_register_held", "interactions/rights/test_register_tables",
    "solutions/test_add_a_recipe", "test_real_input", "cli/test_doors", "nights/test_canaries",
    "nights/test_rotation", "nights/test_rotated_generations", "nights/test_rotated_shop",
    "nights/test_rollback",
    "adapters/test_data_versions", "adapters/test_studies", "interactions/rights/test_merges",
    "interactions/rights/test_merges_kept",
    "flows/test_own_server", "nights/test_faults", "reviewer/test_accessible",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the others keep their order."""
    places = {f"tests/{name}.py": place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


@pytest.fixture(autouse=True)
def _no_tracking_uri_from_another_test() -> Iterator[None]:
    """MLflow keeps an address in the environment and in itself, where the next test finds it."""
    _forget_tracking_uri()
    yield
    _forget_tracking_uri()


def _forget_tracking_uri() -> None:
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if module := sys.modules.get("mlflow.tracking._tracking_service.utils"):
        vars(module)["_tracking_uri"] = None
