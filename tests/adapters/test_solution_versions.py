"""Solution versions and runs against real MLflow on SQLite, and the fake beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lethe.adapters.packing import id_lists
from lethe.adapters.packing.model_folder import around
from lethe.adapters.solution_versions import ALLOWED_TAGS, SolutionVersions
from lethe.durable import sha256_file
from lethe.errors import (
    BadConfiguration,
    BadInput,
    FilesRefused,
    RecipeFailed,
    StoreUnavailable,
    VerificationRefused,
)
from lethe.solutions.factors import artifact_digest, read_solution
from tests.adapters.place import NAME, USERS, solution, stored
from tests.fakes.solution_versions import FakeSolutionVersions
from tests.kills import Killed


@pytest.fixture(params=["mlflow", "fake"])
def versions(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "mlflow":
        return request.getfixturevalue("real")
    fake = FakeSolutionVersions(tmp_path / "fake")
    fake.initialise()
    return fake


def test_a_version_is_recorded_once_fetched_pointed_to_and_destroyed(
    versions: Any, tmp_path: Path
) -> None:
    folder = solution(tmp_path / "s")
    run = versions.runs.open_night("2026-01-02", {"register_position": 3})
    first = versions.record(run, folder, "the first", {"recipe": "als", "register_position": 3})
    assert versions.record(run, folder, "again", {"recipe": "als"}) == first == 1
    second = versions.record(run, solution(tmp_path / "t", seed=2), "another", {"recipe": "als"})
    assert [info.version for info in versions.versions()] == [1, 2]
    assert versions.versions()[0].tags["solution_digest"] == artifact_digest(folder)
    assert versions.versions()[0].tags["register_position"] == "3"
    assert versions.versions()[0].run_id == run
    fetched = versions.fetch(1, tmp_path / "fetched")
    assert artifact_digest(fetched) == artifact_digest(folder)
    assert versions.artifact_digest(1) == artifact_digest(around(fetched))
    assert versions.versions()[0].tags["artifact_digest"] == versions.artifact_digest(1)
    assert read_solution(fetched).users == USERS

    assert versions.champion() is versions.challenger() is None
    versions.set_challenger(second)
    versions.set_champion(first)
    versions.set_challenger(None)
    versions.set_challenger(None)
    assert (versions.champion(), versions.challenger()) == (1, None)
    versions.tag(first, {"verdict": "VERIFIED"})
    assert versions.versions()[0].tags["verdict"] == "VERIFIED"
    with pytest.raises(BadInput, match="champion"):
        versions.destroy(first)
    versions.set_champion(second)
    versions.destroy(first)
    versions.destroy(first)
    assert [info.version for info in versions.versions()] == [2]
    with pytest.raises(StoreUnavailable):
        versions.fetch(first, tmp_path / "gone")
    with pytest.raises(StoreUnavailable):
        versions.set_challenger(first)
    assert versions.record(run, folder, "recorded anew", {}) == 3


def test_a_run_is_named_after_what_it_is(real: SolutionVersions) -> None:
    night, other = real.runs.open_night("2026-01-02", {}), real.runs.open_night("e", {}, "trial e")
    names = [real.client.get_run(run).info.run_name for run in (night, other)]
    assert names == ["night 2026-01-02", "trial e"]
    assert real.runs.open_night("e", {}, "trial e") == other


def test_tags_outside_the_allow_list_are_refused(versions: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="user"):
        versions.runs.open_night("n", {"user": "x"})
    run = versions.runs.open_night("n", {})
    with pytest.raises(BadInput, match="note"):
        versions.record(run, solution(tmp_path / "s"), "", {"note": "x"})
    assert "verdict" in ALLOWED_TAGS


def test_a_trial_is_logged_once_beneath_its_night(versions: Any) -> None:
    night = versions.runs.open_night("n", {})
    assert versions.runs.open_night("n", {}) == night
    settings: dict[str, Any] = {
        "params": {"factors": 8},
        "values": {"ndcg": 0.5, "undefined": float("nan")},
        "state": "complete",
        "duration": 1.5,
        "steps": ((0, 0.1), (1, 0.2)),
    }
    first = versions.runs.log_trial(night, "als", 0, **settings)
    assert versions.runs.log_trial(night, "als", 0, **settings) == first != night
    assert versions.runs.log_trial(night, "lightfm", 0, **settings) != first


def test_mlflow_shows_a_night_with_its_trials_data_version_curves_and_report(
    real: SolutionVersions,
) -> None:
    runs = real.runs
    night = runs.open_night("n", {})
    trial = runs.log_trial(
        night,
        "als",
        0,
        params={"factors": 8},
        values={"ndcg": 0.5},
        state="pruned",
        duration=1.5,
        steps=[(0, 0.1), (1, 0.2)],
        tags={"data_version": "f" * 32},
    )
    with pytest.raises(BadInput, match="person"):
        runs.log_trial(night, "als", 1, params={}, values={}, state="complete", duration=1.0,
                       tags={"person": "x"})  # fmt: skip
    runs.log_dataset(night, "f" * 32 + ".dir", {"rows": 10, "users": 2})
    runs.log_params(night, {"seed": 1})
    runs.log_params(night, {"seed": 1})
    runs.log_metrics(night, {"coverage": 0.4})
    runs.log_curve(night, "ndcg", [(0, 0.1), (1, 0.2)])
    runs.log_text(night, "<h1>Night</h1>", "report.html")
    runs.describe(night, "**good**")
    runs.end_run(night)
    seen = real.client.get_run(night)
    assert seen.info.status == "FINISHED"
    assert seen.data.tags["mlflow.note.content"] == "**good**"
    assert seen.inputs is not None
    assert seen.inputs.dataset_inputs[0].dataset.digest == "f" * 32 + ".dir"
    assert [m.value for m in real.client.get_metric_history(night, "ndcg")] == [0.1, 0.2]
    assert [file.path for file in real.client.list_artifacts(night)] == ["report.html"]
    nested = real.client.get_run(trial)
    assert nested.data.tags["mlflow.parentRunId"] == night
    assert nested.info.status == "KILLED"
    assert nested.data.tags["data_version"] == "f" * 32
    assert nested.data.tags["outcome"] == "pruned"
    assert nested.data.metrics["seconds"] == 1.5
    assert nested.info.end_time - nested.info.start_time == 1500
    assert runs.open_night("n", {}) == night


def test_a_run_ends_as_what_stopped_it_and_a_refusal_is_an_answer(real: SolutionVersions) -> None:
    ends = [
        (None, "FINISHED", None),
        (VerificationRefused("version 1 is REFUSED", ()), "FINISHED", "refused"),
        (FilesRefused("1 landed files were refused"), "FINISHED", None),
        (RecipeFailed("no trial completed"), "FAILED", None),
        (ValueError(), "FAILED", None),
        (KeyboardInterrupt(), "KILLED", None),
    ]
    for number, (failure, status, outcome) in enumerate(ends):
        run = real.runs.open_night(str(number), {})
        real.runs.end_as(run, failure)
        seen = real.client.get_run(run)
        assert (seen.info.status, seen.data.tags.get("outcome")) == (status, outcome)


def test_a_killed_experiment_and_its_trial_are_ended_and_nights_are_not(
    real: SolutionVersions, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = real.runs
    night, done, dead = (
        runs.open_night(name, {}) for name in ("n", "experiment 1", "experiment 2")
    )
    runs.end_run(done)

    def dies(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(runs.client, "set_terminated", dies)
        with pytest.raises(Killed):
            runs.log_trial(dead, "als", 0, params={}, values={}, state="complete", duration=1.0)
    assert runs.end_killed("experiment ") == 1
    assert runs.end_killed("experiment ") == 0
    found = {run.info.run_id: run for run in real.client.search_runs([runs.experiment_id])}
    assert [found[run].info.status for run in (night, done, dead)] == [
        "RUNNING", "FINISHED", "KILLED",
    ]  # fmt: skip
    [trial] = [run for run in found.values() if run.info.run_name == "als 0"]
    assert trial.info.status == "KILLED"
    assert {found[dead].data.tags["outcome"], trial.data.tags["outcome"]} == {"killed"}
    assert "outcome" not in found[night].data.tags


@pytest.mark.parametrize(
    "step", ["log_model_artifacts", "finalize_logged_model", "create_model_version"]
)
def test_a_killed_record_leaves_no_second_version_and_no_orphan(
    real: SolutionVersions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = solution(tmp_path / "s")
    run = real.runs.open_night("n", {})

    def dies(*arguments: Any, **named: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(real.client, step, dies)
        with pytest.raises(Killed):
            real.record(run, folder, "", {})
    assert real.record(run, folder, "", {}) == 1
    models = real.client.search_logged_models([real.runs.experiment_id])
    assert [model.status for model in models] == ["READY"]
    assert len({path.relative_to(real.artifacts).parts[:2] for path in stored(real)}) == 1


@pytest.mark.parametrize("step", [None, "delete_model_version", "delete_logged_model"])
def test_a_destroyed_version_leaves_no_file_and_no_byte_of_a_user(
    real: SolutionVersions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str | None
) -> None:
    run = real.runs.open_night("n", {})
    version = real.record(run, solution(tmp_path / "s"), "text of the version", {"recipe": "als"})
    assert any(USERS[0].encode() in path.read_bytes() for path in stored(real))

    def dies(*arguments: Any, **named: Any) -> None:
        raise Killed

    if step:
        with monkeypatch.context() as patch:
            patch.setattr(real.client, step, dies)
            with pytest.raises(Killed):
                real.destroy(version)
    # what is not listed any more cannot be destroyed by name
    listed = version in {info.version for info in real.versions()}
    real.destroy(version) if listed else real.sweep()
    assert stored(real) == []
    assert real.versions() == ()
    assert real.client.search_logged_models([real.runs.experiment_id]) == []
    database = real._database()
    assert database is not None
    content = database.read_bytes()
    assert USERS[0].encode() not in content
    assert b"text of the version" not in content
    assert database.stat().st_mode & 0o077 == 0


def test_a_run_goes_with_its_version_only_if_asked(real: SolutionVersions, tmp_path: Path) -> None:
    run = real.runs.open_night("n", {})
    real.runs.log_text(run, "<h1>Night</h1>", "report.html")
    first = real.record(run, solution(tmp_path / "s"), "", {})
    real.destroy(first)
    assert [path.name for path in stored(real)] == ["report.html"]
    second = real.record(run, solution(tmp_path / "s"), "", {})
    real.destroy(second, run=True)
    assert stored(real) == []


def test_id_lists_are_those_of_the_stored_versions_whose_list_is_whole(
    versions: Any, tmp_path: Path
) -> None:
    assert versions.id_lists() == ()
    run = versions.runs.open_night("n", {})
    folders = [solution(tmp_path / str(seed), seed=seed) for seed in (1, 2, 3)]
    numbers = [versions.record(run, folder, "", {}) for folder in folders]
    manifests = {sha256_file(folder / "manifest.json") for folder in folders}
    assert {listed.manifest for listed in versions.id_lists()} == manifests
    assert {listed.users for listed in versions.id_lists()} == {USERS}
    versions.destroy(numbers[0])
    kept = {sha256_file(folder / "manifest.json") for folder in folders[1:]}
    assert {listed.manifest for listed in versions.id_lists()} == kept
    place = versions.artifacts if isinstance(versions, SolutionVersions) else versions.folder
    sorted(place.rglob("users.txt"))[0].write_text("")
    assert len(versions.id_lists()) == 1


def test_id_lists_are_found_where_mlflow_says_that_the_versions_are(
    real: SolutionVersions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its database is read past MLflow, which takes seconds to load."""
    for seed in (1, 2):
        real.record(
            real.runs.open_night("n", {}), solution(tmp_path / str(seed), seed=seed), "", {}
        )
    quick = set(real.id_lists())
    with monkeypatch.context() as patch:
        patch.setattr(real, "_database", lambda: None)
        assert set(real.id_lists()) == quick
        patch.setattr(
            id_lists, "fetched", lambda places: (id_lists._downloaded(place) for place in places)
        )
        assert set(real.id_lists()) == quick
    assert len(quick) == 2


def test_telemetry_must_be_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    with pytest.raises(BadConfiguration):
        SolutionVersions(f"sqlite:///{tmp_path}/m.db", tmp_path / "a", NAME).initialise()
