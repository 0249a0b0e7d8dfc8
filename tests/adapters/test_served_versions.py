"""What MLflow loads and serves of a stored version: its own bytes, and nothing beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lethe.adapters.packing.model_folder import around, as_written
from lethe.adapters.solution_versions import SolutionVersions
from lethe.errors import ArtifactCorrupt
from lethe.solutions.factors import (
    read_solution,
)
from tests.adapters.place import NAME, USERS, solution, stored


def test_altered_bytes_in_the_store_change_the_digest_and_do_not_load(
    real: SolutionVersions, tmp_path: Path
) -> None:
    folder = solution(tmp_path / "s")
    version = real.record(real.runs.open_night("n", {}), folder, "", {})
    before = real.artifact_digest(version)
    change(real, "item_factors.npy")
    assert real.artifact_digest(version) != before
    with pytest.raises(ArtifactCorrupt):
        read_solution(real.fetch(version, tmp_path / "f"))
    with pytest.raises(Exception, match=r"item_factors\.npy"):
        served(real, version)


def change(real: SolutionVersions, name: str, at: int = -1) -> None:
    """Flip one bit of a stored file."""
    target = next(path for path in stored(real) if path.name == name)
    content = bytearray(target.read_bytes())
    content[at] ^= 1
    target.write_bytes(content)


def served(real: SolutionVersions, version: int | str) -> Any:
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(real.tracking_uri)
    try:
        separator = "" if isinstance(version, str) else "/"
        return mlflow.pyfunc.load_model(f"models:/{NAME}{separator}{version}")
    finally:
        mlflow.set_tracking_uri(before)


@pytest.mark.parametrize("biases", [False, True])
def test_the_champion_recommends_from_the_registry_alone(
    real: SolutionVersions, tmp_path: Path, biases: bool
) -> None:
    import pandas as pd

    folder = solution(tmp_path / "s", biases=biases)
    real.set_champion(real.record(real.runs.open_night("n", {}), folder, "", {}))
    model = served(real, "@champion")
    stranger = "d" * 32
    answer = model.predict(pd.DataFrame({"user": [USERS[1], stranger]}), params={"k": 3})
    factors = read_solution(folder).factors
    scores = factors.scores(np.array([1]))[0]
    best = np.argsort(-scores, kind="stable")[:3]
    items = read_solution(folder).items
    known, unknown = answer[answer.user == USERS[1]], answer[answer.user == stranger]
    assert known["item"].tolist() == [items[i] for i in best]
    assert known["rank"].tolist() == [1, 2, 3]
    assert known["score"].to_numpy() == pytest.approx(scores[best], rel=1e-5)
    assert unknown["item"].tolist() == ["a", "00123", "b"]
    assert unknown["score"].isna().all()
    each = model.predict(pd.DataFrame({"user": [USERS[0], stranger], "k": [1, 99]}))
    assert each.groupby("user").size().to_dict() == {USERS[0]: 1, stranger: 5}


def test_one_changed_byte_beside_the_solution_changes_the_digest_and_is_told(
    real: SolutionVersions, tmp_path: Path
) -> None:
    folder, run = solution(tmp_path / "s"), real.runs.open_night("n", {})
    version = real.record(run, folder, "", {})
    before, written = real.artifact_digest(version), beside(real, version, tmp_path)
    assert all(written.values())
    assert {"serving.py", "MLmodel", "requirements.txt", "__pycache__"} <= written.keys()
    for name in ("MLmodel", "requirements.txt", "conda.yaml", "python_env.yaml", "serving.py"):
        change(real, name, at=0)
        assert real.artifact_digest(version) != before
        odd = [other for other, right in beside(real, version, tmp_path).items() if not right]
        assert odd == [name]
        change(real, name, at=0)
    assert real.artifact_digest(version) == before
    assert real.record(run, folder, "", {}) == version
    change(real, "serving.py", at=0)
    assert real.record(run, folder, "", {}) == version + 1, "it was taken for the same"


def beside(real: SolutionVersions, version: int, place: Path) -> dict[str, bool]:
    return as_written(around(real.fetch(version, place / "beside")))


def test_a_file_too_many_is_told_without_its_name(real: SolutionVersions, tmp_path: Path) -> None:
    version = real.record(real.runs.open_night("n", {}), solution(tmp_path / "s"), "", {})
    model = next(path for path in stored(real) if path.name == "MLmodel").parent
    for name in ("code/more.py", "sitecustomize.py", "artifacts/weights.npy"):
        stray = model / name
        stray.parent.mkdir(exist_ok=True)
        stray.write_text("pass")
        answers = beside(real, version, tmp_path)
        assert [other for other, right in answers.items() if not right] == ["another file"]
        stray.unlink()


def test_a_version_that_was_served_in_place_is_still_what_was_recorded(
    real: SolutionVersions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow leaves a note in the folder, and Python would leave bytecode that it prefers."""
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    version = real.record(real.runs.open_night("n", {}), solution(tmp_path / "s"), "", {})
    before = real.artifact_digest(version)
    served(real, version)
    assert {"registered_model_meta", "__pycache__"} <= {path.name for path in stored(real)}
    assert real.artifact_digest(version) == before
    assert all(beside(real, version, tmp_path).values())
    note = next(path for path in stored(real) if path.name == "registered_model_meta")
    note.write_text(note.read_text() + "loader_module: os\n")
    assert real.artifact_digest(version) != before
    assert beside(real, version, tmp_path)["another file"] is False
