"""A search chooses how weights fade, the winner is trained and recorded so, and judged by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lethe.adapters.studies import TrialRecord
from lethe.durable import write_json
from lethe.estate.workspace import Workspace
from lethe.interactions.training.windows import TrainingSet
from lethe.nights.learning.training import champions, judge, refit, train
from lethe.nights.learning.tuning import Tuned, tune_recipe
from lethe.nights.learning.window import Window
from lethe.nights.memory import last_night
from lethe.params import Params
from lethe.solutions import setting
from lethe.solutions.factors import Manifest, read_solution
from lethe.solutions.recipes import RECIPES, recipe
from lethe.solutions.setting import HALF_LIFE, Setting
from tests.fakes.trained_shop import params, write_training

OFFERED = (None, 12.0, 25.0)  # the shop's forty days are between one and four of each
HEAD, DATA = (4, "c" * 64), "d" * 32 + ".dir"
VALUES = {"factors": 8, "regularization": 1.0, "iterations": 5}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("shop"))
    write_training(made.training)
    return made


def fading(*days: float | None, fixed: float | None = None, trials: int = 8) -> Params:
    small = params()
    return params(
        tuning={**small.tuning.model_dump(), "half_life_days": days, "trials": trials},
        training={**small.training.model_dump(), "half_life_days": fixed},
    )


def matrix(workspace: Workspace, days: float | None, window: Any = "all") -> Any:
    return replace(TrainingSet.read(workspace.training), half_life_days=days).matrix(window)


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


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digest of the matrix of every fit but the baselines', in order."""
    digests: list[str] = []

    def listening(name: str) -> Any:
        known = recipe(name)

        def fit(matrix: Any, values: Any, seed: int, progress: Any) -> Any:
            if not known.baseline:
                digests.append(matrix.digest)
            return known.fit(matrix, values, seed, progress)

        return replace(known, fit=fit)

    monkeypatch.setattr(setting, "recipe", listening)
    return digests


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


def best_of(days: float | None) -> Tuned:
    values = {**VALUES, HALF_LIFE: days}
    return Tuned("als", "a study", values, 0.3, 4, 0, 0)


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


def manifest_of(workspace: Workspace, days: float | None) -> Manifest:
    data, made = TrainingSet.read(workspace.training), Setting.of("als", VALUES, 5, days)
    return refit(data, fading(*OFFERED), made, DATA, HEAD).manifest


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
    assert champions(champion, chosen.half_lives(days)).half_life_days == used


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


def half_life_at(folder: Path) -> float | None:
    days = read_solution(folder).manifest.definition.get(HALF_LIFE)
    return None if days is None else float(days)


class Rehearsal:
    """Answers always the same, and remembers what it was asked about."""

    def __init__(self, passes: bool) -> None:
        self.passes = passes
        self.asked: list[float | None] = []

    def __call__(self, folder: Path) -> bool:
        self.asked.append(half_life_at(folder))
        return self.passes


@pytest.mark.parametrize("searched", [True, False])
@pytest.mark.parametrize(
    ("begins", "passes", "asked", "used", "too_short"),
    [
        (12.0, True, [12.0], 12.0, None),
        (12.0, False, [12.0], None, 12.0),
        (25.0, False, [25.0], None, 25.0),
        (None, False, [], None, None),
    ],
)
def test_a_candidate_that_does_not_pass_its_rehearsal_gives_way_to_the_same_without_fading(
    searched: bool,
    begins: float | None,
    passes: bool,
    asked: list[float | None],
    used: float | None,
    too_short: float | None,
    workspace: Workspace,
) -> None:
    """Once, and without fading the verifier alone answers."""
    rehearse = Rehearsal(passes)
    tuned, champion = (
        ([best_of(begins)], None) if searched else ([], manifest_of(workspace, begins))
    )
    made = train(workspace, fading(*OFFERED), tuned, DATA, HEAD, champion, rehearse)
    assert rehearse.asked == asked
    assert (made.half_life_days, made.too_short) == (used, too_short)
    assert bool(made.turned_down) is (too_short is not None)
    stored = read_solution(Path(made.folder)).manifest
    assert half_life_at(Path(made.folder)) == used
    assert stored.matrix_digest == matrix(workspace, used).digest
    assert stored.hyperparameters | VALUES == stored.hyperparameters
    values = {"als": {**VALUES, HALF_LIFE: used}}
    judged = judge(workspace.training, fading(*OFFERED), values, "als", None)
    if searched:
        assert made.metrics == judged.evaluation.means


def test_nothing_fades_after_a_rehearsal_even_where_no_fading_is_not_offered(
    workspace: Workspace,
) -> None:
    made = train(
        workspace, fading(12.0, 25.0), [best_of(12.0)], DATA, HEAD, None, Rehearsal(passes=False)
    )
    assert (made.half_life_days, made.too_short) == (None, 12.0)


def test_what_a_person_fixed_is_not_rehearsed(workspace: Workspace) -> None:
    rehearse = Rehearsal(passes=False)
    chosen = fading(*OFFERED, fixed=12.0)
    made = train(workspace, chosen, [best_of(12.0)], DATA, HEAD, None, rehearse)
    assert (made.half_life_days, rehearse.asked) == (12.0, [])


def test_what_was_scored_already_is_not_fitted_again(
    workspace: Workspace, fitted: list[str]
) -> None:
    values = {"components": 4, "epochs": 1, HALF_LIFE: 12.0}
    tuned = [best_of(12.0), Tuned("lightfm", "a study", values, 0.1, 4, 0, 0)]
    train(workspace, fading(*OFFERED), tuned, DATA, HEAD, None, Rehearsal(passes=False))
    judged = {days: matrix(workspace, days, "train+validation").digest for days in OFFERED}
    whole = {days: matrix(workspace, days).digest for days in OFFERED}
    assert fitted == [judged[12.0], judged[12.0], whole[12.0], judged[None], whole[None]]


def test_where_the_champions_setting_is_taken_instead_it_is_rehearsed_as_well(
    workspace: Workspace,
) -> None:
    """The winner is poor, so its own half-life is not what is turned down."""
    champion, rehearse = manifest_of(workspace, 12.0), Rehearsal(passes=False)
    poor = {"components": 2, "epochs": 1, "learning_rate": 0.001, HALF_LIFE: None}
    tuned = [Tuned("lightfm", "a study", poor, 0.3, 4, 0, 0)]
    made = train(workspace, fading(*OFFERED), tuned, DATA, HEAD, champion, rehearse)
    assert made.set_aside
    assert rehearse.asked == [12.0]
    assert (made.half_life_days, made.too_short) == (None, 12.0)


def test_a_half_life_that_was_turned_down_is_offered_to_nobody_in_the_next_night(
    workspace: Workspace, tmp_path: Path
) -> None:
    chosen, room = fading(*OFFERED), Workspace(tmp_path)
    write_training(room.training)
    room.interactions.mkdir(parents=True)
    sealed = {"shards": {}, "register_position": 1, "register_head": "c" * 64, "taken": []}
    write_json(room.interactions / "manifest.json", sealed)
    assert last_night.too_short(room) is None
    last_night.remember(room, chosen, 2, {}, 12.0)
    champion, rehearse = manifest_of(workspace, 12.0), Rehearsal(passes=True)
    assert train(room, chosen, [], DATA, HEAD, champion, rehearse).half_life_days == 25.0
    assert rehearse.asked == [25.0]
    trials: list[TrialRecord] = []
    tune_recipe(
        tmp_path / "o.db", room.training, "a" * 64, "als", chosen, {HALF_LIFE: 12.0},
        lambda _, trial: trials.append(trial), last_night.too_short(room),
    )  # fmt: skip
    assert {trial.params[HALF_LIFE] for trial in trials} == {None, 25.0}
    last_night.remember(
        room, chosen, 3, {}, train(room, chosen, [], DATA, HEAD, champion).too_short
    )
    assert last_night.too_short(room) is None
