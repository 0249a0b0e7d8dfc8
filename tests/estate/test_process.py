"""A process is made private, silent and reproducible before any tool is imported."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lethe.errors import BadConfiguration
from lethe.estate.process import TELEMETRY_OFF, configured_kernel, importing
from lethe.estate.workspace import Workspace

SETTLED = """
import json, os, sys
from pathlib import Path
from lethe.estate.process import settle
from lethe.estate.workspace import Workspace
heavy = [name for name in ("numpy", "mlflow", "prefect", "dvc", "optuna") if name in sys.modules]
workspace = Workspace(Path(sys.argv[1]))
settle(workspace)
early = dict(os.environ)
import tempfile, threadpoolctl, numpy, scipy.linalg
(workspace.root / "made.txt").write_text("x")
pools = threadpoolctl.threadpool_info()
print(json.dumps({
    "heavy": heavy,
    "environment": early,
    "kernels": sorted({pool["architecture"] for pool in pools if "architecture" in pool}),
    "threads": sorted({pool["num_threads"] for pool in pools if pool["user_api"] == "blas"}),
    "temporary": tempfile.gettempdir(),
    "mode": oct((workspace.root / "made.txt").stat().st_mode & 0o777),
}))
"""


def settled(workspace: Workspace, **variables: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", SETTLED, str(workspace.root)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("shop"))
    made.params.write_text("environment:\n  blas_kernel: Nehalem\n")
    return made


@pytest.fixture(scope="module")
def process(workspace: Workspace) -> dict[str, object]:
    """What a process finds that the operator started with settings of his own."""
    wished = dict.fromkeys(TELEMETRY_OFF, "something else")
    return settled(workspace, **wished, OPENBLAS_CORETYPE="Haswell", MLFLOW_LOGGING_LEVEL="ERROR")


def test_the_kernel_is_read_before_anything_heavy_is_imported(process: dict[str, object]) -> None:
    assert process["heavy"] == []
    assert process["kernels"] == ["Nehalem"]
    assert process["threads"] == [1]


def test_telemetry_is_off_whatever_the_operator_set(process: dict[str, object]) -> None:
    environment = process["environment"]
    assert isinstance(environment, dict)
    assert {name: environment[name] for name in TELEMETRY_OFF} == dict(TELEMETRY_OFF)


def test_other_settings_of_the_operator_are_kept(process: dict[str, object]) -> None:
    environment = process["environment"]
    assert isinstance(environment, dict)
    assert environment["MLFLOW_LOGGING_LEVEL"] == "ERROR"


def test_temporary_files_and_those_of_prefect_are_private(
    process: dict[str, object], workspace: Workspace
) -> None:
    environment = process["environment"]
    assert isinstance(environment, dict)
    assert process["temporary"] == str(workspace.temporary)
    assert environment["PREFECT_HOME"] == str(workspace.prefect_home)
    assert workspace.temporary.stat().st_mode & 0o077 == 0
    assert process["mode"] == "0o600"


@pytest.mark.parametrize("document", ["", "name: shop\n", "environment:\n", "environment: {}\n"])
def test_without_a_configured_kernel_the_default_holds(tmp_path: Path, document: str) -> None:
    workspace = Workspace(tmp_path)
    workspace.params.write_text(document)
    assert configured_kernel(workspace) == "Haswell"


@pytest.mark.parametrize("document", [None, b"\xff", b"a: [", b"- a list\n", b"environment: 7\n"])
def test_parameters_that_are_not_readable_stop_the_process(
    tmp_path: Path, document: bytes | None
) -> None:
    workspace = Workspace(tmp_path)
    if document is not None:
        workspace.params.write_bytes(document)
    with pytest.raises(BadConfiguration, match=r"params\.yaml"):
        configured_kernel(workspace)


def test_parameters_that_are_missing_are_told_as_missing(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"^params\.yaml is missing$"):
        configured_kernel(Workspace(tmp_path))


@pytest.mark.parametrize("fault", [None, ImportError])
def test_what_is_imported_is_no_garbage_and_what_comes_after_is_looked_at_again(
    fault: type[Exception] | None,
) -> None:
    before = gc.get_freeze_count()
    try:
        with contextlib.suppress(ImportError), importing():
            assert not gc.isenabled()
            if fault is not None:
                raise fault
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
