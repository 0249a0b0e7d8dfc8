"""One contender of `benchmarks/tuning.py`, in a process of its own and under its own Python.

    PYTHON benchmarks/contenders.py NAME FOLDER

FOLDER holds `order.json` (seed, budget in seconds, threads) and the matrices as
`benchmarks/tuning.py` wrote them; only the contender called `lethe` imports Lethe. The clock runs
from before the data is read. A trial counts when it is done, pruned ones as trials only; each that
is better than all before it, by the contender's own measure, is kept with its factors. Written:
`found.json` and `*.npz`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
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


def lethe(clock: Clock) -> None:
    """The search of a night: `lethe.nights.learning.tuning.tune_recipe` on a SQLite study.

    Kept trials are fitted again, off the clock, as the winner would be.
    """
    for tool in ("implicit.cpu.als", "optuna.storages._rdb.storage", "optuna.importance"):
        importlib.import_module(tool)  # imports are nobody's time
    from lethe.adapters.studies import TrialRecord
    from lethe.interactions.training.windows import TrainingSet
    from lethe.nights.learning.tuning import tune_recipe
    from lethe.params import Params
    from lethe.solutions.setting import Setting

    clock.began = time.perf_counter()
    rules = clock.order["params"]
    rules["tuning"] |= {"trials": 10_000, "minutes": clock.budget / 60}
    params = Params.model_validate(rules | {"seed": clock.seed})
    training = Path(clock.order["training"])

    def hear(_: str, record: TrialRecord) -> None:
        value = record.value if record.state == "complete" else float("-inf")
        clock.done(value, record.params)

    tune_recipe(clock.folder / "studies.db", training, "0" * 64, "als", params, None, hear)
    data = TrainingSet.read(training)

    def refit(window: str, values: Mapping[str, Any]) -> tuple[Any, Any]:
        setting = Setting.of("als", values, clock.seed, data.half_life_days)
        faded = replace(data, half_life_days=setting.half_life_days)
        learned: Any = setting.fit(
            faded.matrix("train" if window == "train" else "train+validation")
        )
        return learned.user_factors, learned.item_factors

    clock.write(refit)


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


def optuna_over_implicit(clock: Clock) -> None:
    """implicit's ALS with its 15 iterations, scored by its own evaluation on all users."""
    importlib.import_module("optuna.samplers")  # imports are nobody's time
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.evaluation import ranking_metrics_at_k

    threads = int(clock.order["threads"])
    clock.began = time.perf_counter()
    data = {name: clock.matrix(name) for name in ("train", "validation", "whole")}

    def fitted(window: str, values: Mapping[str, Any]) -> Any:
        model = AlternatingLeastSquares(**values, num_threads=threads, random_state=clock.seed)
        model.fit(data[window], show_progress=False)
        return model

    def objective(trial: Any) -> float:
        values = suggested(trial)
        model = fitted("train", values)
        value = ranking_metrics_at_k(
            model, data["train"], data["validation"], K=10, show_progress=False,
            num_threads=threads,
        )["ndcg"]  # fmt: skip
        clock.done(float(value), values, model.user_factors, model.item_factors)
        return float(value)

    def refit(window: str, values: Mapping[str, Any]) -> tuple[Any, Any]:
        model = fitted(window, values)
        return model.user_factors, model.item_factors

    searched(clock, objective)
    clock.write(refit)


def irspack(clock: Clock) -> None:
    """`IALSRecommender.tune` with its own range, pruning, early stopping and evaluator."""
    import logging

    import optuna
    from irspack import IALSRecommender
    from irspack.evaluation.evaluator import Evaluator

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    quiet = logging.getLogger("irspack")
    quiet.setLevel(logging.ERROR)
    threads = int(clock.order["threads"])
    clock.began = time.perf_counter()
    data = {name: clock.matrix(name) for name in ("train", "validation", "whole")}

    class Watched(Evaluator):  # type: ignore[misc]
        """Hears the score that ends a trial; those of epochs come through `get_target_score`."""

        inside = False

        def get_target_score(self, model: Any) -> float:
            self.inside = True
            try:
                return float(super().get_target_score(model))
            finally:
                self.inside = False

        def get_score(self, model: Any) -> dict[str, float]:
            found: dict[str, float] = super().get_score(model)
            if not self.inside:
                values = {"n_components": model.n_components, "alpha0": model.alpha0,
                          "reg": model.reg, **model.learnt_config}  # fmt: skip
                users, items = model.get_user_embedding(), model.get_item_embedding()
                clock.done(found["ndcg"], values, users, items)
            return found

    IALSRecommender.tune(
        data["train"],
        Watched(data["validation"], cutoff=10, n_threads=threads),
        n_trials=ENDLESS,
        timeout=clock.budget - (time.perf_counter() - clock.began),
        tuning_random_seed=clock.seed,
        logger=quiet,
        n_threads=threads,
        random_seed=clock.seed,
    )

    def refit(window: str, values: Mapping[str, Any]) -> tuple[Any, Any]:
        made = IALSRecommender(data[window], **values, n_threads=threads, random_seed=clock.seed)
        model = made.learn()
        return model.get_user_embedding(), model.get_item_embedding()

    clock.write(refit)


def rectools(clock: Clock) -> None:
    """RecTools' wrapper of implicit's ALS, its recommendations scored by its own nDCG.

    RecTools brings no tuner; this is the loop that its users write.
    """
    import numpy as np
    import pandas as pd

    importlib.import_module("optuna.samplers")
    from implicit.als import AlternatingLeastSquares
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.metrics import NDCG
    from rectools.models import ImplicitALSWrapperModel

    threads = int(clock.order["threads"])
    clock.began = time.perf_counter()

    def table(name: str) -> Any:
        rows = clock.matrix(name).tocoo()
        columns = {Columns.User: rows.row, Columns.Item: rows.col, Columns.Weight: rows.data}
        return pd.DataFrame({**columns, Columns.Datetime: pd.Timestamp("2026-01-01")})

    data = {name: Dataset.construct(table(name)) for name in ("train", "whole")}
    truth = table("validation")
    people = truth[Columns.User].unique()
    measure = NDCG(k=10, divide_by_achievable=True)

    def fitted(window: str, values: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        inner = AlternatingLeastSquares(
            **values, num_threads=threads, random_state=clock.seed, use_gpu=False
        )
        model = ImplicitALSWrapperModel(inner).fit(data[window])
        found = []
        maps = (data[window].user_id_map, data[window].item_id_map)
        for factors, known in zip(model.get_vectors(), maps, strict=True):
            placed = np.empty_like(factors)
            placed[known.external_ids] = factors
            found.append(placed)
        return model, *found

    def objective(trial: Any) -> float:
        values = suggested(trial)
        model, users, items = fitted("train", values)
        lists = model.recommend(people, data["train"], k=10, filter_viewed=True)
        value = float(measure.calc(lists, truth))
        clock.done(value, values, users, items)
        return value

    searched(clock, objective)
    clock.write(lambda window, values: fitted(window, values)[1:])


CONTENDERS: Mapping[str, Callable[[Clock], None]] = {
    "lethe": lethe,
    "optuna": optuna_over_implicit,
    "irspack": irspack,
    "rectools": rectools,
}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    os.environ.setdefault("IRSPACK_NUM_THREADS_DEFAULT", "2")
    CONTENDERS[sys.argv[1]](Clock(Path(sys.argv[2])))
