"""Honest solutions of a small shop and the cases around them, for the tests of the layers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lethe.durable import sha256_file
from lethe.gate.proof.case import Case
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions.baselines import popular_items
from lethe.solutions.environment import environment
from lethe.solutions.factors import (
    Manifest,
    Solution,
    array_digests,
    artifact_digest,
    read_solution,
    write_solution,
)
from lethe.solutions.learned import Factors
from lethe.solutions.recipes import recipe
from tests.solutions.histories import history

DATA_VERSION = "d" * 32 + ".dir"
HEAD = "b" * 64
SMALL: Mapping[str, dict[str, Any]] = {
    "als": {"factors": 8, "iterations": 4, "regularization": 1.0},
    "lightfm": {"components": 4, "epochs": 3},
}


def stone(user: str) -> str:
    return hashlib.sha256(user.encode()).hexdigest()


def cut(matrix: InteractionMatrix, users: set[int]) -> InteractionMatrix:
    """The matrix without the users in these rows and the items that only they touched."""
    from lethe.interactions.training.matrix import Features

    rows = [row for row in range(len(matrix.users)) if row not in users]
    csr = matrix.csr[rows]
    columns = np.flatnonzero(np.bincount(csr.indices, minlength=csr.shape[1]))

    def kept(features: Features | None, places: Any) -> Features | None:
        return None if features is None else Features(features.names, features.csr[places])

    return InteractionMatrix(
        tuple(matrix.users[row] for row in rows),
        tuple(matrix.items[column] for column in columns),
        csr[:, columns],
        kept(matrix.item_features, columns),
        kept(matrix.user_features, rows),
    )


@dataclass(frozen=True)
class Shop:
    """Everybody, who of them is erased, and what is retained."""

    everybody: InteractionMatrix
    retained: InteractionMatrix
    erased: tuple[str, ...]


@cache
def shop(features: bool = True) -> Shop:
    """120 people of whom two are erased; one of those alone bought the last item."""
    whole = history(features=features)
    csr = whole.csr.tolil(copy=True)
    csr[:, -1] = 0
    csr[7, -1] = 2
    whole = replace(whole, csr=csr.tocsr().astype(np.float32))
    return Shop(whole, cut(whole, {3, 7}), (whole.users[3], whole.users[7]))


@cache
def fitted(
    name: str, matrix: InteractionMatrix, seed: int = 5, **changed: Any
) -> tuple[Factors, dict[str, Any]]:
    chosen = recipe(name)
    values = chosen.hyperparameters.model_validate({**SMALL[name], **changed})
    learned = chosen.fit(matrix, values, seed, None)
    assert isinstance(learned, Factors)
    return learned, values.model_dump(mode="json")


def solution_of(
    name: str, matrix: InteractionMatrix, factors: Factors | None = None, **manifest: Any
) -> Solution:
    """What an honest night would store of `matrix`, with `factors` in place of the fit."""
    learned, values = fitted(name, matrix)
    recorded: dict[str, Any] = {
        "recipe": name,
        "hyperparameters": values,
        "seed": 5,
        "matrix_digest": matrix.digest,
        "data_version": DATA_VERSION,
        "register_position": 4,
        "register_head": HEAD,
        "environment": environment(),
    }
    return Solution(
        factors=learned if factors is None else factors,
        users=matrix.users,
        items=matrix.items,
        popular=popular_items(matrix),
        manifest=Manifest(**{**recorded, **manifest}),
    )


@cache
def honest(name: str) -> Solution:
    return solution_of(name, shop().retained)


def case_of(solution: Solution, retained: InteractionMatrix | None = None, **changed: Any) -> Case:
    """The case that the night would put together: the solution as written and read back."""
    with TemporaryDirectory() as folder:
        place = Path(folder) / "solution"
        write_solution(place, solution)
        stored = read_solution(place)
        files = {path.name: sha256_file(path) for path in place.iterdir()}
        digest = artifact_digest(place)
    facts: dict[str, Any] = {
        "artifact_digest": digest,
        "stored": stored,
        "files": files,
        "beside": {"serving.py": True},
        "retained": shop().retained if retained is None else retained,
        "tombstones": tuple(map(stone, stored.users)),
        "forbidden": frozenset(map(stone, shop().erased)),
        "head_position": 4,
        "head_digest": HEAD,
        "recorded_head": HEAD,
        "data_version": DATA_VERSION,
        "environment": environment(),
        "replay": lambda matrix: replayed(stored, matrix),
    }
    return Case(**{**facts, **changed})


def replayed(stored: Solution, matrix: InteractionMatrix) -> dict[str, str]:
    manifest = stored.manifest
    chosen = recipe(manifest.recipe)
    values = chosen.hyperparameters.model_validate(dict(manifest.hyperparameters))
    learned = chosen.fit(matrix, values, manifest.seed, None)
    assert isinstance(learned, Factors)
    return dict(array_digests(learned))
