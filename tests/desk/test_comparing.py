"""What two runs found, compared: paired, on one data version, with nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lethe.desk.experiments import experimenting
from lethe.desk.experiments.comparing import compare_runs, paired
from lethe.errors import BadConfiguration
from lethe.estate.workspace import Workspace
from lethe.gate.scoring.evaluation import Evaluation, EvaluationCounts
from lethe.gate.scoring.metrics import means, metric_names
from lethe.stages import opening
from tests.desk.conftest import putting_back
from tests.watched import Shop

COLD = ["tuning.trials=1", "tuning.recipes.lightfm.epochs={kind: categorical, choices: [1]}"]


def evaluation(values: np.ndarray) -> Evaluation:
    per_user = dict.fromkeys(metric_names(), values)
    counts = EvaluationCounts(len(values), 0, 0, 0, 0, 0)
    return Evaluation(means(per_user) | {"coverage": 1.0}, per_user, np.arange(len(values)), counts)


def test_a_difference_is_second_minus_first_and_turns_its_sign_with_them() -> None:
    random = np.random.default_rng(3)
    one, other = random.random(300), random.random(300) + 0.1

    ahead = paired(evaluation(one), evaluation(np.clip(other, 0, 1)), seed=1)[0]
    behind = paired(evaluation(np.clip(other, 0, 1)), evaluation(one), seed=1)[0]

    assert ahead["difference"] == pytest.approx(np.clip(other, 0, 1).mean() - one.mean())
    assert 0 < ahead["low"] < ahead["difference"] < ahead["high"]
    assert behind["difference"] == pytest.approx(-ahead["difference"])
    assert behind["p"] == ahead["p"] < 0.05


def test_equal_values_differ_by_nothing_and_no_chance_is_ruled_out() -> None:
    same = np.random.default_rng(3).random(50)

    found = paired(evaluation(same), evaluation(same), seed=1)[0]

    assert (found["difference"], found["low"], found["high"], found["p"]) == (0, 0, 0, 1)
    assert found["users_that_differ"] == 0


@pytest.fixture(scope="module")
def made(shop: Shop) -> dict[str, Any]:
    """What an experiment found."""
    with putting_back():
        return experimenting.run(str(shop.root), COLD, None)


def test_a_night_an_experiment_and_a_trial_can_be_compared(
    shop: Shop, made: dict[str, Any]
) -> None:
    workspace = Workspace.find(shop.root)
    runs = opening.open_solutions(workspace, opening.open_params(workspace)).runs
    found = runs.client.search_runs([runs.experiment_id])
    night = next(r.info.run_id for r in found if r.info.run_name.startswith("night"))
    trial = next(
        r.info.run_id
        for r in found
        if "recipe" in r.data.tags and r.data.params.get("epochs") not in (None, "1")
    )

    for other in (night, trial):
        told = compare_runs(workspace, (made["run"][:12], other), [], None)

        assert [run["recipe"] for run in told["runs"]] == ["lightfm", "lightfm"]
        assert told["runs"][0]["hyperparameters"]["epochs"] == 1
        # the experiment scored the same fit on the same window
        ranked = next(row for row in made["leaderboard"] if row["name"] == "lightfm")
        scored = {row["metric"]: row["first"] for row in told["metrics"]}
        for name, value in scored.items():
            assert value == pytest.approx(ranked["means"][name], abs=1e-12)
    assert list((shop.root / ".lethe" / "experiments").glob("*/**/*")) == []


def test_runs_whose_weights_fade_in_another_way_are_compared_each_by_its_own(
    shop: Shop, made: dict[str, Any]
) -> None:
    """Fixed by the rules of one run, chosen by the search of the other."""
    ways = ("training.half_life_days=9", "tuning.half_life_days=[null, 20]")
    with putting_back():
        found = [experimenting.run(str(shop.root), [*COLD, way], None) for way in ways]
    fixed, searched = (run["best"]["lightfm"]["half_life_days"] for run in found)
    assert fixed == 9.0
    assert searched in (None, 20.0)

    told = compare_runs(Workspace.find(shop.root), (found[0]["run"], found[1]["run"]), [], None)

    assert told["runs"][0]["hyperparameters"]["half_life_days"] == 9.0
    for run, place in zip(found, ("first", "second"), strict=True):
        ranked = next(row for row in run["leaderboard"] if row["name"] == "lightfm")
        for row in told["metrics"]:
            assert row[place] == pytest.approx(ranked["means"][row["metric"]], abs=1e-12)


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (("f" * 32, "e" * 32), "0 runs"),
        (("", ""), "runs have an id that starts with"),
        (("%", "%"), "runs have an id that starts with"),
    ],
)
def test_a_run_that_is_not_the_only_one_is_refused(
    shop: Shop, asked: tuple[str, str], rule: str
) -> None:
    with pytest.raises(BadConfiguration, match=rule):
        compare_runs(Workspace.find(shop.root), asked, [], None)


def test_a_run_beside_itself_is_refused(shop: Shop, made: dict[str, Any]) -> None:
    with pytest.raises(BadConfiguration, match="found the same"):
        compare_runs(Workspace.find(shop.root), (made["run"], made["run"]), [], None)


def test_a_run_that_found_nothing_is_refused(shop: Shop) -> None:
    workspace = Workspace.find(shop.root)
    runs = opening.open_solutions(workspace, opening.open_params(workspace)).runs
    empty = runs.open_night("an empty one", {}, "an empty one")
    runs.end_run(empty, "FAILED")

    with pytest.raises(BadConfiguration, match="found no hyper-parameters"):
        compare_runs(workspace, (empty, empty), [], None)


def test_the_comparison_is_a_command(shop: Shop, tmp_path: Path) -> None:
    told = shop.lethe("compare", "0" * 32, "1" * 32)

    assert told.returncode == 2
    assert "0 runs have an id that starts with" in told.stderr
