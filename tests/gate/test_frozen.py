"""What was judged or entered cannot be changed afterwards by whoever holds it."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil

import pytest

import lethe.gate
import lethe.interactions.rights

NAMES = sorted(
    found.name
    for package in (lethe.gate, lethe.interactions.rights)
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)


@pytest.mark.parametrize("name", NAMES)
def test_every_record_of_the_gate_and_of_the_register_is_frozen(name: str) -> None:
    module = importlib.import_module(name)
    for kind in vars(module).values():
        if (
            inspect.isclass(kind)
            and kind.__module__ == name
            and dataclasses.is_dataclass(kind)
            and not kind.__name__.startswith("_Life")  # the one that folds entries up
        ):
            fields = dataclasses.fields(kind)
            blank = object.__new__(kind)
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(blank, fields[0].name, None)
