"""Trials are fitted shorter than what they lead to, and the best of them are fitted as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lethe.adapters.studies import TrialRecord
from lethe.errors import RecipeFailed
from lethe.nights.learning.tuning import Tuned, best_of, tune_recipe
from lethe.nights.learning.window import Window
from lethe.params import Params
from lethe.solutions import setting
from lethe.solutions.recipes import recipe
from tests.fakes.trained_shop import params, write_training
from tests.kills import Killed


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("shop") / "training"
    return folder, write_training(folder)


def tuned(
    storage: Path, training: tuple[Path, str], chosen: Params
) -> tuple[Tuned, list[TrialRecord]]:
    heard: list[TrialRecord] = []

    def hear(_: str, trial: TrialRecord) -> None:
        heard.append(replace(trial, seconds=0.0))

    return tune_recipe(storage, *training, "als", chosen, None, hear), heard


def spied(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The hyper-parameters of every fit, in order."""
    fits: list[Any] = []
    known = recipe("als")

    def fit(matrix: Any, values: Any, seed: int, progress: Any) -> Any:
        fits.append(values)
        return known.fit(matrix, values, seed, progress)

    monkeypatch.setattr(setting, "recipe", lambda _: replace(known, fit=fit))
    return fits


def test_shortened_trials_are_fitted_shorter_and_the_best_is_fitted_and_judged_as_it_is(
    training: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = spied(monkeypatch)
    rules = {"shortened": {"als": {"iterations": 2, "seal": False}}, "finalists": 1}
    chosen = params(tuning={**params().tuning.model_dump(), **rules})
    found, heard = tuned(tmp_path / "optuna.db", training, chosen)

    *trials, whole = fits
    assert [(fit.iterations, fit.seal) for fit in trials] == [(2, False)] * 4
    assert {trial.params["iterations"] for trial in heard} == {3}
    assert whole == recipe("als").hyperparameters.model_validate(found.hyperparameters)
    assert (whole.iterations, whole.seal) == (3, True)
    window = Window.read(training[0], "validation")
    learned = recipe("als").fit(window.matrix, whole, chosen.seed, None)
    users = window.sample(chosen.tuning.sample_users, chosen.seed)
    assert found.value == window.evaluate(learned, users).means[chosen.promotion.metric]


@pytest.mark.parametrize("finalists", [1, 2, 3, 99])
def test_of_the_best_shortened_trials_the_one_that_is_worth_most_whole_is_chosen(
    training: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finalists: int
) -> None:
    fits = spied(monkeypatch)
    rules = {"shortened": {"als": {"iterations": 1, "seal": False}}, "finalists": finalists}
    chosen = params(tuning={**params().tuning.model_dump(), **rules})
    found, heard = tuned(tmp_path / "optuna.db", training, chosen)

    complete = sorted((t for t in heard if t.state == "complete"), key=lambda t: -t.value)
    some = [dict(trial.params) for trial in complete[:finalists]]
    whole = [recipe("als").hyperparameters.model_validate(values) for values in some]
    assert fits[len(heard) :] == whole
    window = Window.read(training[0], "validation")
    users = window.sample(chosen.tuning.sample_users, chosen.seed)
    metric = chosen.promotion.metric
    values = [
        window.evaluate(recipe("als").fit(window.matrix, one, chosen.seed, None), users).means[
            metric
        ]
        for one in whole
    ]
    assert found.value == max(values)
    assert found.hyperparameters == some[values.index(max(values))]
    assert found.fitted_whole == len(some)
    if finalists == 99:
        assert values.index(max(values)) > 0, "or the best trial were the best in any case"


def test_where_nothing_is_shortened_nothing_is_fitted_again(
    training: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = spied(monkeypatch)
    found, heard = tuned(tmp_path / "optuna.db", training, params())
    assert (len(fits), found.fitted_whole) == (len(heard), 0)


def test_a_finalist_that_fails_or_has_no_value_is_left_out() -> None:
    worth = {1: 0.1, 2: 0.3, 3: 0.3, 4: float("nan")}

    def value_of(values: Any) -> float:
        if values["x"] not in worth:
            raise RecipeFailed("too hard")
        return worth[values["x"]]

    def chosen(*order: int) -> tuple[Any, float]:
        return best_of([{"x": one} for one in order], value_of)

    assert chosen(9, 1, 4, 3, 2) == ({"x": 3}, 0.3)
    assert chosen(4, 1) == ({"x": 1}, 0.1)
    with pytest.raises(RecipeFailed, match="too hard"):
        chosen(9, 9)
    with pytest.raises(RecipeFailed, match="could be fitted whole"):
        chosen(4)


def test_a_shortened_study_killed_at_its_last_fit_ends_as_an_undisturbed_one(
    training: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = {**params().tuning.model_dump(), "shortened": {"als": {"iterations": 2}}}
    chosen = params(tuning=rules)
    whole = tuned(tmp_path / "whole.db", training, chosen)
    known = recipe("als")

    def dies(matrix: Any, values: Any, seed: int, progress: Any) -> Any:
        if values.iterations == 3:
            raise Killed
        return known.fit(matrix, values, seed, progress)

    with monkeypatch.context() as patch:
        patch.setattr(setting, "recipe", lambda _: replace(known, fit=dies))
        with pytest.raises(Killed):
            tuned(tmp_path / "optuna.db", training, chosen)
    assert tuned(tmp_path / "optuna.db", training, chosen) == whole
