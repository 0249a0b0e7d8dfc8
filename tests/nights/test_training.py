"""The winner is picked on the validation window, and the champion learns nothing from the test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lethe.errors import BadConfiguration, RecipeFailed
from lethe.estate.workspace import Workspace
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.interactions.training.windows import TrainingSet
from lethe.nights.learning import training
from lethe.nights.learning.training import CHAMPION, judge, refit, train
from lethe.nights.learning.tuning import Tuned
from lethe.nights.learning.window import Window
from lethe.solutions import setting
from lethe.solutions.factors import Manifest, read_solution
from lethe.solutions.recipes import AtRest, recipe
from lethe.solutions.setting import FURTHER, Setting
from tests.fakes.trained_shop import params, write_training

GOOD = {"factors": 8, "regularization": 1.0, "iterations": 10}
POOR = {"components": 2, "epochs": 1, "learning_rate": 0.001}
HEAD = (4, "c" * 64)
DATA = "d" * 32 + ".dir"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("shop"))
    write_training(made.training)
    return made


def best_of(name: str, values: dict[str, Any], value: float) -> Tuned:
    return Tuned(name, f"{name}-study", values, value, 4, 0, 0)


def manifest_of(workspace: Workspace, values: dict[str, Any], seed: int = 99) -> Manifest:
    data = TrainingSet.read(workspace.training)
    return refit(data, params(), Setting.of("als", values, seed), DATA, HEAD).manifest


def test_the_winner_is_picked_on_the_validation_window_whatever_the_test_says(
    workspace: Workspace,
) -> None:
    """ALS is far better on the test window, and LightFM was better on validation."""
    tuned = [best_of("als", GOOD, 0.30), best_of("lightfm", POOR, 0.31)]
    made = train(workspace, params(), tuned, DATA, HEAD, None)
    assert made.recipe == "lightfm"
    scores = {row["name"]: row["mean"] for row in made.leaderboard}
    assert scores["als"] > 1.5 * scores["lightfm"]
    assert made.metrics[made.metric] == scores["lightfm"]


def test_the_stored_solution_is_a_cold_fit_on_everything(workspace: Workspace) -> None:
    made = train(workspace, params(), [best_of("als", GOOD, 0.3)], DATA, HEAD, None)
    stored = read_solution(Path(made.folder))
    whole = TrainingSet.read(workspace.training).matrix("all")
    assert stored.users == whole.users
    assert stored.items == whole.items
    assert stored.manifest.matrix_digest == whole.digest
    assert (stored.manifest.register_position, stored.manifest.register_head) == HEAD
    assert stored.manifest.definition == params().training.model_dump(mode="json")
    fit = recipe("als")
    values = fit.hyperparameters.model_validate(dict(stored.manifest.hyperparameters))
    again: Any = fit.fit(whole, values, stored.manifest.seed, None)
    assert again.digests() == stored.factors.digests()
    assert made.hyperparameters == dict(stored.manifest.hyperparameters)


def test_what_is_stored_was_trained_until_it_was_at_rest_and_says_how_long_that_was(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def at_rest(matrix: InteractionMatrix, _: int) -> AtRest:
        assert matrix.digest == TrainingSet.read(workspace.training).matrix("all").digest

        def answer(values: Any, _: object) -> bool:
            asked.append(values.further_iterations)
            return len(asked) == 3

        return answer

    monkeypatch.setattr(training, "at_rest", at_rest)
    made = train(workspace, params(), [best_of("als", GOOD, 0.3)], DATA, HEAD, None)
    assert made.hyperparameters["iterations"] == GOOD["iterations"]
    assert made.hyperparameters[FURTHER] == asked[-1]
    assert asked[-1] > asked[0] == 0
    assert read_solution(Path(made.folder)).manifest.hyperparameters == made.hyperparameters


def test_the_champion_is_fitted_on_what_tonights_recipes_are_fitted_on(
    workspace: Workspace,
) -> None:
    """Its stored factors have seen the test window: scored with them it could not be beaten."""
    champion = manifest_of(workspace, GOOD)
    judged = judge(workspace.training, params(), {"als": GOOD}, "als", champion)
    shown = {row.name: row.mean for row in judged.leaderboard}[CHAMPION]
    window, metric = Window.read(workspace.training, "test"), params().promotion.metric
    fit = recipe("als")
    values = fit.hyperparameters.model_validate(GOOD)
    fair = window.evaluate(fit.fit(window.matrix, values, 99, None)).means[metric]
    whole = TrainingSet.read(workspace.training).matrix("all")
    leaking = window.evaluate(_aligned(fit.fit(whole, values, 99, None), whole, window))
    assert shown == fair
    assert leaking.means[metric] > 1.2 * shown


def _aligned(learned: Any, whole: Any, window: Window) -> Any:
    """Stored factors in the rows and columns of the window's matrix."""
    rows = [whole.users.index(user) for user in window.matrix.users]
    columns = [whole.items.index(item) for item in window.matrix.items]

    class Stored:
        def scores(self, asked: Any) -> Any:
            return learned.scores([rows[row] for row in asked.tolist()])[:, columns]

    return Stored()


def test_the_same_recipe_as_the_champions_is_fitted_once_and_ties(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = manifest_of(workspace, GOOD, seed=params().seed)
    assert champion.hyperparameters[FURTHER] != 0
    fits: list[str] = []

    def counted(name: str) -> Any:
        found = recipe(name)

        def fit(*arguments: Any) -> Any:
            fits.append(name)
            return found.fit(*arguments)

        return replace(found, fit=fit)

    monkeypatch.setattr(setting, "recipe", counted)
    judged = judge(workspace.training, params(), {"als": GOOD}, "als", champion)
    shown = {row.name: row.mean for row in judged.leaderboard}
    assert shown["als"] == shown[CHAMPION]
    assert fits.count("als") == 1


def failing(name: str) -> Any:
    """The table of recipes, in which the one called `name` cannot be fitted."""

    def fails(*_: Any) -> Any:
        raise RecipeFailed(f"{name}: the fit diverged in epoch 1")

    return lambda asked: replace(recipe(asked), fit=fails) if asked == name else recipe(asked)


def test_a_contender_that_fails_is_left_out_and_a_winner_that_fails_ends_the_night(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setting, "recipe", failing("lightfm"))
    best = {"als": GOOD, "lightfm": POOR}
    judged = judge(workspace.training, params(), best, "als", None)
    assert "lightfm" not in {row.name for row in judged.leaderboard}
    assert judged.judgement.accepted
    with pytest.raises(RecipeFailed, match="diverged"):
        judge(workspace.training, params(), best, "lightfm", None)


def test_a_baseline_that_must_be_beaten_and_fails_refuses(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setting, "recipe", failing("popular"))
    judged = judge(workspace.training, params(), {"als": GOOD}, "als", None)
    assert not judged.judgement.accepted


def test_a_winner_that_the_rule_refuses_makes_way_for_the_champions_setting_trained_anew(
    workspace: Workspace,
) -> None:
    champion = manifest_of(workspace, GOOD)
    tuned = [best_of("lightfm", POOR, 0.31)]
    made = train(workspace, params(), tuned, DATA, HEAD, champion)
    assert made.accepted
    assert "fell from" in made.set_aside[0]
    assert (made.recipe, made.hyperparameters, made.seed) == ("als", champion.hyperparameters, 99)
    shown = {row["name"]: row["mean"] for row in made.leaderboard}
    assert made.metrics[made.metric] == shown[CHAMPION] > shown["lightfm"]
    stored = read_solution(Path(made.folder))
    assert (stored.manifest.recipe, stored.manifest.seed) == ("als", 99)
    whole = TrainingSet.read(workspace.training).matrix("all")
    assert stored.manifest.matrix_digest == whole.digest
    assert made.set_aside[0] in made.headline


def test_a_winner_that_the_rule_accepts_is_taken_whatever_the_champion(
    workspace: Workspace,
) -> None:
    poor = manifest_of(workspace, {**GOOD, "iterations": 1})
    made = train(workspace, params(), [best_of("als", GOOD, 0.3)], DATA, HEAD, poor)
    assert made.accepted
    assert not made.set_aside
    assert made.seed == params().seed


@pytest.mark.parametrize("champion_beats", [True, False])
def test_the_champions_setting_is_held_to_the_baselines_like_any_other(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, champion_beats: bool
) -> None:
    """A baseline that cannot be scored is beaten by nobody: the winner stands refused."""
    champion = manifest_of(workspace, GOOD)
    if not champion_beats:
        monkeypatch.setattr(setting, "recipe", failing("popular"))
    judged = judge(workspace.training, params(), {"lightfm": POOR}, "lightfm", champion)
    assert judged.judgement.accepted is champion_beats
    assert bool(judged.set_aside) is champion_beats


def test_without_a_study_the_champions_setting_is_trained_anew_and_judged_like_any_other(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = manifest_of(workspace, GOOD)
    made = train(workspace, params(), [], DATA, HEAD, champion)
    assert made.accepted
    assert not made.searched
    assert (made.recipe, made.hyperparameters, made.seed) == ("als", champion.hyperparameters, 99)
    shown = {row["name"]: row["mean"] for row in made.leaderboard}
    assert made.metrics[made.metric] == shown[CHAMPION] > shown["popular"]
    assert "als" not in shown
    assert "nothing new but requests" in made.headline
    whole = TrainingSet.read(workspace.training).matrix("all")
    assert read_solution(Path(made.folder)).manifest.matrix_digest == whole.digest
    monkeypatch.setattr(setting, "recipe", failing("popular"))
    refused = train(workspace, params(), [], DATA, HEAD, champion)
    assert not refused.accepted
    assert refused.reasons


def test_without_a_study_and_a_champion_there_is_nothing_to_train(workspace: Workspace) -> None:
    with pytest.raises(BadConfiguration, match="no recipe was tuned"):
        train(workspace, params(), [], DATA, HEAD, None)


def test_a_baseline_is_never_stored(workspace: Workspace) -> None:
    data = TrainingSet.read(workspace.training)
    with pytest.raises(RecipeFailed, match="learns no factors"):
        refit(data, params(), Setting.of("item_knn", {}, 1), DATA, HEAD)
