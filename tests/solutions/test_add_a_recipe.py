"""docs/add-a-recipe.md, done: its file and its line, the tests of all recipes, and a night."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.watched import BIN, Shop, environment

pytestmark = pytest.mark.timeout(900)  # an experiment and a night
ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "add-a-recipe.md").read_text(encoding="utf-8")
TABLE = "lethe/solutions/recipes/table.py"
LAYERS = '    layers=("structure", "manifest", "replay"),\n'
Run = Callable[..., subprocess.CompletedProcess[str]]


def shown(mark: str) -> list[str]:
    """The blocks of the guide that stand below this mark."""
    return re.findall(rf"<!-- {re.escape(mark)} -->\n```\w+\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with one file and one line more."""
    house = tmp_path_factory.mktemp("house")
    for part in ("lethe", "flows", "tests"):
        shutil.copytree(ROOT / part, house / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "conftest.py"):
        shutil.copy(ROOT / part, house)
    [(path, text)] = re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", GUIDE, re.DOTALL)
    (house / path).write_text(text, encoding="utf-8")
    [line] = shown(f"line: FURTHER in {TABLE}")
    table = house / TABLE
    before = table.read_text(encoding="utf-8")
    after = re.sub(r"^FURTHER\b.*\n", line, before, flags=re.MULTILINE)
    assert (len(before.splitlines()), len(line.splitlines())) == (len(after.splitlines()), 1)
    assert after != before
    table.write_text(after, encoding="utf-8")
    return house


@pytest.fixture
def run(house: Path, shop: Shop) -> Run:
    """Run a command in a workspace after one night, with the copy in place of the project."""

    def run(*command: str, folder: Path = shop.root) -> subprocess.CompletedProcess[str]:
        known = environment(shop.connections)
        path = f"{house}{os.pathsep}{known['PYTHONPATH']}"
        return subprocess.run(
            command, cwd=folder, env={**known, "PYTHONPATH": path}, input="",
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    return run


def test_the_new_file_keeps_the_rules_of_the_house_and_passes_the_tests_of_all_recipes(
    house: Path, run: Run
) -> None:
    tests = "tests/solutions/test_recipes.py"
    for command in (
        (str(BIN / "ruff"), "check", "-q", "lethe/solutions"),
        (str(BIN / "ruff"), "format", "-q", "--check", "lethe/solutions"),
        (str(BIN / "lint-imports"), "--no-cache"),
        (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests),
    ):
        done = run(*command, folder=house)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "pure_svd" in run(sys.executable, "-m", "pytest", "-q", "--co", tests, folder=house).stdout
    )


def test_it_is_tried_promoted_with_its_layers_and_refused_without(
    house: Path, shop: Shop, run: Run, tmp_path: Path
) -> None:
    experiment, setting, night = shown("run: with the recipe")
    tried = run("bash", "-euc", experiment)
    assert tried.returncode == 0, tried.stderr
    assert "pure_svd" in tried.stdout

    params = yaml.safe_load((shop.root / "params.yaml").read_text(encoding="utf-8"))
    params["tuning"] |= {**yaml.safe_load(setting)["tuning"], "trials": 1}
    # A shop without a champion: eight people are scored, which is the better one would be chance.
    fresh, settings = tmp_path / "fresh", tmp_path / "params.yaml"
    settings.write_text(yaml.safe_dump(params), encoding="utf-8")
    shop.lend(fresh)
    assert run("lethe", "init", str(fresh), "--params", str(settings)).returncode == 0
    sample = ("lethe", "sample", "--days", "30", "--users", "80", "--items", "50")
    assert run(*sample, folder=fresh).returncode == 0
    done = run("bash", "-euc", night, folder=fresh)
    assert done.returncode == 0, done.stderr
    assert "champion: version 1" in done.stdout
    assert "version 1 is VERIFIED" in done.stdout

    file = house / "lethe/solutions/recipes/pure_svd.py"
    whole = file.read_text(encoding="utf-8")
    assert LAYERS in whole
    file.write_text(whole.replace(LAYERS, ""), encoding="utf-8")
    refused = run("lethe", "--json", "verify", folder=fresh)
    assert refused.returncode == 1, refused.stderr
    assert "contribution: did not run" in json.loads(refused.stdout)["error"]
