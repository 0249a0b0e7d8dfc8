"""How many faults in the verifier's own code do its tests notice?

    python benchmarks/mutation.py [--only NAME ...] [--keep FOLDER] [--into FILE] [--tool COMMAND]

Changes one operator, number, decorator, exception, loop or branch of verification, promotion and
the register at a time, in a copy of the tracked files, and runs the tests of that module. At each
place one change of a kind is drawn (an operator has up to eleven others); annotations are left
out, for nothing evaluates them. Law tests run derandomized and do not shrink what they find.

Prints the survivors and writes docs/verification-mutation.md from everything in `--keep`, one file
for each module, so that modules may be measured one at a time or side by side. Survivors that
cannot change what the code does stand in benchmarks/survivors.py, each with its reason.
The tool is cosmic-ray; it is no dependency of the project, and may live in another environment.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.survivors import Survivor, Tally, file_of, kept, page, told  # noqa: E402

PROOF, RIGHTS = "tests/gate/proof", "tests/interactions/rights"
FROZEN = "tests/gate/test_frozen.py"


def _of(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/test_{name}.py" for name in names)


ALGEBRA = _of(PROOF, "algebra", "als_layers", "contribution", "mutants")
EQUATIONS = _of(PROOF, "als_layers", "mutants")
PRESENCE = _of(PROOF, "presence", "als_layers", "contribution", "mutants")
SHARES = _of(PROOF, "contribution", "als_layers", "presence", "mutants")
LAYERS = _of(PROOF, "told", "layers", "findings", "mutants")
REGISTER = _of(RIGHTS, "ledger", "register", "progress")

# What is changed -> the tests that must notice, the quick ones first.
TARGETS: dict[str, tuple[str, ...]] = {
    "lethe/gate/promotion.py": _of(
        "tests/gate", "promotion", "promotion_again", "promotion_recovery", "promotion_race"
    ),
    "lethe/interactions/rights/register.py": REGISTER,
    "lethe/interactions/rights/ledger.py": REGISTER,
    "lethe/interactions/rights/standing.py": _of(RIGHTS, "standing_table", "standing", "register"),
    "lethe/interactions/rights/progress.py": _of(RIGHTS, "progress", "standing", "register"),
    "lethe/interactions/rights/merges.py": _of(RIGHTS, "merges"),
    "lethe/interactions/rights/deadlines.py": _of(RIGHTS, "standing", "progress"),
    "lethe/interactions/rights/identity.py": _of(RIGHTS, "identity"),
    "lethe/gate/proof/report.py": _of(
        PROOF, "told", "report", "layers", "findings", "named_layers"
    ),
    "lethe/gate/proof/layers.py": LAYERS,
    "lethe/gate/proof/verification.py": LAYERS,
    "lethe/gate/proof/case.py": LAYERS,
    "lethe/gate/proof/certificate.py": _of(PROOF, "certificate"),
    "lethe/gate/proof/retained.py": _of(PROOF, "definition", "faded", "retained"),
    "lethe/gate/proof/algebra.py": ALGEBRA,
    "lethe/gate/proof/als/equations.py": EQUATIONS,
    "lethe/gate/proof/als/objective.py": EQUATIONS,
    "lethe/gate/proof/als/stationarity.py": EQUATIONS,
    "lethe/gate/proof/als/contribution.py": SHARES,
    "lethe/gate/proof/als/presence.py": PRESENCE,
    "lethe/gate/proof/als/controls.py": SHARES,
    "lethe/gate/proof/als/faintness.py": _of(PROOF, "faintness"),
    "lethe/interactions/training/fading.py": _of("tests/interactions/training", "fading"),
}
CONFIG = """[cosmic-ray]
module-path = "{module}"
timeout = {timeout:.0f}.0
excluded-modules = []
test-command = "{command}"
[cosmic-ray.distributor]
name = "local"
"""


# Appended to the copy's conftest.py: a law that fails has done its work.
PROFILE = """
from hypothesis import Phase, settings
settings.register_profile(
    "mutation", database=None, derandomize=True, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("mutation")
"""


def copied(into: Path) -> None:
    """The tracked files, as they are in the work tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, into / name, follow_symlinks=False)


def annotated(tree: ast.Module) -> set[int]:
    """Lines whose `|` stands in an annotation."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            parts = [node.returns, *(one.annotation for one in arguments)]
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        for part in parts:
            if part is not None and "|" in ast.unparse(part):
                lines |= _lines(part)
    return lines


def unevaluated(tree: ast.Module) -> set[int]:
    """Lines of protocols and of imports for the type checker: nothing ever runs them."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
            lines |= _lines(node)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            lines |= _lines(node)
    return lines


def _lines(node: ast.expr | ast.stmt) -> set[int]:
    return set(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def thin_out(session: Path, source: str, draw: random.Random, most: int) -> None:
    """Leave one change of a kind at each place, at most `most` of them."""
    tree = ast.parse(source)
    typed, never = annotated(tree), unevaluated(tree)
    with sqlite3.connect(session) as database:
        rows = database.execute(
            "SELECT job_id, operator_name, start_pos_row, start_pos_col FROM mutation_specs "
            "ORDER BY start_pos_row, start_pos_col, operator_name, job_id"
        ).fetchall()
        places: dict[tuple[str, int, int], list[str]] = {}
        for job, operator, row, column in rows:
            kind = "_".join(operator.split("_")[:2])
            if row not in never and not ("BitOr" in kind and row in typed):
                places.setdefault((kind, row, column), []).append(job)
        kept = {draw.choice(jobs) for jobs in places.values()}
        kept = set(draw.sample(sorted(kept), min(most, len(kept))))
        for job, *_ in rows:
            if job not in kept:
                for name in ("mutation_specs", "work_items"):
                    database.execute(f"DELETE FROM {name} WHERE job_id = ?", (job,))  # noqa: S608


def survivors(session: Path, source: str) -> Iterator[Survivor]:
    """Each mutant that no test noticed."""
    lines = source.splitlines()
    with sqlite3.connect(session) as database:
        for operator, row, name in database.execute(
            "SELECT operator_name, start_pos_row, definition_name FROM mutation_specs "
            "JOIN work_results USING (job_id) WHERE test_outcome = 'SURVIVED' "
            "ORDER BY start_pos_row, operator_name"
        ):
            text, kind = lines[row - 1].strip(), operator.removeprefix("core/")
            yield Survivor(row, text, kind, name or "the module")


def made(session: Path) -> int:
    """Mutants that were run: the tool cannot make some, of dotted names in an `except`."""
    query = "SELECT count(*) FROM work_results WHERE test_outcome IN ('KILLED', 'SURVIVED')"
    with sqlite3.connect(session) as database:
        return int(database.execute(query).fetchone()[0])


def measure(module: str, seed: int, tool: str, most: int) -> Tally:
    """Mutate one module in a copy and run its tests on every mutant."""
    tests = ["-q", "-x", "-p", "no:cacheprovider", *TARGETS[module], FROZEN]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        root.mkdir()
        copied(root)
        with (root / "conftest.py").open("a", encoding="utf-8") as settings:
            settings.write(PROFILE)
        session, config = Path(folder) / "session.sqlite", Path(folder) / "config.toml"
        environment = os.environ | {"PYTHONPATH": str(root)}

        def call(*words: str) -> None:
            subprocess.run(words, cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)

        with warmed(Path(folder) / "socket", root, environment) as ask:
            began = time.monotonic()
            call(*ask, *tests)  # they pass before anything is changed
            patience = 20 + 3 * (time.monotonic() - began)
            command = " ".join((*ask, *tests))
            text = CONFIG.format(module=module, command=command, timeout=patience)
            config.write_text(text, encoding="utf-8")
            source = (root / module).read_text("utf-8")
            call(tool, "init", str(config), str(session))
            thin_out(session, source, random.Random(seed), most)  # noqa: S311
            call(tool, "exec", str(config), str(session))
            call(*ask, *tests[:5])  # and still do: nothing else made them fail meanwhile
        left, run = tuple(survivors(session, source)), made(session)
        return Tally(module, run, run - len(left), seed, left)


@contextlib.contextmanager
def warmed(address: Path, root: Path, environment: dict[str, str]) -> Iterator[tuple[str, ...]]:
    """The words that run pytest in a fork of one that has done its imports."""
    warm = str(ROOT / "benchmarks" / "warm.py")
    words = [sys.executable, warm, "serve", str(address)]
    with subprocess.Popen(words, cwd=root, env=environment) as server:
        try:
            while not address.exists():
                if server.poll() is not None:
                    raise RuntimeError("the server of forks did not start")
                time.sleep(0.1)
            yield sys.executable, "-S", warm, "run", str(address)
        finally:
            server.terminate()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only", nargs="*", default=[], help="parts of module paths")
    options.add_argument("--tool", default="cosmic-ray", help="the command")
    options.add_argument("--most", type=int, default=10_000, help="mutants a module, drawn")
    options.add_argument("--seed", type=int, default=20240301)
    options.add_argument("--keep", type=Path, default=None, help="results of earlier runs")
    options.add_argument("--into", type=Path, default=ROOT / "docs" / "verification-mutation.md")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as fresh:
        folder = given.keep or Path(fresh)
        folder.mkdir(parents=True, exist_ok=True)
        for module in TARGETS:
            if not given.only or any(part in module for part in given.only):
                one = measure(module, given.seed, given.tool, given.most)
                text = json.dumps(dataclasses.asdict(one), indent=1)
                file_of(folder, module).write_text(text, encoding="utf-8")
                told(one)
        given.into.write_text(page(kept(folder, TARGETS)), encoding="utf-8")


if __name__ == "__main__":
    main()
