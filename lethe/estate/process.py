"""Making this process private, silent and reproducible before any tool is imported.

Imports nothing heavy: OpenBLAS chooses its kernel, and every tool its folders and its telemetry,
at import.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Mapping

from lethe.errors import BadConfiguration
from lethe.estate.workspace import Workspace
from lethe.solutions.environment import pin_process

DEFAULT_KERNEL = "Haswell"

# `DO_NOT_TRACK=1` does not stop MLflow, `true` does; each tool is told in its own words as well.
TELEMETRY_OFF: Mapping[str, str] = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
}
_DEFAULTS: Mapping[str, str] = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import in this block without looking for garbage: what a module makes is none.

    Looking for it again and again costs a third of an import. What is there when the block ends is
    never looked at again, not even when the process ends.
    """
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if looked:
            gc.enable()


class _LeftOut:
    """An import finder that knows of one module that there is none."""

    def __init__(self, module: str) -> None:
        self.module = module

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name == self.module:
            raise ModuleNotFoundError(f"{name} is left out of this process", name=name)


def leave_out(module: str) -> None:
    """Import from here on as if `module` were not installed: for a tool that takes it if it can."""
    sys.meta_path.insert(0, _LeftOut(module))


def configured_kernel(workspace: Workspace) -> str:
    """`environment.blas_kernel` of params.yaml, read before anything that imports numpy.

    Raises:
        BadConfiguration: params.yaml is missing or cannot be read.
    """
    import yaml

    try:
        document = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
        section = (document or {}).get("environment") or {}
        return str(section.get("blas_kernel", DEFAULT_KERNEL))
    except FileNotFoundError:
        raise BadConfiguration("params.yaml is missing") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError):
        raise BadConfiguration("params.yaml is not readable as YAML") from None


def _stack(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Where the servers of `lethe up` are, if this workspace has them.

    They are then its register and its MLflow: a command that did not know would enter a request
    where no night looks.
    """
    try:
        lines = workspace.stack_environment.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        raise BadConfiguration(f"{workspace.stack_environment.name} cannot be read") from None
    for line in lines:
        name, _, value = line.partition("=")
        if value:
            yield name, value


def settle(workspace: Workspace, kernel: str | None = None) -> None:
    """Set umask 077, telemetry off, private temporary and Prefect folders, and pin BLAS.

    Children inherit all of it, and with it the addresses of the workspace's own servers. Settings
    that the operator made are kept, telemetry excepted.
    `kernel` is for a workspace that has no params.yaml yet.

    Raises:
        BadConfiguration: params.yaml is missing or not readable, or numpy has another kernel.
    """
    os.umask(0o077)
    os.environ.update(TELEMETRY_OFF)
    for name, value in [*_stack(workspace), *_DEFAULTS.items()]:
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(workspace.prefect_home))
    workspace.temporary.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ["TMPDIR"] = str(workspace.temporary)
    pin_process(kernel or configured_kernel(workspace))
