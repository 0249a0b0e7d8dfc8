"""What a night costs: a whole night on real input, beside a bare script that fits the same.

    python benchmarks/night.py [DATA] [--short]        (DATA is ../shared/data)

`--short` takes the last 30 trading days and 2 trials a recipe.

The bare script runs in its own process on the same training set. It fits and scores every trial
of the night's studies with implicit and LightFM alone, pruned where the night pruned, then each
recipe's best on the test window, and the winner on everything. It purges, versions, records,
verifies, replays and reports nothing. The table goes into docs/benchmarks.md.
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.page import put  # noqa: E402

STEPS = ("intake", "purge", "version", "split", "tune", "train", "record", "verify", "promote",
         "retire")  # fmt: skip
CUTOFF = 10
SHORT_DAYS = 30


def night(data: Path, root: Path, short: bool) -> tuple[dict[str, Any], float, float]:
    """One night on online-retail in `root`: its report, wall seconds, peak MiB."""
    command = [str(Path(sys.executable).with_name("lethe"))]
    example = ROOT / "examples" / "online-retail.params.yaml"
    subprocess.run([*command, "init", str(root), "--params", str(example)], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
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


class Rows:
    """The training set's rows; a window becomes a matrix and what its users did next."""

    def __init__(self, folder: Path, maximum_weight: float) -> None:
        import pyarrow.parquet as pq

        table = pq.read_table(folder / "pairs.parquet")
        self.user, self.item, self.time, self.weight = (
            table[name].to_numpy() for name in ("user", "item", "timestamp", "weight")
        )
        self.maximum = maximum_weight

    def matrix(self, until: float) -> tuple[Any, Any, Any]:
        """CSR of all before `until`, and the numbers of its users and its items."""
        from scipy import sparse

        rows = self.time < until
        users, user = np.unique(self.user[rows], return_inverse=True)
        items, item = np.unique(self.item[rows], return_inverse=True)
        csr = sparse.csr_matrix(
            (self.weight[rows], (user, item)), shape=(len(users), len(items)), dtype=np.float32
        )
        csr.sum_duplicates()
        csr.data = np.minimum(csr.data, self.maximum).astype(np.float32)
        return csr, users, items

    def held_out(self, start: float, end: float, users: Any, items: Any) -> dict[int, set[int]]:
        """Row of `users`: columns of `items` in the window."""
        rows = (self.time >= start) & (self.time < end)
        rows &= np.isin(self.user, users) & np.isin(self.item, items)
        found: dict[int, set[int]] = {}
        for row, column in zip(
            np.searchsorted(users, self.user[rows]).tolist(),
            np.searchsorted(items, self.item[rows]).tolist(),
            strict=True,
        ):
            found.setdefault(row, set()).add(column)
        return found


def ndcg(factors: tuple[Any, Any], csr: Any, truth: Mapping[int, set[int]]) -> float:
    """nDCG at 10 over the users of `truth`, what they have already left out."""
    users, items = factors
    discount = 1 / np.log2(np.arange(2, CUTOFF + 2))
    rows = np.array(sorted(truth))
    values = []
    for part in np.array_split(rows, max(1, len(rows) // 500)):
        scores = users[part] @ items.T
        for row, line in zip(part.tolist(), scores, strict=True):
            seen = csr.indices[csr.indptr[row] : csr.indptr[row + 1]]
            wanted = truth[row] - set(seen.tolist())
            if not wanted:
                continue
            line[seen] = -np.inf
            best = np.argpartition(-line, CUTOFF)[:CUTOFF]
            best = best[np.argsort(-line[best], kind="stable")]
            gain = sum(discount[k] for k, item in enumerate(best.tolist()) if item in wanted)
            values.append(gain / discount[: len(wanted)].sum())
    return float(np.mean(values))


def fit(recipe: str, params: Mapping[str, Any], csr: Any, stops: Sequence[int], hear: Any) -> None:
    """Fit up to the last of `stops`; `hear` gets both sides' factors at each of them."""
    if recipe == "als":
        from implicit.cpu.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(
            factors=params["factors"],
            regularization=params["regularization"],
            alpha=params["alpha"],
            iterations=stops[-1],
            random_state=1,
        )

        def callback(iteration: int, *_: Any) -> None:
            if iteration + 1 in stops:
                hear((model.user_factors, model.item_factors))

        model.fit(csr, show_progress=False, callback=callback)
        return
    from lightfm import LightFM

    forest = LightFM(
        no_components=params["components"],
        loss=params.get("loss", "warp"),
        learning_rate=params["learning_rate"],
        item_alpha=params.get("item_alpha", 1e-6),
        user_alpha=params.get("user_alpha", 1e-6),
        random_state=1,
    )
    coo, done = csr.tocoo(), 0
    ones = coo.copy()
    coo.data = coo.data / coo.data.mean()
    ones.data = np.ones_like(coo.data)
    for stop in stops:
        forest.fit_partial(ones, sample_weight=coo, epochs=stop - done, num_threads=1)
        done = stop
        users = np.hstack([forest.user_embeddings, np.ones((csr.shape[0], 1), np.float32)])
        hear((users, np.hstack([forest.item_embeddings, forest.item_biases[:, None]])))


def bare(root: Path, report: Path) -> None:
    """The night's fits and scores, and nothing else; prints seconds, peak and the best score."""
    known = json.loads(report.read_text(encoding="utf-8"))
    began = time.perf_counter()
    snapshot = json.loads((root / "data/training/snapshot.json").read_text(encoding="utf-8"))
    cuts = snapshot["cuts"]
    rows = Rows(root / "data/training", snapshot["rules"]["maximum_weight"])
    csr, users, items = rows.matrix(cuts["validation"])
    truth = rows.held_out(cuts["validation"], cuts["test"], users, items)
    sample = sorted(truth)
    if len(sample) > 1000:
        sample = np.random.default_rng(1).choice(sample, 1000, replace=False).tolist()
    truth = {row: truth[row] for row in sample}
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    whole = {"als": "iterations", "lightfm": "epochs"}
    params_yaml = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    shortened = params_yaml["tuning"].get("shortened", {})
    for trial in known["trials"]:
        recipe, params = trial["recipe"], trial["params"]
        stops = [step for step, _ in trial["steps"]]
        last = {**params, **shortened.get(recipe, {})}[whole[recipe]]
        if trial["state"] == "complete" and last not in stops:
            stops.append(last)
        scores: list[float] = []
        fit(recipe, params, csr, stops, lambda found, to=scores: to.append(ndcg(found, csr, truth)))
        if trial["state"] == "complete":
            best[recipe] = max(best.get(recipe, (-1.0, {})), (scores[-1], params),
                               key=lambda pair: pair[0])  # fmt: skip
    csr, users, items = rows.matrix(cuts["test"])
    truth = rows.held_out(cuts["test"], np.inf, users, items)
    tested: dict[str, float] = {}

    for recipe, (_, params) in best.items():

        def judge(found: tuple[Any, Any], recipe: str = recipe) -> None:
            tested[recipe] = ndcg(found, csr, truth)

        fit(recipe, params, csr, [params[whole[recipe]]], judge)
    winner = max(best, key=lambda recipe: best[recipe][0])
    params = best[winner][1]
    everything, _, _ = rows.matrix(np.inf)
    fit(winner, params, everything, [params[whole[winner]]], lambda _: None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak": peak, "tested": tested}))


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
    if sys.argv[1:2] == ["--bare"]:
        bare(Path(sys.argv[2]), Path(sys.argv[3]))
        return
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
        quiet = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, __file__, "--bare", str(root), str(report)],
            check=True, stdout=subprocess.PIPE, text=True, env=quiet,
        )  # fmt: skip
    text = table(short, known, wall, peak, json.loads(done.stdout.splitlines()[-1]))
    print(text)
    put("night", text)


if __name__ == "__main__":
    main()
