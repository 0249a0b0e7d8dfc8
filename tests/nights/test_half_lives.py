"""A search chooses how weights fade, the winner is trained and recorded so, and judged by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lethe.adapters.studies import TrialRecord
from lethe.estate.workspace import Workspace
from lethe.interactions.training.windows import TrainingSet
from lethe.nights.learning.training import champions, judge, train
from lethe.nights.learning.tuning import Tuned, tune_recipe
from lethe.nights.learning.window import Window
from lethe.params import Params
from lethe.solutions.factors import read_solution
from lethe.solutions.recipes import RECIPES, recipe
from lethe.solutions.setting import HALF_LIFE, Setting
from tests.fakes.fading_shop import (
    DATA,
    HEAD,
    OFFERED,
    best_of,
    fading,
    heard_fits,
    manifest_of,
    matrix,
    shop_at,
)
from tests.fakes.trained_shop import write_training


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return shop_at(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return heard_fits(monkeypatch)


def as_days(value: Any) -> float | None:
    return None if value is None else float(value)


def searched(
    workspace: Workspace, place: Path, chosen: Params, first: dict[str, Any] | None = None
) -> tuple[Tuned, list[TrialRecord]]:
    trials: list[TrialRecord] = []

    def hear(_: str, trial: TrialRecord) -> None:
        trials.append(trial)

    training = workspace.training
    found = tune_recipe(place / "o.db", training, "a" * 64, "als", chosen, first, hear)
    return found, trials


def test_each_trial_learns_from_weights_that_fade_as_it_says(
    workspace: Workspace, tmp_path: Path, fitted: list[str]
) -> None:
    found, trials = searched(workspace, tmp_path, fading(*OFFERED))
    told = [trial.params[HALF_LIFE] for trial in trials]
    assert fitted == [matrix(workspace, as_days(days), "train").digest for days in told]
    assert len(set(fitted)) > 1
    assert set(told) <= set(OFFERED)
    best = max((t for t in trials if t.state == "complete"), key=lambda trial: trial.value)
    assert found.hyperparameters == best.params


def test_the_best_is_worth_what_it_reaches_on_the_unfaded_window(
    workspace: Workspace, tmp_path: Path
) -> None:
    chosen = fading(*OFFERED)
    found, _ = searched(workspace, tmp_path, chosen)
    window = Window.read(workspace.training, "validation")
    made = window.fit(Setting.of("als", found.hyperparameters, chosen.seed))
    users = window.sample(chosen.tuning.sample_users, chosen.seed)
    assert window.evaluate(made, users).means[chosen.promotion.metric] == found.value
    held_out = TrainingSet.read(workspace.training).held_out("validation", window.matrix).csr
    assert (window.held_out.csr != held_out).nnz == 0


def test_a_search_begins_with_the_shortest_and_another_night_with_the_nearest_to_its_best(
    workspace: Workspace, tmp_path: Path
) -> None:
    for first, began in ((None, 12.0), ({HALF_LIFE: 13.0}, 25.0), ({HALF_LIFE: None}, None)):
        place = tmp_path / str(began)
        place.mkdir()
        _, trials = searched(workspace, place, fading(*OFFERED, trials=1), first)
        assert trials[0].params[HALF_LIFE] == began


def test_the_first_guess_is_tried_under_each_half_life_so_that_no_search_is_worse_for_them(
    workspace: Workspace, tmp_path: Path
) -> None:
    guess = {"factors": 12, "regularization": 2.0, "iterations": 3, HALF_LIFE: 12.0}
    found, trials = searched(workspace, tmp_path, fading(*OFFERED), guess)
    guesses = trials[: len(OFFERED)]
    assert {trial.params[HALF_LIFE] for trial in guesses} == set(OFFERED)
    assert len({tuple(sorted({**t.params, HALF_LIFE: 0}.items())) for t in guesses}) == 1
    (tmp_path / "without").mkdir()
    _, alone = searched(workspace, tmp_path / "without", fading(trials=1), guess)
    plain = next(trial for trial in guesses if trial.params[HALF_LIFE] is None)
    assert plain.value == alone[0].value
    assert found.value >= plain.value


@pytest.mark.parametrize(
    ("chosen", "used"),
    [
        (fading(), None),
        (fading(None, 9.0, 41.0), None),
        (fading(12.0), 12.0),
        (fading(*OFFERED, fixed=3.0), 3.0),
    ],
)
def test_where_there_is_nothing_to_choose_every_trial_fades_alike(
    chosen: Params, used: float | None, workspace: Workspace, tmp_path: Path, fitted: list[str]
) -> None:
    """Too short, too long, alone, or fixed by the rules of training."""
    made = Workspace(tmp_path)
    write_training(made.training, half_life_days=chosen.training.half_life_days)
    found, trials = searched(made, tmp_path, replace_trials(chosen, 2))
    assert {trial.params.get(HALF_LIFE) for trial in trials} == {used}
    assert found.hyperparameters.get(HALF_LIFE) == used
    assert set(fitted) == {matrix(workspace, used, "train").digest}
    stored = train(made, replace_trials(chosen, 2), [found], DATA, HEAD, None)
    assert stored.half_life_days == used


def replace_trials(chosen: Params, trials: int) -> Params:
    return chosen.model_copy(update={"tuning": chosen.tuning.model_copy(update={"trials": trials})})


@pytest.mark.parametrize("days", OFFERED)
def test_the_winner_is_trained_and_recorded_as_it_won(
    days: float | None, workspace: Workspace
) -> None:
    made = train(workspace, fading(*OFFERED), [best_of(days)], DATA, HEAD, None)
    stored = read_solution(Path(made.folder))
    assert made.half_life_days == days
    assert stored.manifest.definition.get(HALF_LIFE) == days
    assert stored.manifest.matrix_digest == matrix(workspace, days).digest
    assert HALF_LIFE not in stored.manifest.hyperparameters
    assert made.hyperparameters == dict(stored.manifest.hyperparameters)


def test_the_definition_differs_from_the_rules_in_the_half_life_alone(workspace: Workspace) -> None:
    rules = fading(*OFFERED).training.model_dump(mode="json")
    made = train(workspace, fading(*OFFERED), [best_of(12.0)], DATA, HEAD, None)
    definition = read_solution(Path(made.folder)).manifest.definition
    assert definition == {**rules, HALF_LIFE: 12.0}


@pytest.mark.parametrize("days", OFFERED)
def test_the_champion_is_judged_and_trained_anew_under_its_own(
    days: float | None, workspace: Workspace, fitted: list[str]
) -> None:
    champion = manifest_of(workspace, days)
    made = train(workspace, fading(*OFFERED), [], DATA, HEAD, champion)
    assert made.half_life_days == days
    before = matrix(workspace, days, "train+validation").digest
    assert fitted == [champion.matrix_digest, before, champion.matrix_digest]


@pytest.mark.parametrize(
    ("chosen", "recorded", "used"),
    [
        (fading(*OFFERED), 3.0, 12.0),  # the span has grown: too short by now
        (fading(*OFFERED), 400.0, None),
        (fading(12.0, 25.0), None, 25.0),
        (fading(), 12.0, None),
        (fading(*OFFERED, fixed=3.0), 12.0, 3.0),
    ],
)
def test_a_champions_half_life_that_is_not_offered_gives_way_to_the_next_longer(
    chosen: Params, recorded: float | None, used: float | None, workspace: Workspace
) -> None:
    champion = manifest_of(workspace, recorded)
    days = Window.read(workspace.training, "test").span_days
    assert champions(champion).fading(chosen.half_lives(days)).half_life_days == used


def test_winner_and_champion_that_differ_in_the_half_life_alone_are_two(
    workspace: Workspace, fitted: list[str]
) -> None:
    chosen = fading(*OFFERED)
    champion = manifest_of(workspace, None).model_copy(update={"seed": chosen.seed})
    fitted.clear()
    judge(workspace.training, chosen, {"als": best_of(12.0).hyperparameters}, "als", champion)
    assert len(fitted) == 2
    fitted.clear()
    judge(workspace.training, chosen, {"als": best_of(None).hyperparameters}, "als", champion)
    assert len(fitted) == 1


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_no_recipe_has_a_hyper_parameter_of_that_name(name: str) -> None:
    """Among a trial's values it would be taken for the half-life."""
    assert HALF_LIFE not in recipe(name).hyperparameters.model_fields
