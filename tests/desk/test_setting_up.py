"""Making a workspace, and the invented shop in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from lethe.desk.setting_up import initialise, write_sample
from lethe.errors import BadConfiguration
from lethe.estate.workspace import Workspace


def files(root: Path) -> dict[str, bytes]:
    kept = ("params.yaml", "dvc.yaml", ".dvc/config", ".lethe/keys", ".lethe/register.position")
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and str(path.relative_to(root)).startswith(kept)
    }


def test_a_workspace_is_made_once_and_is_private(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    initialise(workspace, None)
    made = files(workspace.root)
    initialise(workspace, None)

    assert files(workspace.root) == made
    assert workspace.state.stat().st_mode & 0o077 == 0
    assert workspace.keys.stat().st_mode & 0o077 == 0


def test_what_makes_prefect_s_database_runs_beside_the_rest_and_only_where_there_is_none(
    tmp_path: Path,
) -> None:
    workspace, told = Workspace(tmp_path / "shop"), list[str]()

    @contextlib.contextmanager
    def beside() -> Iterator[Callable[[], None]]:
        told.append("begun" if not (workspace.root / ".dvc").exists() else "late")
        yield lambda: told.append("waited for" if (workspace.root / ".dvc").exists() else "early")
        told.append("ended")

    initialise(workspace, None, beside)
    assert told == ["begun", "waited for", "ended"]
    workspace.prefect_home.mkdir()
    (workspace.prefect_home / "prefect.db").touch()
    initialise(workspace, None, beside)
    assert told == ["begun", "waited for", "ended"]


def test_an_overlay_that_cannot_be_used_leaves_no_parameters_behind(tmp_path: Path) -> None:
    workspace, overlay = Workspace(tmp_path / "shop"), tmp_path / "overlay.yaml"
    for content in ("tuning: {trials: 0}", "environment: 3", "nothing: here", "- 1", "a: ["):
        overlay.write_text(content, encoding="utf-8")
        with pytest.raises(BadConfiguration):
            initialise(workspace, overlay)
        assert not workspace.params.exists()
        assert not workspace.keys.exists()

    overlay.write_text("tuning: {trials: 3}", encoding="utf-8")
    initialise(workspace, overlay)
    document = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
    assert document["tuning"]["trials"] == 3
    assert set(document["tuning"]["recipes"]) == {"als", "lightfm"}
    with pytest.raises(BadConfiguration, match="has a params"):
        initialise(workspace, overlay)


def test_the_sample_has_a_history_and_then_days_with_requests(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    size = {"days": 3, "seed": 1, "users": 80, "items": 50}
    with pytest.raises(BadConfiguration, match="no sample history"):
        write_sample(workspace, next_day=True, **size)
    write_sample(workspace, next_day=False, **size)
    again = write_sample(workspace, next_day=False, **size)
    day = write_sample(workspace, next_day=True, **size)

    assert again["days"] == 0
    assert len(list(workspace.landing.glob("interactions-*.csv.gz"))) == 4
    asked = (workspace.state / "requests" / "erase.txt").read_text(encoding="utf-8").split()
    assert len(asked) == day["erase"]
