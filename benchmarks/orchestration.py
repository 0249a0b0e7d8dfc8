"""What Prefect, DVC, MLflow, Optuna and Lethe cost around the same fits and scores.

    python -m benchmarks.orchestration [ROWS ...] [--trials N]        (1,000,000 rows, 8 trials)

A first night on a generated shop of about ROWS interactions beside the bare script of
benchmarks/bare.py: the same trials, pruned where the night pruned, and the same refits. Both in
processes of their own, one after the other; seconds are of the wall, from start to end. Whose the
night's seconds are is told by benchmarks/whose.py; a data stage's own seconds, which DVC waits for,
are Lethe's. Memory is the peak of the largest process. The table goes into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import yaml

from benchmarks.bare import beside, unfaded
from benchmarks.page import machine, put
from benchmarks.whose import DVC, FITS, MLFLOW, OPTUNA, PREFECT, PROOF, PURGE, REPORT, REST

ROOT = Path(__file__).resolve().parent.parent
LETHE = str(Path(sys.executable).with_name("lethe"))
DAYS, ROWS_A_SHOPPER, SHOPPERS_AN_ITEM, MOST_ITEMS = 240, 124, 2.5, 4_000
OWNERS = (FITS, PREFECT, DVC, MLFLOW, OPTUNA, PURGE, PROOF, REPORT, REST)
TOOLS = (PREFECT, DVC, MLFLOW, OPTUNA)


@dataclass(frozen=True)
class Measured:
    """A night and the bare script beside it.

    `wall` are seconds from start to end, `spent` the same by owner, `memory` peak MiB of the
    night's largest process, `bare` what the bare script printed, `facts` those of the report.
    """

    wall: float
    spent: Mapping[str, float]
    memory: float
    bare: Mapping[str, Any]
    facts: Mapping[str, Any]


def shop(root: Path, rows: int, trials: int, only: str | None = None) -> None:
    """A workspace with a generated shop of about `rows` interactions landed.

    With `only` no other recipe than that is searched.
    """
    subprocess.run([LETHE, "init", str(root)], check=True, stdout=subprocess.DEVNULL)
    users = max(50, rows // ROWS_A_SHOPPER)
    items = min(max(20, int(users / SHOPPERS_AN_ITEM)), MOST_ITEMS)
    size = ("--days", DAYS, "--users", users, "--items", items)
    subprocess.run(
        [LETHE, "--workspace", str(root), "sample", *map(str, size)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    path = root / "params.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    recipes = settings["tuning"]["recipes"]
    settings["tuning"] |= {
        "trials": trials,
        "recipes": {name: recipes[name] for name in recipes if only in {None, name}},
    }
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def replaced(path: Path, before: str, after: str) -> None:
    """Write `after` in a file wherever `before` stood."""
    text = path.read_text(encoding="utf-8")
    assert before in text, f"{path.name} has changed"
    path.write_text(text.replace(before, after), encoding="utf-8")


def measured(root: Path) -> Measured:
    """One night in the workspace, and the bare script after it; weights fade in neither."""
    unfaded(root)
    # A stage's command here also leaves the stage's seconds.
    replaced(root / "dvc.yaml", "python -m lethe.stages", f"bash {root.parent / 'stage.sh'}")
    stages, spent = root.parent / "stages.txt", root.parent / "spent.json"
    (root.parent / "stage.sh").write_text(
        f'begin=$(date +%s.%N)\npython -m lethe.stages "$1"\ncode=$?\n'
        f'echo "$begin $(date +%s.%N)" >> {stages}\nexit $code\n',
        encoding="ascii",
    )
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.whose", str(root), str(began), str(spent)], cwd=ROOT
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) not in {0, 1}:  # a refusal cost what a promotion costs
        raise SystemExit("the night failed")
    owners = json.loads(spent.read_text(encoding="utf-8"))
    owners[PREFECT] += wall - sum(owners.values())  # the process's end
    for line in stages.read_text(encoding="ascii").splitlines():
        begin, end = map(float, line.split())
        owners[DVC] -= end - begin
        owners[PURGE] += end - begin
    (report,) = (root / ".lethe" / "reports").glob("*.json")
    facts = json.loads(report.read_text(encoding="utf-8"))
    return Measured(wall, owners, usage.ru_maxrss / 1024, beside(root, report), facts)


def table(found: Sequence[Measured], load: float) -> str:
    """The section of the page, a column for each size; shares are of the bare script's seconds."""
    cells: dict[str, list[str]] = {}

    def line(name: str, *values: str) -> None:
        cells.setdefault(name, []).extend(values)

    for one in found:
        whole = float(one.bare["seconds"])
        for owner in OWNERS:
            seconds = one.spent.get(owner, 0.0)
            line(owner, f"{seconds:.1f}", f"{seconds / whole:.2f}")
        tools = sum(one.spent.get(owner, 0.0) for owner in TOOLS)
        line("**night**", f"**{one.wall:.1f}**", f"**{one.wall / whole:.2f}**")
        line("bare script", f"{whole:.1f}", "1.00")
        line("the four tools", f"{tools:.1f}", f"{tools / whole:.2f}")
        line("night, times itself without them", f"{one.wall / (one.wall - tools):.2f}", "")
        line("fits, scores and the four tools", f"{tools + one.spent[FITS]:.1f}",
             f"{(tools + one.spent[FITS]) / whole:.2f}")  # fmt: skip
        line("peak memory, night (largest process), MiB", f"{one.memory:,.0f}", "")
        line("peak memory, bare script, MiB", f"{one.bare['peak']:,.0f}", "")
    sizes = [f"{one.facts['data']['rows']:,} rows: s | of the bare script" for one in found]
    told = (
        f"{one.facts['data']['rows']:,} rows, {one.facts['data']['users']:,} users, "
        f"{one.facts['data']['items']:,} items: {len(one.facts['trials'])} trials, "
        f"{sum(trial['state'] == 'pruned' for trial in one.facts['trials'])} pruned, "
        f"{one.facts['night']['outcome']}."
        for one in found
    )
    rows = (f"| {name} | {' | '.join(values)} |" for name, values in cells.items())
    return "\n".join([
        machine(load), *told, "",
        f"| Whose | {' | '.join(sizes)} |", f"|---|{'---:|---:|' * len(found)}", *rows,
    ])  # fmt: skip


def main() -> None:
    """Measure each size, print the table and write it into the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", type=int, default=[1_000_000])
    parser.add_argument("--trials", type=int, default=8)
    asked = parser.parse_args()
    load, found = os.getloadavg()[0], list[Measured]()
    for rows in asked.rows:
        with tempfile.TemporaryDirectory() as place:
            shop(Path(place) / "shop", rows, asked.trials)
            found.append(measured(Path(place) / "shop"))
    text = table(found, load)
    print(text)
    put("orchestration", text)


if __name__ == "__main__":
    main()
