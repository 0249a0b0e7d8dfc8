"""The MLflow run of a killed night does not stay RUNNING until the next one, and a living one does.

The night is killed really, and every door that opens the catalogue is tried on what it left.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import killed
from lethe.desk.experiments.comparing import compare_runs
from lethe.desk.reviewing import status
from lethe.desk.setting_up import serve_ui
from lethe.errors import BadConfiguration
from lethe.estate.workspace import Workspace
from lethe.nights.frame import apart
from lethe.stages import opening
from tests.nights import shop
from tests.nights.conftest import Place, Saved, let_go_of_databases
from tests.nights.test_killed_nights import begins
from tests.nights.warm import Warm

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("nothing_runs_on")]

ENDED = """
SELECT r.status, (SELECT value FROM tags t WHERE t.run_uuid = r.run_uuid AND t.key = 'outcome')
FROM runs r WHERE r.name LIKE ? ORDER BY r.start_time"""


def ui(workspace: Workspace) -> None:
    """Without the server itself, which nobody would end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lethe.desk.setting_up._run_until_told", lambda *_: 0)
        serve_ui(workspace, 1)


def compare(workspace: Workspace) -> None:
    with pytest.raises(BadConfiguration):
        compare_runs(workspace, ("unknown", "strange"), (), None)


DOORS: dict[str, Callable[[Workspace], object]] = {
    "status": status,
    "ui": ui,
    "compare": compare,
    "any deployment, up and serve": killed.clear,
}


@pytest.fixture(scope="module")
def cut_off(first_night: Saved, warm: Warm) -> Saved:
    """A workspace whose second night was killed while it tuned, after doors saw that it lived."""
    place = first_night.restore()
    shop.export(place.landing / "2025-03-31.csv.gz", shop.bought(30, 1, 2.0, seed=2))
    params = (place.root / "params.yaml").read_text()
    longer = params.replace("  trials: 2", "  trials: 8")  # it must outlive the look at each door
    assert longer != params
    (place.root / "params.yaml").write_text(longer)
    night = warm.start(place.root, "night")
    night.wait_for(begins(5))
    for door in DOORS.values():
        found = door(Workspace(place.root))
        assert nights(place) == [("FINISHED", "promoted"), ("RUNNING", None)], door
        if door is status:
            assert isinstance(found, dict)
            assert (found["night_under_way"], found["night_killed"]) == (True, False)
    night.kill()
    let_go_of_databases()
    return first_night.keep("killed-night")


def nights(place: Place) -> list[Any]:
    return place.mlflow(ENDED, "night %")


@pytest.mark.parametrize("name", DOORS)
def test_every_door_ends_the_run_of_a_killed_night(name: str, cut_off: Saved) -> None:
    place = cut_off.restore()
    journal = (place.state / "night.json").read_bytes()
    assert nights(place) == [("FINISHED", "promoted"), ("RUNNING", None)]

    for _ in range(2):
        DOORS[name](Workspace(place.root))
        assert nights(place) == [("FINISHED", "promoted"), ("KILLED", "killed")]
    assert (place.state / "night.json").read_bytes() == journal


def test_status_says_so_with_an_exit_code_and_the_next_night_takes_the_run_up_again(
    cut_off: Saved, warm: Warm
) -> None:
    place = cut_off.restore()
    told = place.run("status", exits=1)
    assert told.startswith("the last night was killed: `lethe night` takes it up again\n")
    assert "under way" not in told
    found = json.loads(place.run("--json", "status", exits=1))
    assert (found["night_under_way"], found["night_killed"]) == (False, True)

    again = warm.start(place.root, "night")
    again.wait_for("taken up again")
    again.wait_for(begins(5))
    assert nights(place)[-1] == ("RUNNING", None)
    assert again.exit_status() == 0, again.progress()
    assert nights(place) == [("FINISHED", "promoted"), ("FINISHED", "promoted")]
    assert place.json("status")["night_killed"] is False


def test_the_run_of_a_killed_experiment_is_ended_and_a_living_ones_is_not(
    first_night: Saved,
) -> None:
    place = first_night.restore()
    workspace = Workspace(place.root)
    runs = opening.open_solutions(workspace, opening.open_params(workspace)).runs
    run = runs.open_night("experiment 2026-01-01 02:00:00 0000", {}, "experiment of then")
    left: Path = workspace.state / "experiments" / "2026-01-01"

    with apart(workspace, "2026-01-01", 0.0) as folder:
        folder.mkdir()
        status(workspace)
        assert runs.client.get_run(run).info.status == "RUNNING"
    left.mkdir()  # as a kill leaves it
    status(workspace)
    assert runs.client.get_run(run).info.status == "KILLED"
    assert left.is_dir()
