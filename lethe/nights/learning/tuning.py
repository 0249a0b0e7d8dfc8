"""Tune: one study per recipe on the validation window, every trial told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lethe.adapters.night_runs import NightRuns
from lethe.adapters.studies import (
    ITERATIONS,
    Report,
    StudyResult,
    TrialRecord,
    TrialScore,
    forget,
    tune,
)
from lethe.durable import read_json, sha256_json, write_json
from lethe.errors import RecipeFailed
from lethe.estate.workspace import Workspace
from lethe.gate.scoring.evaluation import Evaluation
from lethe.interactions.training.fading import nearest
from lethe.interactions.training.windows import SNAPSHOT
from lethe.nights.learning.window import Window
from lethe.nights.saying.events import iterated, say
from lethe.params import Params
from lethe.solutions.environment import environment
from lethe.solutions.learned import Learned, Progress
from lethe.solutions.recipes import Dimension, recipe
from lethe.solutions.setting import HALF_LIFE, Setting

Hyperparameters = Mapping[str, Any]
HearTrial = Callable[[str, TrialRecord], None]
TRIAL_FACTS = frozenset({"seed", "split"})
"""Parameters of a trial's run that are no hyper-parameters."""


@dataclass(frozen=True)
class Tuned:
    """The best that one study found. `value` is the objective on the validation window.

    Where trials were shortened, `value` is what the best of the `fitted_whole` trials reached so.
    Where weights may fade, HALF_LIFE stands among `hyperparameters`.

    `importances` are shares by hyper-parameter: see `lethe.adapters.studies.importances`.
    """

    recipe: str
    study: str
    hyperparameters: dict[str, Any]
    value: float
    trials: int
    pruned: int
    failed: int
    importances: dict[str, float] = field(default_factory=dict)
    fitted_whole: int = 0


def search_space(
    name: str, params: Params, offered: tuple[float | None, ...]
) -> dict[str, Dimension]:
    """A recipe's axes, and one of the half-lives that are `offered`, unless nothing may fade."""
    space = dict(params.tuning.recipes[name])
    if offered != (None,):
        space[HALF_LIFE] = Dimension(kind="categorical", choices=offered)
    return space


def study_name(
    name: str, params: Params, training_digest: str, space: Mapping[str, Dimension]
) -> str:
    """Names a study by all that its result depends on, so that it is resumed or made anew."""
    depends = {
        "space": {key: axis.model_dump() for key, axis in space.items()},
        "study": params.tuning.study.model_dump(),
        "metric": params.promotion.metric,
        "sample": params.tuning.sample_users,
        "report": params.tuning.report_every,
        "shortened": params.tuning.shortened.get(name, {}),
        "seed": params.seed,
        "environment": environment(),
    }
    return f"{name}-{training_digest[:12]}-{sha256_json(depends)[:12]}"


def study_seed(seed: int, training_digest: str) -> int:
    """The sampler's seed: other data explores elsewhere, the same data the same places.

    With `seed` alone every night would begin with the same guesses and never look further.
    `training_digest` is hexadecimal; the result is below 2^32.
    """
    words = (seed, int(training_digest[:8], 16))
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def tune_recipe(  # noqa: PLR0913
    storage: Path | str,
    training: Path,
    training_digest: str,
    name: str,
    params: Params,
    first: Hyperparameters | None,
    hear: HearTrial,
    too_short: float | None = None,
) -> Tuned:
    """Search one recipe's space on the validation window, `first` (or its own first guess) first.

    Half-lives that suit the time that the data span are searched too, if longer than `too_short`:
    the first guess is tried under each, so that the search is no worse for having them.

    Raises:
        RecipeFailed: every trial failed, or each of the best of shortened ones, fitted whole.
    """
    window = Window.read(training, "validation")
    users = window.sample(params.tuning.sample_users, params.seed)
    metric, every = params.promotion.metric, params.tuning.report_every
    chosen, shortened = recipe(name), params.tuning.shortened.get(name, {})
    offered = params.half_lives(window.span_days, too_short)
    space = search_space(name, params, offered)

    def score(learned: Learned) -> Evaluation:
        return window.evaluate(learned, users)

    def fitted(values: Hyperparameters, progress: Progress | None = None) -> Learned:
        return window.fit(Setting.of(name, values, params.seed), progress)

    def objective(values: Hyperparameters, report: Report) -> TrialScore:
        ran = 0

        def progress(iteration: int, learned: Learned) -> None:
            nonlocal ran
            ran = iteration
            iterated(ran)
            if every and iteration % every == 0:
                report(iteration, score(learned).means[metric])

        means = score(fitted({**values, **shortened}, progress)).means
        told = {key: float(value) for key, value in means.items()}
        return TrialScore(means[metric], {**told, ITERATIONS: float(ran)})

    study = study_name(name, params, training_digest, space)
    guess = dict(first or {**chosen.hyperparameters().model_dump(), **chosen.first})
    near = nearest(guess.get(HALF_LIFE, 0), offered)
    fading = (near, *(days for days in offered if days != near))
    found: StudyResult = tune(
        storage,
        study,
        space,
        objective,
        trials=params.tuning.trials,
        minutes=params.tuning.minutes,
        seed=study_seed(params.seed, training_digest),
        first=[{**guess, HALF_LIFE: days} for days in fading],
        on_trial=lambda record: hear(name, record),
        rules=params.tuning.study,
    )
    best, value, whole = found.best_params, found.best_value, 0
    if shortened:  # chosen by what they are worth, not by what was hurried
        finalists = [dict(trial.params) for trial in found.best(params.tuning.finalists)]
        best, value = best_of(finalists, lambda values: score(fitted(values)).means[metric])
        whole = len(finalists)
    states = [trial.state for trial in found.trials]
    return Tuned(
        recipe=name,
        study=study,
        hyperparameters=dict(best),
        value=value,
        trials=len(states),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
        importances=dict(found.importances),
        fitted_whole=whole,
    )


def best_of(
    finalists: Sequence[Hyperparameters], value_of: Callable[[Hyperparameters], float]
) -> tuple[Hyperparameters, float]:
    """The finalist of the highest value, the first of equals, and that value.

    One that fails, or has no finite value, is left out.

    Raises:
        RecipeFailed: every one failed; or there is none.
    """
    failed: RecipeFailed | None = None
    found: tuple[Hyperparameters, float] | None = None
    for values in finalists:
        try:
            value = float(value_of(values))
        except RecipeFailed as error:
            failed = error
            continue
        if math.isfinite(value) and (found is None or value > found[1]):
            found = values, value
    if found is None:
        raise failed or RecipeFailed("no trial could be fitted whole")
    return found


def heard(
    runs: NightRuns, run_id: str, params: Params, data_version: str, training: Path
) -> HearTrial:
    """Who hears of each trial: MLflow, as a run nested in `run_id`, and the screen.

    Beside its hyper-parameters a trial's run has the parameters TRIAL_FACTS, the data version and
    the state as tags, and as metrics what it reached, `seconds` and `iterations`.
    """
    facts = {"seed": params.seed, "split": split_words(training)}

    def hear(name: str, trial: TrialRecord) -> None:
        told = {params.promotion.metric: trial.value, **trial.metrics}
        runs.log_trial(
            run_id,
            name,
            trial.number,
            params={**facts, **trial.params},
            values=finite({**told, ITERATIONS: trial.iterations}),
            state=trial.state,
            duration=trial.seconds,
            steps=trial.steps,
            tags={"data_version": data_version},
        )
        value = "-" if trial.value is None else f"{trial.value:.4f}"
        place = f"{trial.number + 1}/{params.tuning.trials}"
        say(
            "tune",
            f"{name} trial {place}: {trial.state} {value}",
            {
                "recipe": name,
                "trial": trial.number + 1,
                "trials": params.tuning.trials,
                "outcome": trial.state,
                "value": trial.value,
                "iterations": trial.iterations,
            },
            event="trial",
            seconds=trial.seconds,
        )

    return hear


def split_words(training: Path) -> str:
    """How the windows of a training set were cut: the kind, and both cuts in UTC, if there are."""
    snapshot = read_json(training / SNAPSHOT)
    if not (cuts := snapshot["cuts"]):
        return str(snapshot["rules"]["split"]["kind"]).replace("_", " ")
    said = (
        f"{name} from {datetime.fromtimestamp(cuts[name], UTC):%Y-%m-%dT%H:%M:%SZ}"
        for name in ("validation", "test")
    )
    return f"by time: {', '.join(said)}"


def finite(values: Mapping[str, float | None]) -> dict[str, float]:
    """Without what could not be measured.

    >>> finite({"a": 1.0, "b": None, "c": float("nan")})
    {'a': 1.0}
    """
    return {
        name: value for name, value in values.items() if value is not None and math.isfinite(value)
    }


def forget_studies(workspace: Workspace, names: list[str], keep: int) -> int:
    """Delete the studies older than those of the last `keep` nights; how many went.

    `names` are those of the night that ends; they are kept.
    """
    path = workspace.state / "studies.json"
    nights: list[list[str]] = read_json(path) if path.is_file() else []
    if names not in nights:
        nights.append(names)
    kept = nights[-keep:]
    needed = {name for entry in kept for name in entry}
    old = {name for entry in nights for name in entry} - needed
    for name in sorted(old):
        forget(workspace.studies_at(), name)
    write_json(path, kept)
    return len(old)
