"""One Optuna study per recipe: resumable, reproducible, pruned.

A study that is killed and started again ends as an undisturbed one. Before every trial the sampler
is made anew from (seed, number of finished trials), and a trial that a kill left running is told
as failed and never counted, so that every choice depends on finished trials alone. The sampler is
Optuna's multivariate TPE, the pruner its median rule; a higher value is better.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lethe.adapters.studies.importances import importances
from lethe.adapters.studies.records import (
    Objective,
    ParamValue,
    Report,
    State,
    StudyResult,
    StudyRules,
    TrialRecord,
)
from lethe.errors import BadConfiguration, LetheError, RecipeFailed, StoreUnavailable

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import Trial

    from lethe.solutions.recipes import Dimension

    Space = Mapping[str, Dimension]

Clock = Callable[[], float]

HISTORY = ("studies",)
"""The tables that have rows once a night has run."""

_STATES: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
_ERASE = "PRAGMA secure_delete=ON"
_INTERRUPTED, _SECONDS, _METRICS, _FAILURE = "interrupted", "seconds", "metrics", "failure"


class _Pruned(Exception):  # noqa: N818 - a signal, not an error
    """The pruner stopped a trial; raised by `report`, understood by `tune` alone."""


def tune(  # noqa: PLR0913 - the seed, the clock and the paths are arguments
    storage: Path | str,
    name: str,
    space: Space,
    objective: Objective,
    *,
    trials: int,
    minutes: float | None,
    seed: int,
    first: Sequence[Mapping[str, ParamValue]] = (),
    on_trial: Callable[[TrialRecord], None] | None = None,
    rules: StudyRules | None = None,
    clock: Clock = time.monotonic,
) -> StudyResult:
    """Run the study `name` until `trials` trials or `minutes` of trial time are used up.

    `objective(params, report)` returns a TrialScore; `report(step, value)` records a point of the
    curve and ends the trial where the pruner says so (the objective lets that exception pass). An
    exception of the objective fails its trial and no other (StoreUnavailable stops the study).
    `first` are tried first, in order, each as far as the space still admits it. `on_trial` hears
    of every finished trial in order, after a resumption of the earlier ones again, so it must be
    idempotent. Another space needs another name. `storage` is a SQLite file or the address of a
    database.

    Raises:
        RecipeFailed: no trial completed.
        BadConfiguration: an empty space or no budget.
        StoreUnavailable: the database cannot be opened or written.
    """
    import numpy as np
    import optuna
    from optuna.samplers import TPESampler

    rules = rules or StudyRules()
    if not space or trials < 1:
        raise BadConfiguration(f"study {name}: needs a search space and at least one trial")
    hear = on_trial or (lambda _: None)
    seconds = math.inf if minutes is None else minutes * 60
    with _opened(storage, rules.lock_seconds) as database:
        study = optuna.create_study(
            storage=database,
            study_name=name,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=rules.pruning_after_trials,
                n_warmup_steps=rules.pruning_after_steps,
            ),
            load_if_exists=True,
        )
        _fail_interrupted(study)
        for record in (done := list(_finished(study))):
            hear(record)
        while not done or (len(done) < trials and sum(t.seconds for t in done) < seconds):
            mixed = int(np.random.SeedSequence((seed, len(done))).generate_state(1)[0])
            study.sampler = TPESampler(seed=mixed, n_startup_trials=rules.random_trials)
            if len(done) < len(first):
                _enqueue(study, space, first[len(done)])
            _one_trial(study, space, objective, clock)
            done = list(_finished(study))
            hear(done[-1])
        weights = importances(study)
    return _result(name, done, weights)


def forget(storage: Path | str, name: str, lock_seconds: float = 60.0) -> bool:
    """Delete a study and overwrite what it left in the file; False when there was none."""
    import optuna
    from sqlalchemy import text

    if isinstance(storage, Path) and not storage.exists():
        return False
    with _opened(storage, lock_seconds) as database:
        if known := name in optuna.get_all_study_names(database):
            optuna.delete_study(study_name=name, storage=database)
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as link:
            link.execute(text("VACUUM"))
    return known


def _result(name: str, done: list[TrialRecord], weights: Mapping[str, float]) -> StudyResult:
    complete = [(t.value, -t.number, t.params) for t in done if t.state == "complete"]
    if not complete:
        kinds = ", ".join(sorted({t.failure for t in done if t.failure})) or "none completed"
        raise RecipeFailed(f"study {name}: all {len(done)} trials failed ({kinds})")
    value, _, params = max(complete, key=lambda t: t[:2])
    return StudyResult(params, value, tuple(done), weights)


@contextlib.contextmanager
def _opened(storage: Path | str, lock_seconds: float) -> Iterator[RDBStorage]:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        database = _database(storage, lock_seconds)
        try:
            yield database
        finally:
            database.remove_session()
            database.engine.dispose()
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        name = storage.name if isinstance(storage, Path) else "at LETHE_STUDIES_URL"
        raise StoreUnavailable(f"study store {name}: {type(error).__name__}") from error


def _database(storage: Path | str, lock_seconds: float) -> RDBStorage:
    import optuna
    from sqlalchemy import event

    if isinstance(storage, str):
        return optuna.storages.RDBStorage(storage)
    storage.parent.mkdir(parents=True, exist_ok=True)
    options = {"connect_args": {"timeout": lock_seconds}}
    database = optuna.storages.RDBStorage(f"sqlite:///{storage}", engine_kwargs=options)
    storage.chmod(0o600)
    database.engine.dispose()
    event.listen(database.engine, "connect", lambda link, _: link.execute(_ERASE).close())
    return database


def _fail_interrupted(study: Study) -> None:
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        # The mark first: a kill between the two leaves a running trial, and we come here again.
        study._storage.set_trial_user_attr(trial._trial_id, _INTERRUPTED, True)
        study.tell(trial.number, state=TrialState.FAIL)


def _finished(study: Study) -> Iterator[TrialRecord]:
    trials = study.get_trials(deepcopy=False)
    counted = (t for t in trials if t.state.is_finished() and _INTERRUPTED not in t.user_attrs)
    for number, trial in enumerate(counted):
        yield TrialRecord(
            number=number,
            params=dict(trial.params),
            value=trial.values[0] if trial.values else math.nan,
            state=_STATES[trial.state.name],
            seconds=float(trial.user_attrs[_SECONDS]),
            steps=tuple(sorted(trial.intermediate_values.items())),
            metrics=dict(trial.user_attrs.get(_METRICS, {})),
            failure=trial.user_attrs.get(_FAILURE),
        )


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna import distributions

    if dimension.kind == "categorical":
        return distributions.CategoricalDistribution(tuple(dimension.choices or ()))
    low, high = dimension.low or 0.0, dimension.high or 0.0  # a Dimension has both, checked there
    if dimension.kind == "int":
        return distributions.IntDistribution(int(low), int(high), log=dimension.log)
    return distributions.FloatDistribution(low, high, log=dimension.log)


def _enqueue(study: Study, space: Space, first: Mapping[str, ParamValue]) -> None:
    from optuna.trial import TrialState

    if study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        return  # a kill came between this call and the trial
    admitted = {}
    for key in sorted(first.keys() & space.keys()):
        distribution = _distribution(space[key])
        with contextlib.suppress(ValueError, TypeError):
            if distribution._contains(distribution.to_internal_repr(first[key])):
                admitted[key] = first[key]
    if admitted:
        study.enqueue_trial(admitted)


def _one_trial(study: Study, space: Space, objective: Objective, clock: Clock) -> None:
    from optuna.trial import TrialState

    trial = study.ask({key: _distribution(space[key]) for key in sorted(space)})
    started = clock()
    state, value = TrialState.FAIL, None
    try:
        score = objective(dict(trial.params), _reporter(trial))
        value = _finite(score.value)
        trial.set_user_attr(_METRICS, {k: _finite(v) for k, v in score.metrics.items()})
        state = TrialState.COMPLETE
    except _Pruned:
        state = TrialState.PRUNED
    except StoreUnavailable:
        raise
    except Exception as error:  # one trial's failure is that trial's alone; it is recorded
        value = None
        said = f": {error}" if isinstance(error, LetheError) else ""  # others may hold ids
        trial.set_user_attr(_FAILURE, type(error).__name__ + said)
    trial.set_user_attr(_SECONDS, clock() - started)
    study.tell(trial, values=value, state=state)


def _reporter(trial: Trial) -> Report:
    def report(step: int, value: float) -> None:
        trial.report(_finite(value), step)
        if trial.should_prune():
            raise _Pruned

    return report


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise RecipeFailed("a trial's value is not finite")
    return float(value)
