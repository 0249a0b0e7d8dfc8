"""Two nights at once in one workspace: one promotion, and the other waits or steps aside."""

from __future__ import annotations

import signal

import pytest

from lethe.errors import Busy
from tests.nights import shop
from tests.nights.conftest import Place, Saved

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def place(first_night: Saved) -> Place:
    """A workspace with a champion and a new day to learn from."""
    place = first_night.restore()
    shop.export(place.landing / "2025-03-31.csv.gz", shop.bought(30, 1, 1.0, seed=2))
    return place


def promotions(place: Place) -> list[tuple[int, str]]:
    """Versions that were made champion, or were meant to be."""
    return [(entry.intent.version, entry.state) for entry in place.register().promotions()]


def test_of_two_nights_at_once_one_promotes_and_the_other_waits_and_finds_nothing_new(
    place: Place,
) -> None:
    nights = [place.start("night"), place.start("night")]
    said = ["".join(night.communicate(timeout=600)) for night in nights]
    assert [night.returncode for night in nights] == [0, 0], said
    assert sorted("version 2 is champion" in text for text in said) == [False, True]
    assert sorted("nothing new since version 2" in text for text in said) == [False, True]
    assert promotions(place) == [(1, "done"), (2, "done")]
    assert place.alias("champion") == 2
    assert place.versions() == [1, 2]


def test_a_night_that_must_not_wait_steps_aside_with_exit_code_3(place: Place) -> None:
    """The first night is halted while it holds the lock, so that the second surely meets it."""
    params = place.root / "params.yaml"
    first = place.start("night")
    assert first.stderr is not None
    assert "begins" in first.stderr.readline()
    first.send_signal(signal.SIGSTOP)
    try:
        before = params.read_text()
        params.write_text(before.replace("wait_seconds: 600", "wait_seconds: 0"))
        assert params.read_text() != before
        said = place.run("night", exits=Busy.exit_code)
        assert "held by another process" in said
        assert "intake" not in said
    finally:
        params.write_text(before)
        first.send_signal(signal.SIGCONT)
    said = "".join(first.communicate(timeout=600))
    assert first.returncode == 0, said
    assert promotions(place) == [(1, "done"), (2, "done")]
