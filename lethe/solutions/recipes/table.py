"""The table of recipes: one line each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from lethe.errors import BadConfiguration
from lethe.solutions import als, baselines, lightfm
from lethe.solutions.recipes.entry import Dimension, Recipe

# Recipes beside those below: each is a file of this folder that defines RECIPE, named here.
FURTHER: Final[tuple[str, ...]] = ()

# `iterations` has one choice: a fit that has not come to rest cannot be verified, and with momentum
# it is there after 48 (docs/decisions/0028-momentum.md).
_ALS_SPACE = {
    "factors": Dimension(kind="int", low=16, high=128, log=True),
    "regularization": Dimension(kind="float", low=10.0, high=200.0, log=True),
    "alpha": Dimension(kind="float", low=1.0, high=10.0, log=True),
    "iterations": Dimension(kind="categorical", choices=(48,)),
    "momentum": Dimension(kind="categorical", choices=(True,)),
    "popularity_discount": Dimension(kind="float", low=0.0, high=0.5),
}
# Picked by hand on the data sets of benchmarks/tuning.py, for nights that have no earlier best.
_ALS_FIRST = {"factors": 56, "regularization": 42.0, "alpha": 4.5, "popularity_discount": 0.25}
_LIGHTFM_SPACE = {
    "components": Dimension(kind="int", low=24, high=64, log=True),
    "loss": Dimension(kind="categorical", choices=("warp",)),
    "learning_rate": Dimension(kind="float", low=0.03, high=0.1, log=True),
    "item_alpha": Dimension(kind="float", low=1e-6, high=3e-4, log=True),
    "user_alpha": Dimension(kind="float", low=1e-6, high=3e-4, log=True),
    "epochs": Dimension(kind="int", low=10, high=40),
    "use_item_features": Dimension(kind="categorical", choices=(True, False)),
}
_KNN_SPACE = {
    "neighbours": Dimension(kind="int", low=20, high=300, log=True),
    "shrinkage": Dimension(kind="float", low=0.0, high=100.0),
}


def _in_file(name: str) -> Recipe:
    """The recipe that the file `name` of this folder defines."""
    made: Recipe = import_module(f"lethe.solutions.recipes.{name}").RECIPE
    return made


RECIPES: Mapping[str, Recipe] = {
    entry.name: entry
    for entry in (
        Recipe(
            "als",
            als.AlsHyperparameters,
            als.fit,
            _ALS_SPACE,
            _ALS_FIRST,
            fit_to_rest=als.fit_to_rest,
        ),
        Recipe("lightfm", lightfm.LightfmHyperparameters, lightfm.fit, _LIGHTFM_SPACE),
        Recipe("popular", baselines.PopularHyperparameters, baselines.fit_popular, baseline=True),
        Recipe(
            "item_knn",
            baselines.ItemKnnHyperparameters,
            baselines.fit_item_knn,
            _KNN_SPACE,
            baseline=True,
        ),
        *(_in_file(name) for name in FURTHER),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        BadConfiguration: there is none.

    >>> recipe("als").hyperparameters().factors
    64
    """
    try:
        return RECIPES[name]
    except KeyError:
        known = ", ".join(RECIPES)
        raise BadConfiguration(f"no recipe is called {name!r}; known: {known}") from None
