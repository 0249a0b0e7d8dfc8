"""The night's fits and scores as a bare script: implicit and LightFM alone, nothing else.

    python -m benchmarks.bare WORKSPACE REPORT

For benchmarks/night.py and benchmarks/orchestration.py: on the training set that a night left in
WORKSPACE, it fits and scores every trial that REPORT tells of, pruned where the night pruned, then
each recipe's best on the test window, and the winner on everything. It purges, versions, records,
verifies, replays and reports nothing. Prints seconds, peak MiB and nDCG as one JSON object.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

CUTOFF = 10


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


def unfaded(root: Path) -> None:
    """Let no half-life be searched in a workspace: the script learns from weights as they are."""
    path = root / "params.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings["tuning"]["half_life_days"] = []
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def beside(root: Path, report: Path) -> dict[str, Any]:
    """What `bare` prints, run in a process of its own with one BLAS thread."""
    done = subprocess.run(
        [sys.executable, __file__, str(root), str(report)],
        check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    bare(Path(sys.argv[1]), Path(sys.argv[2]))
