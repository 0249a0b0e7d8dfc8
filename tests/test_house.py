"""The house: floors, wings and habits that no reviewer should have to look for."""

from __future__ import annotations

import ast
import builtins
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from conftest import LONGEST_FIRST
from lethe.estate.process import TELEMETRY_OFF
from tests.watched import BIN

ROOT = Path(__file__).parents[1]
CODE = sorted(path for top in ("lethe", "flows") for path in (ROOT / top).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SERVED = ROOT / "lethe" / "adapters" / "serving.py"  # MLflow runs this file by itself
MOST_ROOMS, MOST_LINES = 7, 300
SIGNALS = {"lethe/adapters/studies/searching.py: _Pruned"}  # raised and caught in that one file
TRIGGERS = "lethe/interactions/rights/ledger.py"  # hangs triggers on its own tables, in a loop
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc", "core"}
PICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FAULTS = {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}


def tracked() -> list[Path]:
    """Every file that belongs to the project, as git sees it, new ones included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_files_that_run_first_are_there_and_named_once() -> None:
    assert [name for name in LONGEST_FIRST if not (ROOT / f"tests/{name}.py").is_file()] == []
    assert len(set(LONGEST_FIRST)) == len(LONGEST_FIRST)


def test_a_wing_has_at_most_seven_rooms() -> None:
    wings = {path.parent for path in CODE}
    crowded = {
        named(wing): len(rooms)
        for wing in wings
        if len(rooms := [p for p in wing.glob("*.py") if p.name != "__init__.py"]) > MOST_ROOMS
    }

    assert crowded == {}


def test_no_file_is_long() -> None:
    long = {
        named(path): length
        for path in CODE
        if (length := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }

    assert long == {}


def test_no_file_and_no_class_has_a_name_that_says_nothing() -> None:
    files = {
        named(path) for path in CODE + TESTS if path.stem in VAGUE or path.parent.stem in VAGUE
    }
    classes = {
        f"{named(path)}: {node.name}"
        for path in CODE
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
        and re.search(r"(Utils?|Helpers?|Common|Base|Manager)$", node.name)
    }

    assert files | classes == set()


def bases(node: ast.ClassDef) -> Iterator[str]:
    for base in node.bases:
        yield base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")


def test_exceptions_are_made_in_one_file() -> None:
    ours = {
        node.name
        for node in ast.walk(tree(ROOT / "lethe" / "errors.py"))
        if isinstance(node, ast.ClassDef)
    }
    elsewhere = {
        f"{named(path)}: {node.name}"
        for path in CODE
        if path.name != "errors.py"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
        if any(base in FAULTS | ours or base.endswith("Exception") for base in bases(node))
    }

    assert elsewhere == SIGNALS


def test_every_error_stands_in_the_drawn_tree_with_its_exit_code() -> None:
    from lethe import errors

    drawing = errors.__doc__ or ""
    made = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.LetheError)
    }

    assert all(re.search(rf"\b{name}\b", drawing) for name in made)
    assert {value.exit_code for value in made.values()} == {1, 2, 3}


def test_nothing_is_pickled_or_unpickled() -> None:
    found = set()
    for path in CODE:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                modules = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules = {(node.module or "").split(".")[0]}
            else:
                modules = set()
            if modules & PICKLERS:
                found.add(named(path))
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"np.load", "numpy.load"}:
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                if given.get("allow_pickle") != "False":
                    found.add(f"{named(path)}:{node.lineno}")

    assert found == set()


def test_no_module_does_anything_on_its_own() -> None:
    """Besides imports and definitions, a module may end in `if __name__ == "__main__"`."""
    defined = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    allowed = (ast.Import, ast.ImportFrom, *defined, ast.Assign, ast.AnnAssign)
    found = [
        f"{named(path)}:{node.lineno}"
        for path in CODE
        if path != SERVED
        for node in tree(path).body
        if not isinstance(node, allowed)
        and not (isinstance(node, ast.For) and named(path) == TRIGGERS)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (
            isinstance(node, ast.If)
            and ast.unparse(node.test) in {"TYPE_CHECKING", "__name__ == '__main__'"}
        )
    ]

    assert found == []


IMPORT_ALL = """
import json, os, sys
wrote = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        wrote.append(str(arguments[0]))
    if event in {"os.mkdir", "os.remove", "os.rename", "subprocess.Popen", "socket.connect"}:
        wrote.append(event)
before = dict(os.environ)
sys.addaudithook(watch)
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
changed = sorted(k for k in before.keys() | os.environ.keys()
                 if before.get(k) != os.environ.get(k))
heavy = sorted({"mlflow", "prefect", "optuna", "dvc", "implicit", "lightfm", "matplotlib",
                "pandas", "scipy.sparse", "scipy.linalg"} & set(sys.modules))
print(json.dumps({"wrote": wrote, "environment": changed, "heavy": heavy}))
"""


def test_importing_the_core_writes_nothing_sets_nothing_and_loads_no_heavy_tool() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in CODE
        if path != SERVED and path.is_relative_to(ROOT / "lethe") and path.stem != "__main__"
    ]
    done = subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_ALL, *names],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert json.loads(done.stdout) == {"wrote": [], "environment": [], "heavy": []}


def test_imports_run_downwards_only() -> None:
    done = subprocess.run(
        [str(BIN / "lint-imports"), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_the_lock_file_has_a_hash_for_everything_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())

    assert len(entries) > 50
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert "index-url" not in text


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    # put together here, or this file would be the first to be found
    homes = ("/" + "work/", "/" + "root/", "/" + "home/", "/" + "Users/", "C:" + "\\Users")
    registries = ("pypi" + ".org", "python" + "hosted", "arti" + "factory", "conda." + "anaconda")
    found = {}
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace")
        if hits := [word for word in homes + registries if word in text]:
            found[named(path)] = hits

    assert found == {}


def test_no_tracked_file_is_data_or_a_key() -> None:
    kinds = {".db", ".key", ".pem", ".pub", ".npy", ".npz", ".parquet", ".gz", ".pkl"}

    assert [named(path) for path in tracked() if path.suffix in kinds] == []


def test_every_deployment_names_a_flow_and_parameters_that_exist() -> None:
    document = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    for deployment in document["deployments"]:
        module, function = deployment["entrypoint"].rsplit(".", 1)
        flow = next(
            node
            for node in tree(ROOT / f"{module.replace('.', '/')}.py").body
            if isinstance(node, ast.FunctionDef) and node.name == function
        )
        assert set(deployment["parameters"]) <= {argument.arg for argument in flow.args.args}
        given = deployment["work_pool"]["job_variables"]["env"]
        assert given.items() >= TELEMETRY_OFF.items()
    assert {deployment["name"] for deployment in document["deployments"]} >= {"night", "experiment"}


def test_the_sweep_comes_every_quarter_of_an_hour_under_the_nights_limit() -> None:
    document = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    night, erase = (
        next(one for one in document["deployments"] if one["name"] == name)
        for name in ("night", "erase")
    )

    assert [schedule["cron"] for schedule in erase["schedules"]] == ["*/15 * * * *"]
    assert erase["concurrency_limit"] == night["concurrency_limit"]


@pytest.mark.parametrize("path", TESTS, ids=named)
def test_tests_use_no_mock_library(path: Path) -> None:
    modules = {
        node.module or "" for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)
    } | {
        alias.name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import)
        for alias in node.names
    }

    assert not {"unittest.mock", "mock", "pytest_mock"} & modules
