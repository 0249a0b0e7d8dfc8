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


@pytest.fixture(scope="module")
def chosen(first_night: Saved) -> dict[str, Any]:
    """Weights must fade in 15 days; too few iterations for a proof, then enough of them."""
    place = first_night.restore()
    als_alone(place)
    path = place.root / "params.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["tuning"] |= {"half_life_days": [15], "trials": 1}
    enough = settings["tuning"]["recipes"]["als"]["iterations"]
    settings["tuning"]["recipes"]["als"]["iterations"] = {"kind": "categorical", "choices": [2]}
    path.write_text(yaml.safe_dump(settings))
    place.ask("erase", shop.ERASED)
    place.run("night", exits=1)
    refused = {"told": place.told(), "night": read_json(place.state / "last-night.json")}
    refused["champion"] = place.alias("champion")
    settings["tuning"]["recipes"]["als"]["iterations"] = enough
    path.write_text(yaml.safe_dump(settings))
    place.run("night")
    return {
        "refused": refused,
        "told": place.told(),
        "manifest": place.manifest(place.versions()[-1]),
        "night": read_json(place.state / "last-night.json"),
        "page": place.mlflow(
            "SELECT p.value FROM params p JOIN runs r ON r.run_uuid = p.run_uuid "
            "WHERE p.key = 'best.half_life_days' ORDER BY r.start_time"
        ),
    }


def test_a_refused_night_keeps_the_champion_and_the_next_one_fades_less(
    chosen: dict[str, Any],
) -> None:
    refused = chosen["refused"]
    assert refused["champion"] == 1
    assert refused["told"]["certificate"]["verdict"] != "VERIFIED"
    assert refused["told"]["winner"]["hyperparameters"]["half_life_days"] == 15.0
    assert refused["night"]["too_short"] == 15.0
    assert chosen["told"]["certificate"]["verdict"] == "VERIFIED"
    assert "half_life_days" not in chosen["manifest"]["definition"]
    assert "half_life_days" not in chosen["told"]["winner"]["hyperparameters"]
    assert "too_short" not in chosen["night"]


def test_mlflow_tells_of_each_night_how_its_weights_fade(chosen: dict[str, Any]) -> None:
    assert [value for (value,) in chosen["page"]][1:] == ["15.0", "None"]
