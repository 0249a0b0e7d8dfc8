"""How many faults in the verifier's own code do its tests notice?

    python benchmarks/mutation.py [--only NAME ...] [--into FILE] [--tool COMMAND]

Changes one operator, number, decorator, exception, loop or branch of verification, promotion and
the register at a time, in a copy of the tracked files, and runs the tests of that module. At each
place one change of a kind is drawn (an operator has up to eleven others); annotations are left
out, for nothing evaluates them. Prints the survivors and writes docs/verification-mutation.md.
The tool is cosmic-ray; it is no dependency of the project, and may live in another environment.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROOF, RIGHTS = "tests/gate/proof", "tests/interactions/rights"
FROZEN = "tests/gate/test_frozen.py"
ALGEBRA = tuple(f"{PROOF}/test_{name}.py" for name in ("algebra", "contribution", "mutants"))

# What is changed -> the tests that must notice, the quick ones first.
TARGETS: dict[str, tuple[str, ...]] = {
    "lethe/gate/promotion.py": (
        "tests/gate/test_promotion.py",
        "tests/gate/test_promotion_recovery.py",
        "tests/gate/test_promotion_race.py",
    ),
    "lethe/interactions/rights/register.py": (RIGHTS,),
    "lethe/interactions/rights/ledger.py": (RIGHTS,),
    "lethe/interactions/rights/standing.py": (RIGHTS,),
    "lethe/gate/proof/report.py": (f"{PROOF}/test_report.py", f"{PROOF}/test_layers.py"),
    "lethe/gate/proof/layers.py": (f"{PROOF}/test_layers.py", f"{PROOF}/test_mutants.py"),
    "lethe/gate/proof/verification.py": (f"{PROOF}/test_layers.py", f"{PROOF}/test_mutants.py"),
    "lethe/gate/proof/case.py": (f"{PROOF}/test_layers.py", f"{PROOF}/test_mutants.py"),
    "lethe/gate/proof/certificate.py": (f"{PROOF}/test_certificate.py",),
    "lethe/gate/proof/retained.py": (f"{PROOF}/test_retained.py",),
    "lethe/gate/proof/algebra.py": ALGEBRA,
    "lethe/gate/proof/als/equations.py": ALGEBRA,
    "lethe/gate/proof/als/objective.py": ALGEBRA,
    "lethe/gate/proof/als/stationarity.py": ALGEBRA,
    "lethe/gate/proof/als/contribution.py": ALGEBRA,
    "lethe/gate/proof/als/presence.py": ALGEBRA,
    "lethe/gate/proof/als/controls.py": ALGEBRA,
}
CONFIG = """[cosmic-ray]
module-path = "{module}"
timeout = 120.0
excluded-modules = []
test-command = "{command}"
[cosmic-ray.distributor]
name = "local"
"""


@dataclass(frozen=True)
class Tally:
    """One module: mutants run, mutants noticed, and where the others are."""

    module: str
    run: int
    killed: int
    survivors: tuple[str, ...]


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


def annotations(tree: ast.Module) -> set[int]:
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
        protocol = isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases)
        if protocol or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            lines |= _lines(node)
    return lines


def _lines(node: ast.expr | ast.stmt) -> set[int]:
    return set(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def thin_out(session: Path, source: str, draw: random.Random, most: int) -> int:
    """Leave one change of a kind at each place, at most `most` of them; how many are left."""
    tree = ast.parse(source)
    typed, never = annotations(tree), unevaluated(tree)
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
    return len(kept)


def survivors(session: Path) -> Iterator[str]:
    """Line and operator of each mutant that no test noticed."""
    with sqlite3.connect(session) as database:
        yield from (
            f"{row}: {operator.removeprefix('core/')} in {name or 'the module'}"
            for operator, row, name in database.execute(
                "SELECT operator_name, start_pos_row, definition_name FROM mutation_specs "
                "JOIN work_results USING (job_id) WHERE test_outcome = 'SURVIVED' "
                "ORDER BY start_pos_row, operator_name"
            )
        )


def measure(module: str, seed: int, tool: str, most: int) -> Tally:
    """Mutate one module in a copy and run its tests on every mutant."""
    tests = " ".join((*TARGETS[module], FROZEN))
    command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {tests}"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        root.mkdir()
        copied(root)
        session, config = Path(folder) / "session.sqlite", Path(folder) / "config.toml"
        config.write_text(CONFIG.format(module=module, command=command), encoding="utf-8")
        environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}

        def call(*words: str) -> None:
            subprocess.run(words, cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)

        call(*command.split())  # the tests pass before anything is changed
        call(tool, "init", str(config), str(session))
        count = thin_out(session, (root / module).read_text("utf-8"), random.Random(seed), most)  # noqa: S311
        call(tool, "exec", str(config), str(session))
        left = tuple(survivors(session))
        return Tally(module, count, count - len(left), left)


def page(tallies: list[Tally]) -> str:
    """The document: a table, and every survivor by module and line."""
    run, killed = sum(one.run for one in tallies), sum(one.killed for one in tallies)
    lines = [
        "# The verifier's own tests, measured\n",
        "Written by `benchmarks/mutation.py`; do not edit. A change of a kind at each place.\n",
        "| Module | Mutants | Noticed | Share |",
        "|---|---:|---:|---:|",
        *(f"| `{t.module}` | {t.run} | {t.killed} | {t.killed / t.run:.1%} |" for t in tallies),
        f"| **all** | {run} | {killed} | {killed / run:.1%} |\n",
        "## Survivors\n",
    ]
    for one in tallies:
        lines += [f"- `{one.module}` line {text}" for text in one.survivors]
    return "\n".join(lines) + "\n"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only", nargs="*", default=[], help="parts of module paths")
    options.add_argument("--tool", default="cosmic-ray", help="the command")
    options.add_argument("--most", type=int, default=10_000, help="mutants a module, drawn")
    options.add_argument("--seed", type=int, default=20240301)
    options.add_argument("--into", type=Path, default=ROOT / "docs" / "verification-mutation.md")
    given = options.parse_args()
    tallies = []
    for module in TARGETS:
        if not given.only or any(part in module for part in given.only):
            tallies.append(measure(module, given.seed, given.tool, given.most))
            one = tallies[-1]
            print(f"{module}: {one.killed} of {one.run} noticed", flush=True)
            for text in one.survivors:
                print(f"  line {text}", flush=True)
    given.into.write_text(page(tallies), encoding="utf-8")


if __name__ == "__main__":
    main()
