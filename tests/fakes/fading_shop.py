"""A trained shop whose weights may fade: what is offered, a winner, a champion, the fits heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from lethe.estate.workspace import Workspace
from lethe.interactions.training.windows import TrainingSet
from lethe.nights.learning.training import refit
from lethe.nights.learning.tuning import Tuned
from lethe.params import Params
from lethe.solutions import setting
from lethe.solutions.factors import Manifest
from lethe.solutions.recipes import recipe
from lethe.solutions.setting import HALF_LIFE, Setting
from tests.fakes.trained_shop import params, write_training

OFFERED = (None, 12.0, 25.0)  # the shop's forty days are between one and four of each
HEAD, DATA = (4, "c" * 64), "d" * 32 + ".dir"
VALUES = {"factors": 8, "regularization": 1.0, "iterations": 5}


def shop_at(folder: Path) -> Workspace:
    made = Workspace(folder)
    write_training(made.training)
    return made


def fading(*days: float | None, fixed: float | None = None, trials: int = 8) -> Params:
    small = params()
    return params(
        tuning={**small.tuning.model_dump(), "half_life_days": days, "trials": trials},
        training={**small.training.model_dump(), "half_life_days": fixed},
    )


def matrix(workspace: Workspace, days: float | None, window: Any = "all") -> Any:
    return replace(TrainingSet.read(workspace.training), half_life_days=days).matrix(window)


def best_of(days: float | None) -> Tuned:
    values = {**VALUES, HALF_LIFE: days}
    return Tuned("als", "a study", values, 0.3, 4, 0, 0)


def manifest_of(
    workspace: Workspace, days: float | None, further: Mapping[str, Any] = MappingProxyType({})
) -> Manifest:
    data = TrainingSet.read(workspace.training)
    made = Setting.of("als", {**VALUES, **further}, 5, days)
    return refit(data, fading(*OFFERED), made, DATA, HEAD).manifest


def heard_fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digest of the matrix of every fit but the baselines', in order."""
    digests: list[str] = []

    def listening(name: str) -> Any:
        known = recipe(name)

        def fit(matrix: Any, values: Any, seed: int, progress: Any) -> Any:
            if not known.baseline:
                digests.append(matrix.digest)
            return known.fit(matrix, values, seed, progress)

        def to_rest(matrix: Any, values: Any, seed: int, at_rest: Any) -> Any:
            digests.append(matrix.digest)
            assert known.fit_to_rest is not None
            return known.fit_to_rest(matrix, values, seed, at_rest)

        return replace(known, fit=fit, fit_to_rest=to_rest if known.fit_to_rest else None)

    monkeypatch.setattr(setting, "recipe", listening)
    return digests
