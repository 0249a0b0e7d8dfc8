"""RecTools and LensKit as contenders of `benchmarks/tuning.py`: neither imports Lethe."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.clock import Clock, searched, suggested


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


def lenskit(clock: Clock) -> None:
    """LensKit's implicit ALS, weights as its ratings, its lists scored by its own nDCG.

    Its own tuner runs on Ray; this is the loop that stays within two cores.
    """
    import numpy as np
    import pandas as pd

    importlib.import_module("optuna.samplers")
    from lenskit import batch
    from lenskit.als import ImplicitMFScorer
    from lenskit.data import ItemListCollection, from_interactions_df
    from lenskit.metrics import NDCG, RunAnalysis
    from lenskit.pipeline import topn_pipeline
    from lenskit.training import TrainingOptions

    clock.began = time.perf_counter()

    def table(name: str) -> Any:
        rows = clock.matrix(name).tocoo()
        return pd.DataFrame({"user_id": rows.row, "item_id": rows.col, "rating": rows.data})

    data = {name: from_interactions_df(table(name)) for name in ("train", "whole")}
    truth = ItemListCollection.from_df(table("validation"), ["user_id"])
    people = [user for (user,) in truth.keys()]  # noqa: SIM118 - a collection of lists
    measure = RunAnalysis(NDCG(n=10))

    def fitted(window: str, values: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        scorer = ImplicitMFScorer(
            embedding_size=values["factors"],
            regularization=values["regularization"],
            weight=values["alpha"],
            use_ratings=True,
            user_embeddings="prefer",
        )
        pipeline = topn_pipeline(scorer, n=10)
        pipeline.train(data[window], TrainingOptions(rng=clock.seed))
        learned = pipeline.component("scorer")
        found = []
        for factors, known in (
            (learned.user_embeddings, learned.users), (learned.item_embeddings, learned.items)
        ):  # fmt: skip
            placed = np.empty_like(factors)
            placed[known.ids()] = factors
            found.append(placed)
        return pipeline, *found

    def objective(trial: Any) -> float:
        values = suggested(trial)
        pipeline, users, items = fitted("train", values)
        lists = batch.recommend(pipeline, people, n=10, n_jobs=1)
        value = float(measure.measure(lists, truth).list_summary().loc["NDCG@10", "mean"])
        clock.done(value, values, users, items)
        return value

    searched(clock, objective)
    clock.write(lambda window, values: fitted(window, values)[1:])
