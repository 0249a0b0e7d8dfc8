"""The table of recipes, and search spaces as data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lethe.errors import BadConfiguration
from lethe.solutions.recipes import RECIPES, Dimension, recipe
from lethe.solutions.recipes.table import FURTHER
from tests.solutions.histories import history


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_fits_with_its_defaults_and_scores_every_item(name: str) -> None:
    found = recipe(name)
    matrix = history(40, 20)
    steps: list[int] = []
    learned = found.fit(
        matrix, found.hyperparameters(), 1, lambda step, _learned: steps.append(step)
    )
    scores = learned.scores(np.array([3, 0]))
    assert scores.shape == (2, 20)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert steps == list(range(1, len(steps) + 1))
    assert steps


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_default_space_stays_inside_the_bounds(name: str) -> None:
    recipe(name).check_space(recipe(name).space)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_first_guess_lies_in_the_default_space(name: str) -> None:
    for key, value in recipe(name).first.items():
        axis = recipe(name).space[key]
        ends: list[Any] = list(axis.corners())
        assert min(ends) <= value <= max(ends)
    recipe(name).hyperparameters.model_validate(dict(recipe(name).first))


def test_als_and_lightfm_are_contenders_and_two_are_baselines() -> None:
    contenders = {name for name, entry in RECIPES.items() if not entry.baseline}

    assert contenders - set(FURTHER) == {"als", "lightfm"}
    assert RECIPES.keys() - contenders - set(FURTHER) == {"popular", "item_knn"}


def test_the_recipes_that_the_gate_knows_name_no_layers_of_their_own() -> None:
    assert all(entry.layers == () for entry in RECIPES.values() if entry.name not in FURTHER)


def test_an_unknown_recipe_is_a_configuration_error() -> None:
    with pytest.raises(BadConfiguration, match="known: als, lightfm, popular, item_knn"):
        recipe("svd")


@pytest.mark.parametrize(
    ("name", "dimension", "rule"),
    [
        ("depth", Dimension(kind="int", low=1, high=2), "no hyper-parameter"),
        ("factors", Dimension(kind="int", low=8, high=1024), "512"),
        ("alpha", Dimension(kind="float", low=0, high=1), "greater than 0"),
        ("factors", Dimension(kind="categorical", choices=(16, 3)), "greater than or equal to 8"),
    ],
)
def test_a_space_beyond_the_bounds_is_refused_before_any_trial(
    name: str, dimension: Dimension, rule: str
) -> None:
    with pytest.raises(BadConfiguration, match=rule):
        recipe("als").check_space({name: dimension})


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "float", "low": 2, "high": 1},
        {"kind": "float", "low": 0, "high": 1, "log": True},
        {"kind": "float", "low": 0},
        {"kind": "float", "low": 0, "high": float("inf")},
        {"kind": "int", "low": 0.5, "high": 2},
        {"kind": "int", "low": 0, "high": 2, "choices": [1]},
        {"kind": "categorical"},
        {"kind": "categorical", "choices": ["a", "a"]},
        {"kind": "categorical", "choices": ["a"], "low": 1},
        {"kind": "normal", "low": 0, "high": 1},
        {"kind": "float", "low": 0, "high": 1, "step": 1},
    ],
)
def test_a_dimension_that_says_two_things_or_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Dimension.model_validate(wrong)


def test_choices_keep_their_types() -> None:
    kept = Dimension.model_validate({"kind": "categorical", "choices": [True, 1, 1.5, "warp"]})
    assert [type(choice) for choice in kept.choices] == [bool, int, float, str]
