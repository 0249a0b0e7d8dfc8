"""One small night of an invented shop, run once and shared by all tests that only look at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lethe.durable import locked
from tests.postgres import missing, server
from tests.watched import Shop

# Small, and quick rather than good: what is shown with it is never quality.
SMALL = """
training: {minimum_interactions: 300}
tuning:
  trials: 2
  sample_users: 50
  recipes:
    lightfm:
      components: {kind: categorical, choices: [8]}
      epochs: {kind: categorical, choices: [4]}
      learning_rate: {kind: float, low: 0.02, high: 0.1, log: true}
promotion: {must_beat: []}
"""


@pytest.fixture(scope="session")
def small_night(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Shop:
    """A workspace after one promoted night. Look at it; to change something, copy it."""
    place = tmp_path_factory.getbasetemp()
    if worker_id != "master":  # the workers of one run share what the first of them made
        place = place.parent
    shop = Shop(place / "small-night", place / "small-night.connections")
    with locked(place / "small-night.lock", wait_seconds=240):
        if not (place / "small-night.made").exists():
            shop.root.mkdir()
            overlay = place / "small-night.params.yaml"
            overlay.write_text(SMALL, encoding="utf-8")
            for command in (
                ("init", "--params", str(overlay)),
                ("sample", "--days", "30", "--users", "80", "--items", "50"),
                ("night",),
            ):
                done = shop.lethe(*command)
                assert done.returncode == 0, done.stderr
                (place / f"small-night.{command[0]}").write_text(done.stdout, encoding="utf-8")
            (place / "small-night.made").touch()
    return shop


@pytest.fixture(scope="module")
def shop(small_night: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A copy of the small night's workspace, for the tests of one module to change."""
    root = tmp_path_factory.mktemp("shop") / "shop"
    shutil.copytree(small_night.root, root, symlinks=True)
    return Shop(root, root.with_name("connections"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server that runs until the tests end."""
    if reason := missing():
        pytest.skip(reason)
    with server() as url:
        yield url


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A folder that is no workspace."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder
