"""An experiment beside the nights: it learns, tells, and leaves everything as it was."""

from __future__ import annotations

import json
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest

from lethe.desk.experiments import experimenting
from lethe.desk.reviewing import status
from lethe.desk.rights import enter
from lethe.errors import BadConfiguration, Busy, RecipeFailed
from lethe.estate.process import settle
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.standing import Action
from lethe.nights.frame import apart, under_way
from lethe.nights.learning.window import Window
from lethe.solutions.setting import Setting
from lethe.stages import opening
from tests.kills import Killed
from tests.watched import Shop


def leftovers(shop: Shop) -> list[Path]:
    return sorted((shop.root / ".lethe" / "experiments").glob("*/**/*"))


def test_an_experiment_ranks_recipes_promotes_nothing_and_leaves_no_copy(shop: Shop) -> None:
    workspace = Workspace.find(shop.root)
    before = status(workspace)
    enter(workspace, Action.OBJECT, b"somebody\n", "standard input", None, "test")
    data = before["data_versions"][-1]["digest"]

    found = experimenting.run(str(shop.root), ["tuning.trials=1", "seed=5"], data[:8])

    after = status(workspace)
    assert found["data_version"] == data
    assert {row["name"] for row in found["leaderboard"]} == {"lightfm", "popular", "item_knn"}
    assert "nothing was promoted" in found["text"]
    for same in ("champion", "challenger", "versions", "data_versions"):
        assert after[same] == before[same]
    assert leftovers(shop) == []


def test_the_recipes_of_a_search_space_file_are_searched_and_no_other(
    shop: Shop, tmp_path: Path
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("als:\n  factors: {kind: categorical, choices: [8]}\n")
    told = shop.lethe("--json", "experiment", "--space", str(space), "--set", "tuning.trials=1")
    assert told.returncode == 0, told.stderr
    best = json.loads(told.stdout)["best"]["als"]
    assert best == {"factors": 8, "half_life_days": best["half_life_days"]}
    assert "lightfm" not in json.loads(told.stdout)["best"]


def test_a_failed_experiment_leaves_no_copy_either(shop: Shop) -> None:
    # a learning rate at which every trial leaves the finite numbers
    wild = "tuning.recipes.lightfm.learning_rate={kind: categorical, choices: [1.0]}"
    epochs = "tuning.recipes.lightfm.epochs={kind: categorical, choices: [1]}"
    with pytest.raises((RecipeFailed, BadConfiguration)):
        experimenting.run(
            str(shop.root), [wild, epochs, "training.item_attributes=[nowhere]"], None
        )

    assert leftovers(shop) == []


def test_a_copy_that_a_killed_experiment_left_goes_with_the_next_one(shop: Shop) -> None:
    dead = shop.root / ".lethe" / "experiments" / "20200101-000000-000000"
    (dead / "interactions").mkdir(parents=True)
    (dead / "interactions" / "b0.parquet").write_bytes(b"people")

    experimenting.run(str(shop.root), ["tuning.trials=1"], None)

    assert leftovers(shop) == []


def test_an_experiment_that_was_killed_goes_on_where_it_was_when_asked_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["tuning.trials=3", "seed=11"]
    fits: list[int] = []
    known = Window.fit

    def fit(window: Window, chosen: Setting, progress: Any = None) -> Any:
        if window.learns == "train":
            fits.append(len(fits))
            if len(fits) == 3:
                raise Killed
        return known(window, chosen, progress)

    monkeypatch.setattr(Window, "fit", fit)
    with pytest.raises(Killed):
        experimenting.run(str(shop.root), asked, None)
    found = experimenting.run(str(shop.root), asked, None)
    shortened = opening.open_params(Workspace.find(shop.root)).tuning.shortened.get("lightfm")
    # two trials, the one that was cut off, that one again: and what was finished is not done twice
    assert len(fits) == 4 + bool(shortened)
    again = experimenting.run(str(shop.root), asked, None)
    assert again["best"] == found["best"]
    assert len(fits) == 4 + 2 * bool(shortened)


def test_one_experiment_runs_at_a_time_and_a_night_leaves_it_alone(shop: Shop) -> None:
    workspace = Workspace.find(shop.root)
    with apart(workspace, "first", 0.0) as place:
        place.mkdir()
        with pytest.raises(Busy), apart(workspace, "second", 0.0):
            pass
        with pytest.raises(Busy):
            experimenting.run(str(shop.root), ["night.wait_seconds=0"], None)
        with under_way(str(shop.root)):
            assert place.is_dir()

    assert leftovers(shop) == []


def test_a_night_removes_what_a_killed_experiment_left(shop: Shop) -> None:
    (shop.root / ".lethe" / "experiments" / "dead" / "training").mkdir(parents=True)
    workspace = Workspace.find(shop.root)
    settle(workspace)
    runs = opening.open_solutions(workspace, opening.open_params(workspace)).runs
    dead = runs.open_night("experiment 2020-01-01 00:00:00 0000", {}, "experiment dead")

    with under_way(str(shop.root)):
        assert leftovers(shop) == []
        assert runs.client.get_run(dead).info.status == "KILLED"


def test_two_experiments_of_one_second_are_two_runs(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(2026, 3, 3, 2, 0, 0, tzinfo=tz)

    monkeypatch.setattr(experimenting, "datetime", Stopped)
    one, other = (
        experimenting.run(str(shop.root), ["tuning.trials=1", f"seed={seed}"], None)["run"]
        for seed in (5, 6)
    )
    assert one != other
