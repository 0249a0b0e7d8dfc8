"""The first trial of a first night is the recipe's first guess; of any other, last night's best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lethe.adapters.studies import TrialRecord
from lethe.interactions.training.snapshot import SnapshotRules, build
from lethe.nights.learning.tuning import Hyperparameters, tune_recipe
from lethe.params import Params
from tests.fakes.interaction_store import InteractionStore

SPACE = {
    "factors": {"kind": "int", "low": 8, "high": 100},
    "alpha": {"kind": "float", "low": 1.0, "high": 10.0},
    "iterations": {"kind": "categorical", "choices": [2]},  # the default, 50, is not in it
}


def tuned(folder: Path, first: Hyperparameters | None) -> TrialRecord:
    draw = np.random.default_rng(1)
    rows = [
        (f"{user:032x}", f"item-{draw.integers(20)}", int(draw.integers(10_000)), "view", None)
        for user in range(40)
        for _ in range(30)
    ]
    build(InteractionStore([rows]), frozenset(), SnapshotRules(), folder / "training", 0, "00" * 32)
    params = Params.model_validate({"tuning": {"recipes": {"als": SPACE}, "trials": 1}})
    heard: list[TrialRecord] = []
    tune_recipe(
        folder / "optuna.db",
        folder / "training",
        "d" * 64,
        "als",
        params,
        first,
        lambda _, record: heard.append(record),
    )
    return heard[0]


@pytest.mark.parametrize(
    ("first", "expected"),
    [(None, {"factors": 56, "alpha": 4.5}), ({"factors": 9, "alpha": 2.5}, None)],
)
def test_a_study_begins_with_last_nights_best_or_else_the_recipes_first_guess(
    first: Hyperparameters | None, expected: Hyperparameters | None, tmp_path: Path
) -> None:
    trial = tuned(tmp_path, first)
    assert {**trial.params} == {**(first or expected or {}), "iterations": 2}
