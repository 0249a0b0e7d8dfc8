"""THE night, top to bottom."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows import tasks
from flows.killed import living
from flows.shown import artifacts
from lethe.desk.alarm import watched
from lethe.errors import LetheError
from lethe.nights import steps
from lethe.nights.batches import making
from lethe.nights.frame import Night, under_way


@flow(name="night", persist_result=False, log_prints=False, validate_parameters=False)
def retrain(workspace: str = ".") -> dict[str, Any]:
    """Intake, purge, version, split, tune, train, record, verify, promote, retire, report.

    A refusal or a failure leaves the champion where it is; what can still be forgotten is
    forgotten and reported, and then the night ends with that error.
    """
    with (
        living(workspace),
        watched(workspace),
        under_way(workspace) as night,
        artifacts.progress(night.params().name, len(night.params().tuning.recipes)),
    ):
        told: dict[str, Any] = {}
        failure: LetheError | None = None
        try:
            learn(night, told)
        except LetheError as error:
            failure = error
        try:
            told["retired"] = tasks.retire(night)
        except LetheError as error:
            failure = failure or error
        result = tasks.report(night, told, failure)
        artifacts.night(night.params().name, result)
        steps.conclude(told, failure, result)
        return result


def learn(night: Night, told: dict[str, Any]) -> None:
    """Steps 1 to 9; `told` gathers each step's record for the report."""
    told["intake"] = tasks.intake(night)
    told["purge"] = tasks.purge(night)
    told["data"] = tasks.version(night)
    told["split"] = tasks.split(night)
    steps.take_up(night, told)
    if "version" not in told:
        if not steps.is_new(night):
            return
        digest = told["split"]["digest"]
        recipes = night.params().tuning.recipes if steps.must_search(night) else ()
        told["tuned"] = [tasks.tune(night, digest, name) for name in recipes]
        told["trained"] = tasks.train(night, told["data"], told["tuned"])
        told["version"] = tasks.record(night, told["data"], told["tuned"], told["trained"])
        steps.put_down(night, told)
    if "promotion" not in told:
        told["certificate"] = tasks.verify(night, told["version"])
        told["promotion"] = tasks.promote(night, told["version"], told["trained"])
        steps.remember(night, told)
    making.after_night(night)
