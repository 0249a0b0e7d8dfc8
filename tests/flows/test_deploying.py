"""The deployments: importable by a worker, on their schedules, the same without a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import deploying
from flows.experiment import experiment
from lethe.errors import BadConfiguration
from lethe.estate.workspace import Workspace

FILE = Path(__file__).parents[2] / "prefect.yaml"


def test_every_entrypoint_of_the_file_is_a_flow_that_can_be_imported() -> None:
    from prefect import Flow
    from prefect.flows import load_flow_from_entrypoint

    entries = yaml.safe_load(FILE.read_text())["deployments"]
    loaded: dict[str, object] = {
        e["name"]: load_flow_from_entrypoint(e["entrypoint"]) for e in entries
    }
    assert set(loaded) == {"night", "experiment", "erase"}
    assert all(isinstance(flow, Flow) and flow.name == name for name, flow in loaded.items())


def test_without_a_worker_the_same_deployments_are_served(tmp_path: Path) -> None:
    made = {one.name: one for one in deploying.deployments(Workspace(tmp_path), FILE)}
    entries = {e["name"]: e for e in yaml.safe_load(FILE.read_text())["deployments"]}
    assert made.keys() == entries.keys()
    for name, entry in entries.items():
        one = made[name]
        assert one.entrypoint == entry["entrypoint"]
        assert one.parameters == {**entry["parameters"], "workspace": str(tmp_path)}
        crons = [(s.schedule.cron, s.schedule.timezone) for s in one.schedules]
        assert crons == [(s["cron"], s["timezone"]) for s in entry.get("schedules", [])]
    assert [name for name, one in made.items() if one.concurrency_limit == 1] == ["night", "erase"]
    options = made["night"].concurrency_options
    assert str(options.collision_strategy.value) == "CANCEL_NEW"


def test_serving_needs_a_server(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(BadConfiguration, match="need a Prefect server"),
    ):
        deploying.serve(Workspace(tmp_path), FILE)


@pytest.mark.parametrize("text", ["", "deployments: 3", "deployments: [{}]", "{", "[1]"])
def test_a_file_that_says_no_deployments_is_refused(tmp_path: Path, text: str) -> None:
    (file := tmp_path / "prefect.yaml").write_text(text)
    with pytest.raises(BadConfiguration, match=r"prefect\.yaml cannot be used"):
        deploying.deployments(Workspace(tmp_path), file)


def test_the_form_of_an_experiment_knows_what_can_be_asked() -> None:
    fields: dict[str, Any] = experiment.parameters.properties
    assert set(fields) == {"workspace", "overrides", "data_version", "trials"}
    assert "pattern" in str(fields["overrides"])
    assert "minimum" in str(fields["trials"])
    assert all(field.get("description") for field in fields.values())
