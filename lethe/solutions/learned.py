"""What was learned, as plain arrays: scores are inner products plus biases."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lethe.errors import BadInput

FloatArray = npt.NDArray[np.float32]


class Learned(Protocol):
    """Anything that scores every item for a user's row."""

    def scores(self, rows: npt.NDArray[Any]) -> FloatArray:
        """Scores of all items: float32, shape (len(rows), n_items)."""
        ...


# Called after each iteration with its number (from 1) and what is learned so far. The value is
# a view: it is valid during the call only.
Progress = Callable[[int, Learned], None]


@dataclass(frozen=True, eq=False, repr=False)
class Factors:
    """User and item factors with optional biases; they prove themselves when built.

    Attributes:
        user_factors: float32, C-contiguous, shape (n_users, f).
        item_factors: float32, C-contiguous, shape (n_items, f).
        user_biases, item_biases: float32 of shape (n_users,) and (n_items,), or both None.

    The score of user u for item i is ``user_factors[u] @ item_factors[i]`` plus both biases.
    The arrays held are read-only views of those given.

    Raises:
        BadInput: a wrong dtype, shape or layout, or a value that is not finite.

    >>> one = np.ones((2, 1), dtype=np.float32)
    >>> Factors(one, 3 * one).scores(np.array([1]))
    array([[3., 3.]], dtype=float32)
    """

    user_factors: FloatArray
    item_factors: FloatArray
    user_biases: FloatArray | None = None
    item_biases: FloatArray | None = None

    def __post_init__(self) -> None:
        for name, array in self.arrays().items():
            dimensions = 2 if name.endswith("factors") else 1
            object.__setattr__(self, name, _proven(array, name, dimensions))
        if self.user_factors.shape[1] != self.item_factors.shape[1]:
            raise BadInput(
                f"user factors have {self.user_factors.shape[1]} columns, "
                f"item factors {self.item_factors.shape[1]}"
            )
        if (self.user_biases is None) != (self.item_biases is None):
            raise BadInput("biases stand on one side only")
        if self.user_biases is not None and self.item_biases is not None:
            if len(self.user_biases) != len(self.user_factors):
                raise BadInput("user biases and user factors differ in length")
            if len(self.item_biases) != len(self.item_factors):
                raise BadInput("item biases and item factors differ in length")

    def __repr__(self) -> str:
        return (
            f"Factors({len(self.user_factors)} users, {len(self.item_factors)} items, "
            f"{self.user_factors.shape[1]} factors)"
        )

    def arrays(self) -> dict[str, FloatArray]:
        """The arrays that are present, by name."""
        named = {
            "user_factors": self.user_factors,
            "item_factors": self.item_factors,
            "user_biases": self.user_biases,
            "item_biases": self.item_biases,
        }
        return {name: array for name, array in named.items() if array is not None}

    def scores(self, rows: npt.NDArray[Any]) -> FloatArray:
        """Scores of all items for the users in `rows`: a new float32 array (len(rows), n_items)."""
        scores: FloatArray = self.user_factors[rows] @ self.item_factors.T
        if self.user_biases is not None and self.item_biases is not None:
            scores += self.user_biases[rows][:, None]
            scores += self.item_biases
        return scores

    def digests(self) -> dict[str, str]:
        """Hex SHA-256 of each array: its shape as text, a newline, its bytes (little-endian)."""
        return {name: array_digest(array) for name, array in self.arrays().items()}


def array_digests(factors: Factors) -> dict[str, str]:
    """`factors.digests()`, for a reader that compares two sets of factors."""
    return factors.digests()


def array_digest(array: npt.NDArray[Any]) -> str:
    """Hex SHA-256 over ``<dtype> <shape>\\n`` and the C-ordered little-endian bytes."""
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    shape = ",".join(map(str, array.shape))
    digest = hashlib.sha256(f"{little.dtype.str} {shape}\n".encode())
    digest.update(little.tobytes())
    return digest.hexdigest()


def _proven(array: Any, name: str, dimensions: int) -> FloatArray:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        raise BadInput(f"{name} must be a float32 array")
    if array.ndim != dimensions or not array.flags.c_contiguous:
        raise BadInput(f"{name} must be a C-contiguous array of {dimensions} dimensions")
    if dimensions == 2 and array.shape[1] == 0:  # noqa: PLR2004
        raise BadInput(f"{name} have no columns")
    wrong = int((~np.isfinite(array)).sum())
    if wrong:
        raise BadInput(f"{name} hold {wrong} values that are not finite")
    view = array.view()
    view.flags.writeable = False
    return view
