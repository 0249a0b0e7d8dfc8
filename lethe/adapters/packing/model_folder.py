"""The folder that MLflow serves: a solution, the code that loads it, and MLflow's own records.

    artifacts/solution/     the solution folder
    serving.py              a copy of `lethe.adapters.serving`
    MLmodel  conda.yaml  python_env.yaml  requirements.txt
    __pycache__             an empty *file*

Whoever loads the model runs `serving.py`, so its bytes count as much as the factors do. Loaded in
place, Python would keep bytecode beside it and prefer that to the source from then on; the file in
the place of the bytecode's folder makes that impossible.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lethe.durable import sha256_file, sha256_json

SOLUTION = "artifacts/solution"  # where MLflow puts the artifact named `solution`
SERVING = Path(__file__).parents[1] / "serving.py"
_BLOCKED = "__pycache__"
_NOTE = "registered_model_meta"  # MLflow writes it into a folder that it loads in place
_PACKAGES = ("mlflow", "numpy", "pandas")
_VERSIONED = frozenset({"conda.yaml", "python_env.yaml", "requirements.txt"})
# What differs between two folders of one machine, or with the versions of its tools.
_PASSING = frozenset(
    {"mlflow_version", "model_id", "model_uuid", "model_size_bytes", "utc_time_created"}
)


def around(solution: Path) -> Path:
    """The model folder around a solution folder that `SolutionVersions.fetch` gave."""
    return solution.parents[1]


def write(solution: Path, model: Path, model_id: str) -> None:
    """Write the model folder around a copy of `solution`."""
    from mlflow import pyfunc
    from mlflow.models import Model

    with warnings.catch_warnings(), _few_packages():
        warnings.filterwarnings("ignore", message=".*input example", category=UserWarning)
        pyfunc.save_model(
            path=str(model),
            python_model=str(SERVING),
            artifacts={"solution": str(solution)},
            signature=_signature(),
            pip_requirements=[f"{p}=={importlib.metadata.version(p)}" for p in _PACKAGES],
            mlflow_model=Model(model_uuid=model_id, model_id=model_id),
        )
    for cache in model.rglob(_BLOCKED):
        shutil.rmtree(cache)
    (model / _BLOCKED).touch()


@contextlib.contextmanager
def _few_packages() -> Iterator[None]:
    """Let MLflow look up our requirements, which are as installed, among themselves.

    It would map every module of every installed package for it, which takes more than a second.
    """
    from mlflow.utils import requirements_utils

    checks: Any = requirements_utils
    if getattr(checks, "_MODULES_TO_PACKAGES", ()) is not None:  # mapped, or a later MLflow's way
        yield
        return
    checks._MODULES_TO_PACKAGES = {package: [package] for package in _PACKAGES}
    try:
        yield
    finally:
        checks._MODULES_TO_PACKAGES = None


def tidy(model: Path) -> None:
    """Drop MLflow's note of which version was loaded; one that says more stays, and is odd."""
    note = model / _NOTE
    try:
        said = yaml.safe_load(note.read_bytes()[:10_000])
    except (OSError, yaml.YAMLError):
        return
    if isinstance(said, dict) and said.keys() == {"model_name", "model_version"}:
        note.unlink()


def as_written(model: Path) -> dict[str, bool]:
    """Every file beside the solution, and whether Lethe would write it so today.

    A missing file is False, and so is "another file" if there are too many: their names are
    somebody else's words. The versions that a file names may differ: tools are updated, and a
    certificate binds the very bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        (empty := Path(folder, "solution")).mkdir()
        write(empty, fresh := Path(folder, "model"), "")
        found, wanted = _contents(model), _contents(fresh)
    answers = {name: found.get(name) == digest for name, digest in wanted.items()}
    return answers | dict.fromkeys(["another file"] if found.keys() - wanted.keys() else [], False)


def _contents(model: Path) -> Mapping[str, str]:
    """A digest of each file beside the solution, links included, without what passes."""
    contents = {}
    for path in sorted(model.rglob("*")):
        name = path.relative_to(model).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            contents[name] = "not a plain file"
        elif path.is_file() and not name.startswith(f"{SOLUTION}/"):
            contents[name] = _content(path, name)
    return contents


def _content(path: Path, name: str) -> str:
    try:
        if name == "MLmodel":
            return sha256_json(_lasting(yaml.safe_load(path.read_text(encoding="utf-8"))))
        if name in _VERSIONED:
            text = path.read_text(encoding="utf-8")
            return sha256_json(re.sub(r"(?<=[=<])[0-9][0-9a-z.]*(?=\n|$)|(?<=: )[0-9.]+", "", text))
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return "not readable"
    return sha256_file(path)


def _lasting(described: Any) -> Any:
    """MLmodel without times, names, sizes, versions and the places where it was written."""
    kept = {name: value for name, value in described.items() if name not in _PASSING}
    pyfunc = {**kept["flavors"]["python_function"]}
    for name in ("python_version", "cloudpickle_version"):
        pyfunc.pop(name)
    pyfunc["model_code_path"] = Path(pyfunc["model_code_path"]).name
    solution = {**pyfunc["artifacts"]["solution"]}
    solution.pop("uri")
    pyfunc["artifacts"] = {**pyfunc["artifacts"], "solution": solution}
    return {**kept, "flavors": {**kept["flavors"], "python_function": pyfunc}}


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    user, item = ColSpec(DataType.string, "user"), ColSpec(DataType.string, "item")
    k = ColSpec(DataType.long, "k", required=False)
    rank, score = ColSpec(DataType.long, "rank"), ColSpec(DataType.double, "score", required=False)
    return ModelSignature(
        inputs=Schema([user, k]),
        outputs=Schema([user, item, rank, score]),
        params=ParamSchema([ParamSpec("k", DataType.long, 10)]),
    )
