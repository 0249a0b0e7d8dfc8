"""A study judges on the validation window alone, and a killed one ends as an undisturbed one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lethe.adapters.studies import TrialRecord
from lethe.durable import write_json
from lethe.errors import RecipeFailed
from lethe.estate.workspace import Workspace
from lethe.gate.scoring.evaluation import evaluate
from lethe.interactions.training.windows import TrainingSet
from lethe.nights.learning import tuning
from lethe.nights.learning import window as windows
from lethe.nights.learning.tuning import (
    Tuned,
    search_space,
    study_name,
    study_seed,
    tune_recipe,
)
from lethe.nights.learning.window import Window
from lethe.nights.memory import last_night
from lethe.params import Params, read_params
from lethe.solutions import setting
from lethe.solutions.recipes import recipe
from tests.fakes.trained_shop import params, write_training
from tests.kills import Killed


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("shop") / "training"
    return folder, write_training(folder)


def tuned(
    storage: Path, training: tuple[Path, str], chosen: Params, kill_at: int | None = None
) -> tuple[Tuned, list[TrialRecord]]:
    heard: list[TrialRecord] = []

    def hear(name: str, trial: TrialRecord) -> None:
        assert name == "als"
        if trial.number == kill_at:
            raise Killed
        heard.append(replace(trial, seconds=0.0))

    return tune_recipe(storage, *training, "als", chosen, None, hear), heard


@pytest.fixture(scope="module")
def undisturbed(
    training: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tuned, list[TrialRecord]]:
    return tuned(tmp_path_factory.mktemp("study") / "optuna.db", training, params())


@pytest.mark.parametrize("kill_at", [0, 2])
def test_a_study_killed_between_trials_ends_as_an_undisturbed_one(
    kill_at: int,
    training: tuple[Path, str],
    undisturbed: tuple[Tuned, list[TrialRecord]],
    tmp_path: Path,
) -> None:
    with pytest.raises(Killed):
        tuned(tmp_path / "optuna.db", training, params(), kill_at)
    assert tuned(tmp_path / "optuna.db", training, params()) == undisturbed


def test_a_study_killed_inside_a_trial_ends_as_an_undisturbed_one(
    training: tuple[Path, str],
    undisturbed: tuple[Tuned, list[TrialRecord]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = 0

    def dies(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise Killed
        return evaluate(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(windows, "evaluate", dies)
        with pytest.raises(Killed):
            tuned(tmp_path / "optuna.db", training, params())
    assert tuned(tmp_path / "optuna.db", training, params()) == undisturbed


def test_the_best_is_the_trial_with_the_highest_value(
    undisturbed: tuple[Tuned, list[TrialRecord]],
) -> None:
    found, heard = undisturbed
    complete = [trial for trial in heard if trial.state == "complete"]
    assert found.value == max(trial.value for trial in complete)
    assert [trial.number for trial in heard] == [0, 1, 2, 3]
    assert found.trials == 4
    assert found.pruned == sum(trial.state == "pruned" for trial in heard)


def test_a_study_never_looks_at_the_test_window(
    training: tuple[Path, str],
    undisturbed: tuple[Tuned, list[TrialRecord]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With another test window the study says exactly the same."""
    whole = TrainingSet.read(training[0])
    before = whole.within("train+validation")
    kept = replace(
        whole,
        user=whole.user[before],
        item=whole.item[before],
        timestamp=whole.timestamp[before],
        weight=whole.weight[before],
    )
    assert before.sum() < len(before)
    monkeypatch.setattr(TrainingSet, "read", lambda _: kept)
    assert tuned(tmp_path / "optuna.db", training, params()) == undisturbed


def test_validation_comes_after_train_and_test_after_both(training: tuple[Path, str]) -> None:
    data = TrainingSet.read(training[0])
    for window, learned in (("validation", "train"), ("test", "train+validation")):
        found = Window.read(training[0], window)  # type: ignore[arg-type]
        assert found.matrix.digest == data.matrix(learned).digest  # type: ignore[arg-type]
        cut = data.split.record()[window]
        held = set(data.timestamp[data.within(window)].tolist())  # type: ignore[arg-type]
        assert min(held) == cut
        assert found.held_out.csr.nnz


def test_a_trial_says_how_its_windows_were_cut(tmp_path: Path) -> None:
    for kind, cuts, said in (
        ("global_time", {"validation": 0, "test": 86_400},
         "by time: validation from 1970-01-01T00:00:00Z, test from 1970-01-02T00:00:00Z"),
        ("leave_last_out", {}, "leave last out"),
    ):  # fmt: skip
        write_json(tmp_path / "snapshot.json", {"rules": {"split": {"kind": kind}}, "cuts": cuts})
        assert tuning.split_words(tmp_path) == said


def test_a_sample_of_users_is_fixed_by_the_seed_and_has_something_to_predict(
    training: tuple[Path, str],
) -> None:
    window = Window.read(training[0], "validation")
    rows = window.sample(20, seed=1)
    assert len(set(rows.tolist())) == 20
    assert rows.tolist() == sorted(rows.tolist()) == window.sample(20, seed=1).tolist()
    assert window.sample(20, seed=2).tolist() != rows.tolist()
    assert (np.diff(window.held_out.csr.indptr)[rows] > 0).all()
    assert len(window.sample(10_000, seed=1)) == (np.diff(window.held_out.csr.indptr) > 0).sum()


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 8},
        {"promotion": {"metric": "precision_at_10"}},
        {"tuning": {**params().tuning.model_dump(), "sample_users": 41}},
        {"tuning": {**params().tuning.model_dump(), "report_every": 2}},
        {"tuning": {**params().tuning.model_dump(), "shortened": {"als": {"seal": False}}}},
    ],
)
def test_another_question_is_another_study(changed: dict[str, Any]) -> None:
    assert named(params(**changed)) != named(params())
    assert named(params(), "b" * 64) != named(params())


def named(chosen: Params, digest: str = "a" * 64, days: int = 0) -> str:
    space = search_space("als", chosen, chosen.half_lives(days))
    return study_name("als", chosen, digest, space)


def fading(*days: float | None) -> Params:
    return params(tuning={**params().tuning.model_dump(), "half_life_days": days})


def test_other_half_lives_are_another_study_and_none_is_the_one_there_was() -> None:
    asked = [named(fading(*days), days=99) for days in ((), (50,), (99,), (None, 50), (None, 99))]
    assert len(set(asked)) == len(asked)
    assert named(fading(None, 50)) == named(fading(None), days=99) == named(params())


def test_more_trials_go_on_with_the_same_study() -> None:
    more = {"tuning": {**params().tuning.model_dump(), "trials": 9}}
    assert named(params(**more)) == named(params())
    assert re.fullmatch(r"als-[0-9a-f]{12}-[0-9a-f]{12}", named(params()))


def test_a_study_in_which_every_trial_fails_is_a_failure_that_names_no_row(
    training: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ValueError("row of 00000000000000000000000000000001")

    broken = replace(recipe("als"), fit=fails)
    monkeypatch.setattr(setting, "recipe", lambda _: broken)
    with pytest.raises(RecipeFailed, match="all 4 trials failed") as failed:
        tuned(tmp_path / "optuna.db", training, params())
    assert "0000" not in str(failed.value)
    assert b"0000000000000001" not in (tmp_path / "optuna.db").read_bytes()


def test_last_nights_best_is_tried_first_and_anything_else_is_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert last_night.best(workspace, "als") is None
    write_json(workspace.last_night, {"best": {"als": {"factors": 9}}})
    assert last_night.best(workspace, "als") == {"factors": 9}
    assert last_night.best(workspace, "lightfm") is None


def test_other_data_is_searched_elsewhere_and_the_same_data_in_the_same_places() -> None:
    seeds = [study_seed(seed, digit * 64) for seed in (1, 2) for digit in "0123456789abcdef"]
    assert len(set(seeds)) == len(seeds)
    assert study_seed(1, "ab" * 32) == study_seed(1, "ab" * 32) < 2**32


def test_a_default_study_models_what_it_saw_before_its_budget_ends() -> None:
    tuning_rules = read_params(Path(__file__).parents[2] / "params.yaml").tuning
    assert tuning_rules.trials >= 2 * tuning_rules.study.random_trials
