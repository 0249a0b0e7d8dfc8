"""MLflow's experiment: one run a night, its trials nested in it, and what it logged.

Nothing here takes an id of a person, and every call may be repeated after a kill. Tags that people
search by come from ALLOWED_TAGS alone, because MLflow keeps tags of what was deleted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lethe.adapters.packing.connecting import at_server, mlflow_errors
from lethe.adapters.packing.destroying import hard_deleting, remove_files
from lethe.errors import BadConfiguration, BadInput, FilesRefused, RefusedByGate, StoreUnavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ALLOWED_TAGS = frozenset(
    {"data_version", "register_position", "recipe", "certificate_digest", "artifact_digest",
     "solution_digest", "verdict", "night", "outcome", "asked_by"}
)  # fmt: skip
Status = Literal["FINISHED", "FAILED", "KILLED"]
EXPERIMENT = "experiment "
"""What the name of an experiment begins with; nobody takes one up again."""
_TRIAL_STATUS: dict[str, Status] = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
_NOTE, _PARENT, _NAME = "mlflow.note.content", "mlflow.parentRunId", "mlflow.runName"
_TRIAL = "lethe.trial"
_OUTCOME, _KILLED = "outcome", "killed"
_VIEW, _VIEWS = "lethe", "mlflow.sharedViewState."  # what MLflow's own "share" writes
_COLUMNS = ("recipe", "data_version", "verdict", "outcome")
_FEW = 10
_BATCH = 1000  # MLflow's limit of metrics in one call


def allowed(tags: Mapping[str, object]) -> dict[str, str]:
    """Tags as strings.

    Raises:
        BadInput: a tag that is not in ALLOWED_TAGS.
    """
    if unknown := sorted(tags.keys() - ALLOWED_TAGS):
        raise BadInput(f"tags that are not allowed: {', '.join(unknown)}")
    return {key: str(value) for key, value in tags.items()}


class NightRuns:
    """The runs of one experiment.

    Args:
        client: from `lethe.adapters.packing.connecting.connect`.
        artifacts: the folder that holds the experiment's files.
        name: the experiment's.
        clock: Unix seconds.
    """

    def __init__(
        self, client: MlflowClient, artifacts: Path, name: str, clock: Callable[[], float]
    ) -> None:
        self.client, self.artifacts, self.name, self.clock = client, artifacts, name, clock

    @mlflow_errors("creating the experiment")
    def initialise(self) -> str:
        """Create the experiment once; its id."""
        found = self.client.get_experiment_by_name(self.name)
        if found is not None:
            return str(found.experiment_id)
        self.artifacts.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Behind a server, it decides where files lie: whoever has the password needs no folder.
        location = None if at_server(self.client) else self.artifacts.resolve().as_uri()
        return str(self.client.create_experiment(self.name, artifact_location=location))

    @property
    def experiment_id(self) -> str:
        """The experiment's id; StoreUnavailable before `initialise`."""
        found = self.client.get_experiment_by_name(self.name)
        if found is None:
            raise StoreUnavailable(f"MLflow holds no experiment named {self.name}")
        return str(found.experiment_id)

    @mlflow_errors("arranging the list of runs")
    def arrange(self, metric: str) -> str:
        """Store a view of the list, best `metric` first beside `_COLUMNS`; its path in the UI."""
        best, number = f"metrics.`{metric}`", self.experiment_id
        columns = [best, *(f"tags.`{name}`" for name in _COLUMNS)]
        view = {"orderByKey": best, "orderByAsc": False, "selectedColumns": columns}
        self.client.set_experiment_tag(number, f"{_VIEWS}{_VIEW}", json.dumps(view))
        return f"#/experiments/{number}/runs?viewStateShareKey={_VIEW}"

    @mlflow_errors("opening the night's run")
    def open_night(
        self, night_id: str, tags: Mapping[str, object], title: str | None = None
    ) -> str:
        """The run of this night: a new one, or the one that a killed night left behind.

        `title` is the name that MLflow shows: "night ..." unless said otherwise.
        """
        labels = allowed(tags) | {"night": night_id}
        for run in self._search(f"tags.night = '{_quotable(night_id)}'"):
            if _PARENT not in run.data.tags:
                self.reopen(run.info.run_id)
                return str(run.info.run_id)
        run = self.client.create_run(
            self.experiment_id, self._now(), labels, run_name=title or f"night {night_id}"
        )
        return str(run.info.run_id)

    @mlflow_errors("taking up a run")
    def reopen(self, run_id: str) -> None:
        """Let a run that was killed go on; one that is FINISHED stays so."""
        run = self.client.get_run(run_id)
        if run.info.status != "FINISHED":
            self.client.update_run(run_id, status="RUNNING")
        if run.data.tags.get(_OUTCOME) == _KILLED:
            self.client.delete_tag(run_id, _OUTCOME)

    @mlflow_errors("logging a trial")
    def log_trial(  # noqa: PLR0913 - a trial has this many sides
        self,
        parent: str,
        recipe: str,
        number: int,
        *,
        params: Mapping[str, Any],
        values: Mapping[str, float],
        state: str,
        duration: float,
        steps: Sequence[tuple[int, float]] = (),
        step_metric: str = "validation",
        tags: Mapping[str, object] | None = None,
    ) -> str:
        """Log a finished trial as a nested run, once; `duration` in seconds, `steps` its curve.

        `tags` are from ALLOWED_TAGS; `state` becomes the tag `outcome`, `duration` the metric
        `seconds`.
        """
        label = f"{_quotable(recipe)}/{number}"
        where = f"tags.`{_PARENT}` = '{_quotable(parent)}' and tags.`{_TRIAL}` = '{label}'"
        found = self._search(where)
        if found and not (found[0].info.status == "RUNNING" or _killed(found[0])):
            return str(found[0].info.run_id)
        labels = allowed({**(tags or {}), "recipe": recipe, "outcome": state})
        labels |= {_PARENT: parent, _TRIAL: label}
        run = found[0] if found else self._create(f"{recipe} {number}", labels)
        run_id, started = str(run.info.run_id), int(run.info.start_time)
        if _killed(run):
            self.tag(run_id, {_OUTCOME: state})
        self.log_params(run_id, params)
        points = [(step_metric, value, step) for step, value in steps]
        points += [(name, value, 0) for name, value in {**values, "seconds": duration}.items()]
        self._log_points(run_id, points, started)
        self.client.set_terminated(run_id, _TRIAL_STATUS[state], started + int(duration * 1000))
        return run_id

    @mlflow_errors("logging a data version")
    def log_dataset(self, run_id: str, digest: str, counts: Mapping[str, int]) -> None:
        """Record the data version a run stands on: its digest and counts, no path and no id."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        profile = json.dumps(dict(counts), sort_keys=True)
        source = json.dumps({"tool": "dvc", "digest": digest})
        data = Dataset("interactions", digest, "dvc", source, profile=profile)
        entry = DatasetInput(data, [InputTag("mlflow.data.context", "training")])
        self.client.log_inputs(run_id, [entry])

    @mlflow_errors("logging metrics")
    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of one step; NaN is left out."""
        self._log_points(run_id, [(k, v, step) for k, v in metrics.items()], self._now())

    @mlflow_errors("logging a curve")
    def log_curve(self, run_id: str, name: str, points: Sequence[tuple[int, float]]) -> None:
        """Log a metric over steps."""
        self._log_points(run_id, [(name, value, step) for step, value in points], self._now())

    @mlflow_errors("logging parameters")
    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Log parameters; the same ones may be logged again."""
        from mlflow.entities import Param

        entries = [Param(key, str(value)) for key, value in sorted(params.items())]
        if entries:
            self.client.log_batch(run_id, params=entries)

    @mlflow_errors("looking for a run")
    def find(self, asked: str) -> tuple[str, dict[str, str], dict[str, str]]:
        """The one run whose id starts with `asked`: its name, parameters and tags.

        Raises:
            BadConfiguration: none starts so, or several do.
        """
        where = f"attributes.run_id LIKE '{_quotable(asked)}%'"
        found = self._search(where)
        if len(found) != 1 or "%" in asked or "_" in asked:
            number = str(len(found)) if len(found) < _FEW else f"{_FEW} or more"
            raise BadConfiguration(f"{number} runs have an id that starts with {asked!r}")
        run = found[0]
        return str(run.info.run_name), dict(run.data.params), dict(run.data.tags)

    @mlflow_errors("logging a text")
    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Write a text or HTML file among the run's artifacts, or over the one of that name."""
        self.client.log_text(run_id, text, artifact_file)

    @mlflow_errors("describing a run")
    def describe(self, run_id: str, markdown: str) -> None:
        """Set the text that MLflow shows above the run."""
        self.client.set_tag(run_id, _NOTE, markdown)

    @mlflow_errors("tagging a run")
    def tag(self, run_id: str, tags: Mapping[str, object]) -> None:
        """Set tags from ALLOWED_TAGS."""
        for key, value in allowed(tags).items():
            self.client.set_tag(run_id, key, value)

    @mlflow_errors("ending a run")
    def end_run(self, run_id: str, status: Status = "FINISHED") -> None:
        """End a run with this status."""
        self.client.set_terminated(run_id, status, self._now())

    def end_as(self, run_id: str, failure: BaseException | None) -> None:
        """End a run as whatever stopped it says.

        A refusal by a gate is an answer: FINISHED, with the tag `outcome` "refused". A night that
        only refused files keeps its outcome. Another error is FAILED, an interruption KILLED.
        """
        if isinstance(failure, RefusedByGate):
            self.tag(run_id, {_OUTCOME: "refused"})
        elif failure is not None and not isinstance(failure, FilesRefused):
            self.end_run(run_id, "FAILED" if isinstance(failure, Exception) else "KILLED")
            return
        self.end_run(run_id)

    @mlflow_errors("ending runs that were killed")
    def end_killed(self, begins: str) -> int:
        """End the runs of nights or experiments whose name begins so, and of their trials.

        KILLED, with the tag `outcome` "killed". Only where nothing that writes into them is alive:
        see `lethe.nights.frame.end_killed`. How many there were, trials aside.
        """
        if self.client.get_experiment_by_name(self.name) is None:
            return 0
        running = "attributes.status = 'RUNNING'"
        found = self._search(f"{running} and tags.night LIKE '{_quotable(begins)}%'")
        for run in found:
            trials = self._search(f"{running} and tags.`{_PARENT}` = '{run.info.run_id}'")
            for one in [*trials, run]:
                self.tag(one.info.run_id, {_OUTCOME: _KILLED})
                self.end_run(one.info.run_id, "KILLED")
        return len(found)

    @mlflow_errors("destroying a run")
    def destroy(self, run_id: str) -> None:
        """Delete a run and its files for good; one that is gone already stays gone."""
        from mlflow.entities import ViewType

        store = hard_deleting(self.client)
        for run in self.client.search_runs(
            [self.experiment_id],
            f"attributes.run_id = '{_quotable(run_id)}'",
            run_view_type=ViewType.ALL,
        ):
            if run.info.lifecycle_stage == "active":
                self.client.delete_run(run_id)
            remove_files(str(run.info.artifact_uri))
            store._hard_delete_run(run_id)

    def _now(self) -> int:
        return int(self.clock() * 1000)

    def _create(self, name: str, tags: dict[str, str]) -> Run:
        labels = tags | {_NAME: name}
        return self.client.create_run(self.experiment_id, self._now(), labels, run_name=name)

    def _search(self, where: str) -> list[Run]:
        return list(self.client.search_runs([self.experiment_id], where, max_results=_FEW))

    def _log_points(self, run_id: str, points: list[tuple[str, float, int]], at: int) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(k, float(v), at, step) for k, v, step in points if v == v]  # noqa: PLR0124
        for first in range(0, len(metrics), _BATCH):
            self.client.log_batch(run_id, metrics=metrics[first : first + _BATCH])


def _killed(run: Run) -> bool:
    return bool(run.data.tags.get(_OUTCOME) == _KILLED)


def _quotable(text: str) -> str:
    if "'" in text or "`" in text:
        raise BadInput("a name for MLflow holds a quotation mark")
    return text
