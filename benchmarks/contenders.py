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
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.clock import ENDLESS, Clock, searched, suggested
from benchmarks.toolkits import lenskit, rectools

SEARCHES = 0.75
"""Of Lethe's time, in seconds of trials; the rest must do for all else, and for its finalists."""


def lethe(clock: Clock) -> None:
    """The search of a night: `lethe.nights.learning.tuning.tune_recipe` on a SQLite study.

    It searches for a part of its time and then fits its finalists whole, also on the clock. Kept
    trials are fitted again, off the clock, as the winner would be.
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
    rules["tuning"] |= {"trials": 10_000, "minutes": SEARCHES * clock.budget / 60}
    params = Params.model_validate(rules | {"seed": clock.seed})
    training = Path(clock.order["training"])

    def hear(_: str, record: TrialRecord) -> None:
        value = record.value if record.state == "complete" else float("-inf")
        clock.done(value, record.params)

    found = tune_recipe(clock.folder / "studies.db", training, "0" * 64, "als", params, None, hear)
    clock.chose(found.hyperparameters)
    data = TrainingSet.read(training)

    def refit(window: str, values: Mapping[str, Any]) -> tuple[Any, Any]:
        setting = Setting.of("als", values, clock.seed, data.half_life_days)
        faded = replace(data, half_life_days=setting.half_life_days)
        learned: Any = setting.fit(
            faded.matrix("train" if window == "train" else "train+validation")
        )
        return learned.user_factors, learned.item_factors

    clock.write(refit)


def unfaded(clock: Clock) -> None:
    """The same search without half-lives."""
    clock.order["params"]["tuning"]["half_life_days"] = []
    lethe(clock)


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


CONTENDERS: Mapping[str, Callable[[Clock], None]] = {
    "lethe": lethe,
    "unfaded": unfaded,
    "optuna": optuna_over_implicit,
    "irspack": irspack,
    "rectools": rectools,
    "lenskit": lenskit,
}


if __name__ == "__main__":
    os.environ.setdefault("IRSPACK_NUM_THREADS_DEFAULT", "2")
    CONTENDERS[sys.argv[1]](Clock(Path(sys.argv[2])))
