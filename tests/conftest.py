"""One small night of an invented shop, run once and shared by all tests that only look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lethe.durable import locked
from tests.fixed_keys import lay_keys
from tests.overtaken import overtaken
from tests.postgres import missing, server
from tests.watched import Shop

# Small, and quick rather than good: what is shown with it is never quality.
SMALL = """
training: {minimum_interactions: 300}
tuning:
  trials: 2
  sample_users: 50
  report_every: 1
  recipes:
    lightfm:
      components: {kind: categorical, choices: [8]}
      epochs: {kind: categorical, choices: [4]}
      learning_rate: {kind: float, low: 0.02, high: 0.1, log: true}
promotion: {must_beat: []}
recommend: {after_night: true, k: 20, format: parquet}
"""


def shared(
    factory: pytest.TempPathFactory, worker: str, name: str, make: Callable[[Path, Shop], None]
) -> Shop:
    """A workspace that the workers of one test run share: the first of them makes it."""
    place = factory.getbasetemp()
    if worker != "master":
        place = place.parent
    shop = Shop(place / name, place / f"{name}.connections")
    with locked(place / f"{name}.lock", wait_seconds=600):
        if not (place / f"{name}.made").exists():
            make(place, shop)
            (place / f"{name}.made").touch()
    return shop


@pytest.fixture(scope="session")
def small_night(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Shop:
    """A workspace after one promoted night. Look at it; to change something, copy it."""

    def make(place: Path, shop: Shop) -> None:
        shop.root.mkdir()
        lay_keys(shop.root)
        overlay = place / "small-night.params.yaml"
        overlay.write_text(SMALL, encoding="utf-8")
        for command in (
            ("init", "--params", str(overlay)),
            ("sample", "--days", "30", "--users", "80", "--items", "50"),
            ("night",),
        ):
            done = shop.lethe(*command, log="json")
            assert done.returncode == 0, done.stderr
            (place / f"small-night.{command[0]}.log").write_text(done.stderr, encoding="utf-8")
            (place / f"small-night.{command[0]}").write_text(done.stdout, encoding="utf-8")

    return shared(tmp_path_factory, worker_id, "small-night", make)


@pytest.fixture(scope="session")
def second_night(
    small_night: Shop, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Shop:
    """A copy with another night, refused because somebody objected while it ran. Look at it."""

    def make(_place: Path, shop: Shop) -> None:
        small_night.copied(shop.root)
        assert shop.lethe("sample", "--next-day").returncode == 0
        told = overtaken(shop)
        assert "of its id list are" in told, told

    return shared(tmp_path_factory, worker_id, "second-night", make)


@pytest.fixture(scope="module")
def shop(small_night: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A copy of the small night's workspace, for the tests of one module to change."""
    return small_night.copied(tmp_path_factory.mktemp("shop") / "shop")


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
