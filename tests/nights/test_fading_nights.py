"""Nights whose weights fade: promoted and proved again, beside versions whose weights do not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lethe.durable import read_json
from tests.nights import shop
from tests.nights.conftest import Place, Saved
from tests.nights.test_canaries import als_alone, layer

pytestmark = pytest.mark.timeout(600)


def fade(place: Place, days: float | None) -> None:
    path = place.root / "params.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["training"]["half_life_days"] = days
    path.write_text(yaml.safe_dump(settings))


@pytest.fixture(scope="module")
def night(first_night: Saved) -> dict[str, Any]:
    """The first night's version is proved under a rule that is new, and a night runs by it."""
    place = first_night.restore()
    als_alone(place)
    fade(place, 30)
    before = place.run("verify", "1")
    shop.export(place.landing / "2025-03-31.csv.gz", shop.bought(30, 1, 1.0, seed=2))
    place.ask("erase", shop.ERASED)
    said = place.run("night")
    told, manifest = place.told(), place.manifest(2)
    fade(place, None)
    return {
        "before": before,
        "said": said,
        "told": told,
        "manifest": manifest,
        "again": place.run("verify", "2"),
        "users": place.users(2),
        "tried": place.json(
            "experiment", "--set", "training.half_life_days=7", "--set", "tuning.trials=1"
        ),
        "snapshot": read_json(place.root / "data" / "training" / "snapshot.json"),
        "erased": place.first_life(shop.ERASED),
    }


def test_a_version_from_before_the_rule_is_proved_as_it_was_made(night: dict[str, Any]) -> None:
    assert "VERIFIED" in night["before"]


def test_a_night_whose_weights_fade_is_promoted_without_the_erased(night: dict[str, Any]) -> None:
    assert "promoted" in night["said"]
    assert night["told"]["certificate"]["verdict"] == "VERIFIED"
    assert night["erased"] not in night["users"]
    assert night["manifest"]["definition"]["half_life_days"] == 30.0
    assert night["snapshot"]["rules"]["half_life_days"] == 30.0
    asked = layer(night["told"], "contribution")
    assert asked["passed"]
    assert "too faint to be asked about" in asked["power"]


def test_it_is_proved_again_by_its_own_rule_whatever_the_settings_say_now(
    night: dict[str, Any],
) -> None:
    assert "VERIFIED" in night["again"]


def test_a_half_life_is_tried_by_an_experiment_and_changes_nothing(night: dict[str, Any]) -> None:
    assert {row["name"] for row in night["tried"]["leaderboard"]} >= {"als", "popular"}
