"""What the tests of solution versions work on: one small solution, and what MLflow stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lethe.adapters.solution_versions import SolutionVersions
from lethe.solutions.factors import Factors, Manifest, Solution, write_solution

NAME = "shop"
USERS = tuple(f"{n:032x}" for n in (0xA1, 0xB2, 0xC3))


def solution(folder: Path, seed: int = 1, biases: bool = False) -> Path:
    draw = np.random.default_rng(seed)
    factors = Factors(
        draw.normal(size=(3, 4)).astype(np.float32),
        draw.normal(size=(5, 4)).astype(np.float32),
        draw.normal(size=3).astype(np.float32) if biases else None,
        draw.normal(size=5).astype(np.float32) if biases else None,
    )
    manifest = Manifest(
        recipe="als",
        hyperparameters={"factors": 4},
        seed=seed,
        matrix_digest="0" * 64,
        data_version="f" * 32 + ".dir",
        register_position=3,
        register_head="e" * 64,
        environment={"python": "3.11"},
    )
    popular = np.array([3, 0, 4, 1, 2], dtype=np.int32)
    items = ("00123", "1e5", "NA", "a", "b")
    write_solution(folder, Solution(factors, USERS, items, popular, manifest))
    return folder


def stored(real: SolutionVersions) -> list[Path]:
    return sorted(p for p in real.artifacts.rglob("*") if p.is_file())
