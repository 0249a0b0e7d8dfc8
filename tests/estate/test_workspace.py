"""A workspace is a folder; everything about a person lies inside it, and building one is free."""

from __future__ import annotations

from pathlib import Path

import pytest

from lethe.estate.stores import STORES
from lethe.estate.workspace import Workspace

OUTSIDE_STORES = {"root", "params", "state", "fingerprints", "candidates"}


def paths_of(workspace: Workspace) -> dict[str, Path]:
    names = [name for name, kind in vars(Workspace).items() if isinstance(kind, property)]
    return {name: getattr(workspace, name) for name in names}


def test_building_a_workspace_touches_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "none")
    assert paths_of(workspace)
    assert not workspace.root.exists()


def test_no_two_places_are_the_same(tmp_path: Path) -> None:
    places = paths_of(Workspace(tmp_path))
    assert len(set(places.values())) == len(places)
    assert all(path.is_relative_to(tmp_path) for path in places.values())


def test_every_place_of_a_workspace_belongs_to_a_declared_store(tmp_path: Path) -> None:
    declared = [tmp_path / place for store in STORES for place in store.places]
    for name, path in paths_of(Workspace(tmp_path)).items():
        if name not in OUTSIDE_STORES:
            assert any(path.is_relative_to(place) for place in declared), name


def test_ledgers_lie_in_the_workspace_unless_the_operator_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("LETHE_REGISTER_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    workspace = Workspace(tmp_path)
    assert workspace.register_url() == f"sqlite:///{tmp_path}/.lethe/register.db"
    assert workspace.tracking_uri() == f"sqlite:///{tmp_path}/.lethe/mlflow/mlflow.db"
    monkeypatch.setenv("LETHE_REGISTER_URL", "postgresql+psycopg://db/register")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert workspace.register_url() == "postgresql+psycopg://db/register"
    assert workspace.tracking_uri() == "http://127.0.0.1:5000"
