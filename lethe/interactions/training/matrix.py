"""The one thing a recipe learns from: who touched what, and how much it weighs."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy

from lethe.errors import BadInput

_MAGIC = b"lethe.matrix.1\n"


@dataclass(frozen=True, eq=False, repr=False)
class Features:
    """Attributes of users or of items, one row each, in the order of the matrix's ids.

    Attributes:
        names: unique names of the columns, e.g. ``("brand=acme", "category=shoes")``.
        csr: float32 CSR of shape (rows, len(names)); finite, no stored zero, no duplicate.

    Raises:
        BadInput: when built from anything else.
    """

    names: tuple[str, ...]
    csr: Any

    def __post_init__(self) -> None:
        _check_names(self.names, "feature names", ascending=False)
        object.__setattr__(self, "csr", _proven(self.csr, "features", positive=False))
        if self.csr.shape[1] != len(self.names):
            raise BadInput(f"features have {self.csr.shape[1]} columns and {len(self.names)} names")

    def __repr__(self) -> str:
        return f"Features({self.csr.shape[0]} rows, {len(self.names)} columns)"


@dataclass(frozen=True, eq=False, repr=False)
class InteractionMatrix:
    """A weighted user-item matrix with its id lists; it proves itself when it is built.

    Attributes:
        users: pseudonyms in strictly ascending code-point order, one a row.
        items: item ids in strictly ascending code-point order, one a column.
        csr: float32 CSR of shape (len(users), len(items)); int32 indices, sorted in each row, no
            duplicate, every value finite and above 0. The arrays are copied and read-only.
        item_features, user_features: attributes in the same order as the ids, or None.

    Raises:
        BadInput: when built from anything else. Messages count, they never name an id.

    >>> csr = scipy.sparse.csr_matrix([[1.0, 0.0], [2.0, 1.0]], dtype=np.float32)
    >>> m = InteractionMatrix(("u1", "u2"), ("a", "b"), csr)
    >>> m
    InteractionMatrix(2 users, 2 items, 3 pairs)
    >>> m.digest[:16]
    '58ac0b7687579f2b'
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    csr: Any
    item_features: Features | None = None
    user_features: Features | None = None

    def __post_init__(self) -> None:
        _check_names(self.users, "users", ascending=True)
        _check_names(self.items, "items", ascending=True)
        object.__setattr__(self, "csr", _proven(self.csr, "interactions", positive=True))
        if self.csr.shape != (len(self.users), len(self.items)):
            raise BadInput(
                f"interactions have shape {self.csr.shape} for {len(self.users)} users "
                f"and {len(self.items)} items"
            )
        for features, rows, side in (
            (self.item_features, len(self.items), "item"),
            (self.user_features, len(self.users), "user"),
        ):
            if features is not None and features.csr.shape[0] != rows:
                raise BadInput(f"{side} features have {features.csr.shape[0]} rows for {rows} ids")

    def __repr__(self) -> str:
        return (
            f"InteractionMatrix({len(self.users)} users, {len(self.items)} items, "
            f"{self.csr.nnz} pairs)"
        )

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of the matrix's canonical bytes, all integers little-endian:

        1. ``lethe.matrix.1`` and a newline;
        2. users, then items: count (uint64), then for each id its UTF-8 length (uint32) and bytes;
        3. interactions: number of pairs (uint64), indptr (int64, rows + 1), indices (int32),
           data (float32);
        4. item features, then user features: one byte 0 when there are none; else one byte 1,
           the names as in 2 and the values as in 3.
        """
        digest = hashlib.sha256(_MAGIC)
        for names in (self.users, self.items):
            digest.update(_names_bytes(names))
        for part in _csr_bytes(self.csr):
            digest.update(part)
        for features in (self.item_features, self.user_features):
            digest.update(b"\x00" if features is None else b"\x01")
            if features is not None:
                digest.update(_names_bytes(features.names))
                for part in _csr_bytes(features.csr):
                    digest.update(part)
        return digest.hexdigest()


def _names_bytes(names: tuple[str, ...]) -> bytes:
    parts = [len(names).to_bytes(8, "little")]
    for name in names:
        encoded = name.encode()
        parts += (len(encoded).to_bytes(4, "little"), encoded)
    return b"".join(parts)


def _csr_bytes(csr: Any) -> Iterator[bytes]:
    yield int(csr.nnz).to_bytes(8, "little")
    yield csr.indptr.astype("<i8").tobytes()
    yield csr.indices.astype("<i4").tobytes()
    yield csr.data.astype("<f4").tobytes()


def _check_names(names: tuple[str, ...], what: str, *, ascending: bool) -> None:
    if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
        raise BadInput(f"{what} must be a tuple of non-empty strings")
    if ascending:
        if any(a >= b for a, b in itertools.pairwise(names)):
            raise BadInput(f"{what} are not strictly ascending")
    elif len(set(names)) != len(names):
        raise BadInput(f"{what} repeat")
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        raise BadInput(f"{what} hold text that UTF-8 cannot write") from None


def _proven(csr: Any, what: str, *, positive: bool) -> Any:
    """Return a read-only copy of `csr` after checking everything that a reader relies on."""
    if not (scipy.sparse.issparse(csr) and csr.format == "csr" and csr.dtype == np.float32):
        raise BadInput(f"{what} must be a float32 CSR matrix")
    rows, columns = csr.shape
    indptr, indices, data = csr.indptr, csr.indices, csr.data
    if not (
        len(indptr) == rows + 1
        and indptr[0] == 0
        and indptr[-1] == len(indices) == len(data) < 2**31
        and bool((np.diff(indptr) >= 0).all())
    ):
        raise BadInput(f"{what} have broken row pointers")
    if len(indices) and not (indices.min() >= 0 and indices.max() < columns):
        raise BadInput(f"{what} have a column outside 0..{columns - 1}")
    unsorted = indices[1:] <= indices[:-1]
    firsts = indptr[(indptr > 0) & (indptr < len(indices))]
    unsorted[firsts - 1] = False  # the last of a row and the first of the next
    if unsorted.any():
        raise BadInput(f"{what} have {int(unsorted.sum())} unsorted or duplicate columns")
    if not np.isfinite(data).all():
        raise BadInput(f"{what} hold {int((~np.isfinite(data)).sum())} values that are not finite")
    wrong = data <= 0 if positive else data == 0
    if wrong.any():
        rule = "not above 0" if positive else "stored zeros"
        raise BadInput(f"{what} hold {int(wrong.sum())} values that are {rule}")
    copy = scipy.sparse.csr_matrix(
        (data.copy(), indices.astype(np.int32), indptr.astype(np.int32)), shape=(rows, columns)
    )
    for array in (copy.data, copy.indices, copy.indptr):
        array.flags.writeable = False
    return copy
