"""With leave-last-out, tuning and judging are given what lies before it and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lethe.interactions.training.windows import TrainingSet
from lethe.nights.learning.training import CHAMPION, judge
from lethe.nights.learning.tuning import Tuned, tune_recipe
from lethe.nights.learning.window import Window
from lethe.solutions import setting
from lethe.solutions.factors import Manifest
from lethe.solutions.recipes import recipe
from tests.fakes.trained_shop import params, write_training

RULES: dict[str, Any] = {"split": {"kind": "leave_last_out"}}


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("shop") / "training"
    return folder, write_training(folder, **RULES)


def heard(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The digests of all matrices that any fit is given."""
    digests: set[str] = set()

    def listening(name: str) -> Any:
        known = recipe(name)

        def fit(matrix: Any, values: Any, seed: int, progress: Any) -> Any:
            digests.add(matrix.digest)
            return known.fit(matrix, values, seed, progress)

        return replace(known, fit=fit)

    monkeypatch.setattr(setting, "recipe", listening)
    return digests


@pytest.mark.parametrize("name", ["als", "lightfm"])
def test_no_fit_of_a_search_sees_a_users_last_two_moments(
    name: str, training: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = heard(monkeypatch)
    chosen = params(training={**params().training.model_dump(), **RULES})
    found = tune_recipe(tmp_path / "o.db", *training, name, chosen, None, lambda *_: None)
    data = TrainingSet.read(training[0])
    assert digests == {data.matrix("train").digest}
    assert isinstance(found, Tuned)
    for user in range(len(data.users)):
        moments = sorted(data.timestamp[data.user == user].tolist())
        learned = data.timestamp[data.within("train") & (data.user == user)]
        assert learned.max() < moments[-2] < moments[-1]


def test_winner_and_champion_are_fitted_on_the_same_rows_and_judged_on_the_same_people(
    training: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = heard(monkeypatch)
    values = recipe("als").hyperparameters(factors=8, iterations=3)
    champion = Manifest(
        recipe="als",
        hyperparameters=values.model_dump(mode="json"),
        seed=7,
        matrix_digest="0" * 64,
        data_version="v",
        register_position=0,
        register_head="0" * 64,
        environment={},
        definition={},
        names="",
    )
    best = {"lightfm": {"components": 4, "epochs": 1}}
    judged = judge(training[0], params(), best, "lightfm", champion)
    data = TrainingSet.read(training[0])
    assert digests == {data.matrix("train+validation").digest}
    users = {row.name: row.users for row in judged.leaderboard}
    window = Window.read(training[0], "test")
    unseen = window.held_out.csr - window.held_out.csr.multiply(window.matrix.csr > 0)
    assert set(users.values()) == {(unseen.sum(axis=1) > 0).sum()}
    assert {CHAMPION, "lightfm", "popular"} <= users.keys()
    assert judged.judgement.comparisons
