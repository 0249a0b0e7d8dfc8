"""The interaction matrix proves itself, and its digest is its content."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lethe.errors import BadInput
from lethe.interactions.training.matrix import Features, InteractionMatrix
from tests.solutions.histories import history


def csr(rows: list[list[float]]) -> sparse.csr_matrix:
    return sparse.csr_matrix(np.array(rows, dtype=np.float32))


def raw(data: list[float], indices: list[int], indptr: list[int]) -> sparse.csr_matrix:
    made = sparse.csr_matrix((2, 2), dtype=np.float32)
    made.data = np.array(data, dtype=np.float32)
    made.indices, made.indptr = np.array(indices, np.int32), np.array(indptr, np.int32)
    return made


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (raw([1, np.nan], [0, 1], [0, 1, 2]), "not finite"),
        (raw([1, np.inf], [0, 1], [0, 1, 2]), "not finite"),
        (raw([1, 0], [0, 1], [0, 1, 2]), "not above 0"),
        (raw([1, -1], [0, 1], [0, 1, 2]), "not above 0"),
        (raw([1, 1], [1, 0], [0, 2, 2]), "unsorted or duplicate"),
        (raw([1, 1], [1, 1], [0, 2, 2]), "unsorted or duplicate"),
        (raw([1, 1], [0, 2], [0, 1, 2]), "outside"),
        (raw([1, 1], [0, -1], [0, 1, 2]), "outside"),
        (raw([1, 1], [0, 1], [0, 2, 1]), "row pointers"),
        (csr([[1, 1], [1, 1]]).astype(np.float64), "float32"),
        (csr([[1, 1], [1, 1]]).tocsc(), "CSR"),
        (csr([[1, 1, 1], [1, 1, 1]]), "shape"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_matrix_is_never_built(broken: object, rule: str) -> None:
    with pytest.raises(BadInput, match=rule):
        InteractionMatrix(("u", "v"), ("a", "b"), broken)


@pytest.mark.parametrize("users", [("v", "u"), ("u", "u"), ("", "u"), ["u", "v"], ("u", "\ud800")])
def test_ids_that_are_no_ascending_text_are_refused_and_not_named(users: object) -> None:
    with pytest.raises(BadInput) as caught:
        InteractionMatrix(users, ("a", "b"), csr([[1, 1], [1, 1]]))  # type: ignore[arg-type]
    assert "'u'" not in str(caught.value)


def test_features_must_fit_their_ids() -> None:
    one = Features(("x",), csr([[1]]))
    with pytest.raises(BadInput, match="item features have 1 rows for 2 ids"):
        InteractionMatrix(("u",), ("a", "b"), csr([[1, 1]]), item_features=one)
    with pytest.raises(BadInput, match="repeat"):
        Features(("x", "x"), csr([[1, 1]]))
    with pytest.raises(BadInput, match="stored zeros"):
        Features(("x", "y"), raw([1, 0], [0, 1], [0, 1, 2]))


def test_the_digest_is_that_of_the_documented_bytes() -> None:
    matrix = InteractionMatrix(
        ("é", "ü"), ("a",), csr([[1.5], [2]]), Features(("f",), csr([[3]])), None
    )
    stream = b"lethe.matrix.1\n"
    stream += struct.pack("<QI2sI2s", 2, 2, "é".encode(), 2, "ü".encode())
    stream += struct.pack("<QI1s", 1, 1, b"a")
    stream += struct.pack("<Q3q2i2f", 2, 0, 1, 2, 0, 0, 1.5, 2.0)
    stream += b"\x01" + struct.pack("<QI1s", 1, 1, b"f") + struct.pack("<Q2qif", 1, 0, 1, 0, 3.0)
    stream += b"\x00"
    assert matrix.digest == hashlib.sha256(stream).hexdigest()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 3), st.integers(0, 2**31 - 1))
def test_any_change_moves_the_digest(kind: int, where: int) -> None:
    matrix = history(20, 10)
    users, items, data = list(matrix.users), list(matrix.items), matrix.csr.data.copy()
    if kind == 0:
        users[where % len(users)] += "x"
    elif kind == 1:
        items[where % len(items)] += "x"
    elif kind == 2:
        data[where % len(data)] = np.nextafter(data[where % len(data)], np.float32(99))
    changed = sparse.csr_matrix((data, matrix.csr.indices, matrix.csr.indptr), matrix.csr.shape)
    if kind == 3:
        changed = sparse.vstack([changed[1:], changed[:1]], format="csr")
    other = InteractionMatrix(tuple(users), tuple(items), changed)
    assert (other.digest == matrix.digest) == bool(kind == 3 and (changed != matrix.csr).nnz == 0)


def test_what_is_proved_cannot_be_changed_afterwards() -> None:
    given = csr([[1, 1]])
    matrix = InteractionMatrix(("u",), ("a", "b"), given)
    before = matrix.digest
    given.data[0] = 7
    assert matrix.csr.data[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        matrix.csr.data[0] = 7
    assert InteractionMatrix(("u",), ("a", "b"), matrix.csr).digest == before


def test_a_matrix_prints_counts_and_no_id() -> None:
    assert repr(history(20, 10)).startswith("InteractionMatrix(20 users, 10 items,")
