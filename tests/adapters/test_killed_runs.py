"""A run that was killed is ended, and goes on where it was when it is taken up again."""

from __future__ import annotations

import pytest

from lethe.adapters.night_runs import NightRuns
from lethe.adapters.solution_versions import SolutionVersions
from tests.kills import Killed


def one_trial(runs: NightRuns, night: str) -> str:
    return runs.log_trial(
        night, "als", 0, params={"factors": 8}, values={"ndcg": 0.5}, state="complete", duration=1.0
    )


@pytest.fixture
def cut_off(real: SolutionVersions, monkeypatch: pytest.MonkeyPatch) -> tuple[NightRuns, str]:
    """A night that was killed while it logged a trial, and another that has ended."""
    runs = real.runs
    runs.end_run(runs.open_night("2026-01-01 02:00:00", {}))
    night = runs.open_night("2026-01-02 02:00:00", {})

    def dies(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(runs.client, "log_batch", dies)
        with pytest.raises(Killed):
            one_trial(runs, night)
    return runs, night


def seen(runs: NightRuns) -> list[tuple[str, str, str | None]]:
    found = runs.client.search_runs([runs.experiment_id], order_by=["attributes.run_name"])
    return [
        (run.info.run_name, run.info.status, run.data.tags.get("outcome"))
        for run in found
        if run.info.run_name != "night 2026-01-01 02:00:00"
    ]


def test_what_was_ended_as_killed_goes_on_and_a_trial_is_logged_whole(
    cut_off: tuple[NightRuns, str],
) -> None:
    runs, night = cut_off
    name = "night 2026-01-02 02:00:00"
    assert seen(runs) == [("als 0", "RUNNING", "complete"), (name, "RUNNING", None)]

    assert runs.end_killed("2026-01-02 02:00:00") == 1
    assert seen(runs) == [("als 0", "KILLED", "killed"), (name, "KILLED", "killed")]

    assert runs.open_night("2026-01-02 02:00:00", {}) == night
    trial = one_trial(runs, night)
    assert seen(runs) == [("als 0", "FINISHED", "complete"), (name, "RUNNING", None)]
    assert runs.client.get_run(trial).data.metrics == {"ndcg": 0.5, "seconds": 1.0}
    assert one_trial(runs, night) == trial


def test_a_night_that_has_ended_stays_as_it_ended(cut_off: tuple[NightRuns, str]) -> None:
    runs, _ = cut_off
    done = runs.open_night("2026-01-01 02:00:00", {})

    assert runs.end_killed("2026-01-01 02:00:00") == 0
    assert runs.client.get_run(done).info.status == "FINISHED"
