"""What a study is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ParamValue = float | int | str | bool | None
Report = Callable[[int, float], None]
State = Literal["complete", "pruned", "failed"]
ITERATIONS = "iterations"
"""Among a trial's metrics: how many iterations were run."""


class StudyRules(BaseModel):
    """When the sampler stops guessing and when the pruner may stop a trial."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    random_trials: int = Field(default=4, ge=1, le=100)  # before TPE starts to model
    pruning_after_trials: int = Field(default=4, ge=1, le=100)  # completed ones, for the median
    pruning_after_steps: int = Field(default=4, ge=0, le=1000)  # earlier scores rank badly
    lock_seconds: float = Field(default=60.0, gt=0, le=3600)  # while another process writes


@dataclass(frozen=True)
class TrialScore:
    """What one trial reached: the value to maximise, and metrics to show beside it."""

    value: float
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialRecord:
    """A finished trial, numbered from 0; a failed one has value NaN, a pruned one its last."""

    number: int
    params: Mapping[str, ParamValue]
    value: float
    state: State
    seconds: float
    steps: tuple[tuple[int, float], ...]
    metrics: Mapping[str, float]
    failure: str | None

    @property
    def iterations(self) -> int | None:
        """How many were run: what a complete trial counted, else those until its last score."""
        if ITERATIONS in self.metrics:
            return int(self.metrics[ITERATIONS])
        return self.steps[-1][0] if self.steps else None


@dataclass(frozen=True)
class StudyResult:
    """The best complete trial (the earliest of equals) and every finished one, in order.

    `importances` are shares by hyper-parameter: see `lethe.adapters.studies.importances`.
    """

    best_params: Mapping[str, ParamValue]
    best_value: float
    trials: tuple[TrialRecord, ...]
    importances: Mapping[str, float] = field(default_factory=dict)

    def best(self, count: int) -> tuple[TrialRecord, ...]:
        """The `count` best of the complete trials that differ, or as many as there are."""
        found: list[TrialRecord] = []
        complete = (trial for trial in self.trials if trial.state == "complete")
        for trial in sorted(complete, key=lambda trial: (-trial.value, trial.number)):
            if len(found) < count and all(trial.params != other.params for other in found):
                found.append(trial)
        return tuple(found)


Objective = Callable[[dict[str, ParamValue], Report], TrialScore]
