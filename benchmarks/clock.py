"""What every contender of `benchmarks/tuning.py` is held to: its clock, and Optuna's plain loop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SPACE = {"factors": (16, 128), "regularization": (10.0, 200.0), "alpha": (1.0, 10.0)}
"""Lethe's default space of ALS, for those who bring none."""
ENDLESS = 100_000


class Clock:
    """What a contender found, and when."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.order: dict[str, Any] = json.loads((folder / "order.json").read_text())
        self.budget, self.seed = float(self.order["budget"]), int(self.order["seed"])
        self.trials = 0
        self.best = float("-inf")
        self.kept: list[dict[str, Any]] = []
        self.began = time.perf_counter()

    def matrix(self, name: str) -> Any:
        """float32 CSR: `train`, `validation` (aligned with it) or `whole`."""
        from scipy import sparse

        return sparse.load_npz(self.folder / f"{name}.npz").tocsr()

    def over(self) -> bool:
        return time.perf_counter() - self.began > self.budget

    def done(
        self, value: float, params: Mapping[str, Any], users: Any = None, items: Any = None
    ) -> None:
        """A trial that ended now; what ended late does not count."""
        if self.over():
            return
        self.trials += 1
        if value > self.best:
            self.best = value
            seconds = time.perf_counter() - self.began
            kept = {"seconds": seconds, "value": value, "params": dict(params)}
            self.kept.append(kept | {"factors": None if users is None else (+users, +items)})

    def chose(self, params: Mapping[str, Any]) -> None:
        """What the contender hands over in the end, if it chose in time: else the best so far."""
        if not self.over():
            seconds = time.perf_counter() - self.began
            self.kept.append(
                {"seconds": seconds, "value": None, "params": dict(params), "factors": None}
            )

    def write(self, refit: Callable[[str, Mapping[str, Any]], tuple[Any, Any]]) -> None:
        """Off the clock: the factors of what was kept, and the winner fitted on the whole.

        `refit` is given `train` or `whole` and hyper-parameters.
        """
        import numpy as np

        for number, kept in enumerate(self.kept):
            users, items = kept.pop("factors") or refit("train", kept["params"])
            np.savez(self.folder / f"kept-{number}.npz", users=users, items=items)
        if self.kept:
            began = time.perf_counter()
            users, items = refit("whole", self.kept[-1]["params"])
            self.kept[-1]["refit"] = time.perf_counter() - began
            np.savez(self.folder / "winner.npz", users=users, items=items)
        found = {"trials": self.trials, "kept": self.kept}
        (self.folder / "found.json").write_text(json.dumps(found, default=float))


def suggested(trial: Any) -> dict[str, Any]:
    """A point of `SPACE`, each axis on a log scale."""
    values = {
        name: trial.suggest_float(name, *SPACE[name], log=True)
        for name in ("regularization", "alpha")
    }
    return {"factors": trial.suggest_int("factors", *SPACE["factors"], log=True), **values}


def searched(clock: Clock, objective: Callable[[Any], float]) -> None:
    """Optuna as its tutorial has it: TPE, in memory, every trial to its end."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=clock.seed)
    )
    left = clock.budget - (time.perf_counter() - clock.began)
    study.optimize(objective, n_trials=ENDLESS, timeout=left)
