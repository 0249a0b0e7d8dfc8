"""Recipes: what one is, the table of them, and a file for each that is not built in."""

from lethe.solutions.learned import Factors, Learned, Progress
from lethe.solutions.recipes.entry import AtRest, Choice, Dimension, Recipe
from lethe.solutions.recipes.table import RECIPES, recipe

__all__ = [
    "RECIPES",
    "AtRest",
    "Choice",
    "Dimension",
    "Factors",
    "Learned",
    "Progress",
    "Recipe",
    "recipe",
]
