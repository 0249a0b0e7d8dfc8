"""Recipes, and what was learned with them."""
