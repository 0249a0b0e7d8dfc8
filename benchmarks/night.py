"""What a night costs: a whole night on real input, beside a bare script that fits the same.

    python benchmarks/night.py [DATA] [--short]        (DATA is ../shared/data)

`--short` takes the last 30 trading days and 2 trials a recipe.

The bare script (benchmarks/bare.py) runs in its own process on the same training set. The table
goes into docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bare import beside, unfaded  # noqa: E402
from benchmarks.page import put  # noqa: E402

STEPS = ("intake", "purge", "version", "split", "tune", "train", "record", "verify", "promote",
         "retire")  # fmt: skip
SHORT_DAYS = 30


def night(data: Path, root: Path, short: bool) -> tuple[dict[str, Any], float, float]:
    """One night on online-retail in `root`: its report, wall seconds, peak MiB."""
    command = [str(Path(sys.executable).with_name("lethe"))]
    example = ROOT / "examples" / "online-retail.params.yaml"
    subprocess.run([*command, "init", str(root), "--params", str(example)], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    unfaded(root)
    days = sorted((data / "online-retail").glob("*.csv.gz"))
    if short:
        params = root / "params.yaml"
        text = params.read_text(encoding="utf-8")
        assert "trials: 8\n" in text
        params.write_text(text.replace("trials: 8\n", "trials: 2\n"), encoding="utf-8")
    for path in days[-SHORT_DAYS:] if short else days:
        shutil.copy(path, root / "data" / "landing")
    began = time.perf_counter()
    subprocess.run([*command, "night"], cwd=root, check=True)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    (report,) = (root / ".lethe" / "reports").glob("*.json")
    return json.loads(report.read_text(encoding="utf-8")), seconds, peak


def table(
    short: bool, known: Mapping[str, Any], wall: float, peak: float, other: Mapping[str, Any]
) -> str:
    """The Markdown between the markers."""
    timings = known["timings"]
    told = sum(timings.get(step, 0.0) for step in STEPS)
    learning = timings.get("tune", 0.0) + timings.get("train", 0.0)
    board = {row["name"]: row["mean"] for row in known["leaderboard"]}
    pruned = sum(trial["state"] == "pruned" for trial in known["trials"])
    which = f"last {SHORT_DAYS} days (short form)" if short else "all days"
    lines = [
        (f"{os.cpu_count()} cores, {_cpu()}, Python {platform.python_version()}, load at the start "
        f"{os.environ.get('LETHE_BENCH_LOAD', 'not noted')}; {time.strftime('%Y-%m-%d')}."),
        (f"Online-retail, {which}: {known['data']['rows']:,} rows, {known['data']['users']:,} "
        f"users, {known['data']['items']:,} items; {len(known['trials'])} trials, {pruned} pruned; "
        f"outcome: {known['night']['outcome']}."),
        "",
        "| Step | Seconds | Share |",
        "|---|---:|---:|",
        *(f"| {step} | {timings[step]:.1f} | {timings[step] / wall:.0%} |"
          for step in STEPS if step in timings),
        f"| report, starting Prefect, ending | {wall - told:.1f} | {(wall - told) / wall:.0%} |",
        f"| **night** | **{wall:.1f}** | |",
        f"| bare script | {other['seconds']:.1f} | |",
        f"| **night / bare script** | **{wall / other['seconds']:.2f}** | |",
        f"| tune and train / bare script | {learning / other['seconds']:.2f} | |",
        f"| peak memory, night (largest process) | {peak:.0f} MiB | |",
        f"| peak memory, bare script | {other['peak']:.0f} MiB | |",
        "",
        "nDCG at 10 on the test window: "
        + ", ".join(f"{name} {mean:.4f}" for name, mean in board.items())
        + "; bare script: "
        + ", ".join(f"{name} {mean:.4f}" for name, mean in other["tested"].items())
        + ".",
    ]  # fmt: skip
    return "\n".join(lines)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> None:
    """Run both, print the table and write it into the page."""
    short = "--short" in sys.argv
    given = [text for text in sys.argv[1:] if text != "--short"]
    data = Path(given[0]) if given else ROOT.parent / "shared" / "data"
    if not (data / "online-retail").is_dir():
        sys.exit(f"{data} holds no online-retail")
    os.environ["LETHE_BENCH_LOAD"] = f"{os.getloadavg()[0]:.1f}"
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "shop"
        known, wall, peak = night(data, root, short)
        (report,) = (root / ".lethe" / "reports").glob("*.json")
        other = beside(root, report)
    text = table(short, known, wall, peak, other)
    print(text)
    put("night", text)


if __name__ == "__main__":
    main()
