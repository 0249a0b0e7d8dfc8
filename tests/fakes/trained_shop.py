"""A small training set with tastes in it, written by the real snapshot, and parameters for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lethe.interactions.training.snapshot import SnapshotRules, build
from lethe.params import Params
from tests.fakes.interaction_store import Event, InteractionStore
from tests.solutions.histories import pseudonyms

SMALL: dict[str, Any] = {
    "seed": 7,
    "training": {"minimum_interactions": 100, "validation_share": 0.2, "test_share": 0.2},
    "tuning": {
        "trials": 4,
        "sample_users": 40,
        "report_every": 1,
        "half_life_days": [],
        "study": {"random_trials": 2, "pruning_after_trials": 2, "pruning_after_steps": 1},
        "recipes": {
            "als": {
                "factors": {"kind": "int", "low": 8, "high": 16},
                "regularization": {"kind": "float", "low": 0.1, "high": 50.0, "log": True},
                "iterations": {"kind": "categorical", "choices": [3]},
            },
            "lightfm": {
                "components": {"kind": "categorical", "choices": [4]},
                "epochs": {"kind": "categorical", "choices": [1]},
            },
        },
    },
}


def params(**changed: Any) -> Params:
    return Params.model_validate({**SMALL, **changed})


def write_training(
    into: Path, users: int = 60, items: int = 32, days: int = 40, **rules: Any
) -> str:
    """Users of four tastes who come every other day; the digest that names the set.

    `rules` overrides section `training`.
    """
    draw = np.random.default_rng(3)
    people = pseudonyms(users)
    events: list[Event] = []
    for day in range(days):
        for user in range(day % 2, users, 2):
            taste = user % 4 if draw.random() < 0.8 else int(draw.integers(4))
            item = 4 * int(draw.integers(items // 4)) + taste
            events.append((people[user], f"item-{item:02d}", 86_400 * day + user, "view", None))
    store = InteractionStore([events])
    chosen = SnapshotRules.model_validate({**SMALL["training"], **rules})
    return build(store, frozenset(), chosen, into, 0, "ab" * 32).digest
