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


GUEST = "guest-who-came-once-Zq77"


@pytest.fixture(scope="module")
def chosen(first_night: Saved) -> dict[str, Any]:
    """Weights must fade in 8 days, and a guest who looked once, at first, asks to be erased."""
    place = first_night.restore()
    als_alone(place)
    path = place.root / "params.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["tuning"] |= {"half_life_days": [8], "trials": 1}
    settings["training"]["event_weights"] = {"view": 0.1}
    path.write_text(yaml.safe_dump(settings))
    (place.landing / "guest.csv").write_text(
        f"USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\n{GUEST},item-000,{shop.MARCH},view\n"
    )
    place.run("night")
    faded = {"told": place.told(), "manifest": place.manifest(2)}
    shop.export(place.landing / "2025-03-31.csv.gz", shop.bought(30, 1, 1.0, seed=2))
    place.ask("erase", GUEST)
    said = place.run("night")
    version = place.versions()[-1]
    return {
        "faded": faded,
        "said": said,
        "told": place.told(),
        "manifest": place.manifest(version),
        "night": read_json(place.state / "last-night.json"),
        "requests": place.json("requests")["requests"],
        "page": (place.state / "reports" / f"version-{version}.html").read_text(),
        "params": place.mlflow(
            "SELECT p.value FROM params p JOIN runs r ON r.run_uuid = p.run_uuid "
            "WHERE p.key = 'best.half_life_days' ORDER BY r.start_time"
        ),
    }


def test_weights_that_fade_are_promoted_where_everybody_could_be_asked_about(
    chosen: dict[str, Any],
) -> None:
    faded = chosen["faded"]
    assert faded["told"]["certificate"]["verdict"] == "VERIFIED"
    assert faded["manifest"]["definition"]["half_life_days"] == 8.0
    assert faded["told"]["quality"]["turned_down"] == ""


def test_an_erasure_of_somebody_too_faint_is_promoted_the_same_night_without_fading(
    chosen: dict[str, Any],
) -> None:
    """And the certificate claims the residual test: nobody was let off."""
    told = chosen["told"]
    assert told["night"]["outcome"] == "promoted"
    assert told["certificate"]["verdict"] == "VERIFIED"
    assert "residual test" in told["certificate"]["claim"]
    assert "1 erased" in layer(told, "contribution")["value"]
    assert "half_life_days" not in chosen["manifest"]["definition"]
    assert "half_life_days" not in told["winner"]["hyperparameters"]
    assert [one["state"] for one in chosen["requests"]] == ["closed"]


def test_a_half_life_that_was_turned_down_is_told_and_not_offered_in_the_next_night(
    chosen: dict[str, Any],
) -> None:
    assert "a half-life of 8 days was turned down" in chosen["said"]
    assert "half-life of 8 days was turned down" in chosen["page"]
    assert chosen["night"]["too_short"] == 8.0


def test_mlflow_tells_of_each_night_how_its_weights_fade(chosen: dict[str, Any]) -> None:
    assert [value for (value,) in chosen["params"]][1:] == ["8.0", "None"]
