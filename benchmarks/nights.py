"""Whole nights on every data set at hand, and the generated shop with and without canaries.

    python benchmarks/nights.py [--data ../shared/data]

Runs `lethe night` as a person would, with the default space, in workspaces of their own: the shop's
two nights, those of three more shops without canaries and with them, and one night each on
personalize-sample, ml-100k and online-retail. Writes two sections of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.page import machine, put  # noqa: E402

LETHE = str(Path(sys.executable).with_name("lethe"))
NAMES = ("als", "lightfm", "item_knn", "popular")
METRIC = "normalized_discounted_cumulative_gain_at_10"


def lethe(root: Path, *words: str) -> None:
    """Run a command in a workspace; what it says is not ours to show."""
    subprocess.run([LETHE, *words], cwd=root, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)  # fmt: skip


def night(root: Path) -> tuple[dict[str, Any], float]:
    """One night: the facts of its report, and wall seconds."""
    before = set((root / ".lethe" / "reports").glob("????-*.json"))
    began = time.perf_counter()
    lethe(root, "night")
    seconds = time.perf_counter() - began
    (report,) = set((root / ".lethe" / "reports").glob("????-*.json")) - before
    return dict(json.loads(report.read_text(encoding="utf-8"))), seconds


def shop(root: Path, seed: int, canaries: bool) -> None:
    """A workspace of its own with an invented shop landed."""
    subprocess.run([LETHE, "init", str(root)], check=True, stdout=subprocess.DEVNULL)
    if not canaries:
        params = root / "params.yaml"
        text = params.read_text(encoding="utf-8")
        assert text.count("  share: 0.02") == 1
        params.write_text(text.replace("  share: 0.02", "  share: 0.0 "), encoding="utf-8")
    lethe(root, "sample", "--seed", str(seed))


NO_EXPORTS = ("README.md", "README", "u.genre")
"""What lies beside the exports of a data set; a night would refuse it."""


def real(root: Path, name: str, data: Path) -> None:
    """A workspace with a data set landed, and its example's parameters if it has any."""
    example = ROOT / "examples" / f"{name}.params.yaml"
    more = ["--params", str(example)] if name != "personalize-sample" else []
    subprocess.run([LETHE, "init", str(root), *more], check=True, stdout=subprocess.DEVNULL)
    for path in sorted((data / name).iterdir()):
        if path.name not in NO_EXPORTS:
            shutil.copy(path, root / "data" / "landing" / path.name)


def scores(known: Mapping[str, Any]) -> dict[str, float]:
    """The leaderboard's means by recipe."""
    return {row["name"]: row["mean"] for row in known["leaderboard"]}


def row(name: str, known: Mapping[str, Any], seconds: float) -> str:
    """One line of the table of nights."""
    means, users = scores(known), known["leaderboard"][0]["users"]
    told = " | ".join(f"{means[one]:.4f}" for one in NAMES)
    verdict = known["certificate"]["verdict"]
    return (
        f"| {name} | {users} | {told} | {known['winner']['recipe']} | {verdict}, "
        f"{known['night']['outcome']} | {seconds:.0f} s |"
    )


def whole_nights(folder: Path, data: Path) -> list[str]:
    """The first section's lines."""
    lines = ["| Night | users scored | als | lightfm | item_knn | popular | winner | end | wall |",
             "|---|---:|---:|---:|---:|---:|---|---|---:|"]  # fmt: skip
    root = folder / "shop"
    shop(root, 1, canaries=True)
    lines.append(row("generated shop, first", *night(root)))
    lethe(root, "sample", "--next-day")
    for word in ("erase", "object"):
        lethe(root, word, "--file", f".lethe/requests/{word}.txt")
        (root / f".lethe/requests/{word}.txt").unlink()
    lines.append(row("generated shop, second, with requests", *night(root)))
    for name in ("personalize-sample", "ml-100k", "online-retail"):
        if (data / name).is_dir():
            real(folder / name, name, data)
            lines.append(row(name, *night(folder / name)))
        print(lines[-1], flush=True)
    return lines


def canaries(folder: Path, seeds: Sequence[int]) -> list[str]:
    """The second section's lines: the same shops with and without."""
    lines = ["| Shop of seed | recipe | with canaries | without | difference |",
             "|---:|---|---:|---:|---:|"]  # fmt: skip
    differences: dict[str, list[float]] = {name: [] for name in NAMES}
    for seed in seeds:
        found = {}
        for there in (True, False):
            root = folder / f"shop-{seed}-{there}"
            shop(root, seed, there)
            found[there] = scores(night(root)[0])
        for name in NAMES:
            moved = found[True][name] - found[False][name]
            differences[name].append(moved)
            lines.append(f"| {seed} | {name} | {found[True][name]:.4f} | "
                         f"{found[False][name]:.4f} | {moved:+.4f} |")  # fmt: skip
            print(lines[-1], flush=True)
    for name, each in differences.items():
        lines.append(f"| mean | {name} | | | {statistics.mean(each):+.4f} |")
    return lines


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    given = options.parse_args()
    told = machine(os.getloadavg()[0])
    with tempfile.TemporaryDirectory() as folder:
        put("nights", "\n".join([told, "", *whole_nights(Path(folder), given.data.resolve())]))
        put("canaries", "\n".join(canaries(Path(folder), given.seeds)))


if __name__ == "__main__":
    main()
