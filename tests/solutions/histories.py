"""Small interaction matrices with taste in them, for the tests of this wing."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from lethe.interactions.training.matrix import Features, InteractionMatrix


def history(
    users: int = 120, items: int = 60, seed: int = 1, features: bool = False
) -> InteractionMatrix:
    """Users of four tastes over a power-law catalogue; every user has 2 to 12 items."""
    draw = np.random.default_rng(seed)
    weight = 1.0 / np.arange(1, items + 1) ** 0.7
    rows, columns = [], []
    for user in range(users):
        liked = weight * np.where(np.arange(items) % 4 == user % 4, 8.0, 1.0)
        chosen = draw.choice(
            items, min(items // 2, int(draw.integers(2, 13))), replace=False, p=liked / liked.sum()
        )
        rows += [user] * len(chosen)
        columns += chosen.tolist()
    data = draw.integers(1, 5, len(rows)).astype(np.float32)
    csr = sparse.csr_matrix((data, (rows, columns)), shape=(users, items), dtype=np.float32)
    csr.sort_indices()
    return InteractionMatrix(
        pseudonyms(users),
        tuple(f"item{i:04d}" for i in range(items)),
        csr,
        _every_fourth(items, "taste") if features else None,
        _every_fourth(users, "segment") if features else None,
    )


def pseudonyms(count: int) -> tuple[str, ...]:
    return tuple(f"{i:032x}" for i in range(count))


def _every_fourth(rows: int, name: str) -> Features:
    csr = sparse.csr_matrix(
        (np.ones(rows, np.float32), (np.arange(rows), np.arange(rows) % 4)), shape=(rows, 4)
    )
    return Features(tuple(f"{name}={k}" for k in range(4)), csr)


def without_user(matrix: InteractionMatrix, row: int) -> InteractionMatrix:
    """The matrix as a purge leaves it: the user's row gone, items untouched."""
    kept = [k for k in range(len(matrix.users)) if k != row]
    return InteractionMatrix(
        tuple(matrix.users[k] for k in kept),
        matrix.items,
        matrix.csr[kept],
        matrix.item_features,
        None
        if matrix.user_features is None
        else Features(matrix.user_features.names, matrix.user_features.csr[kept]),
    )
