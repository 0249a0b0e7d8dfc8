"""How many copies of a history the item factors hold: identities, controls and their failure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lethe.gate.proof import verification
from lethe.gate.proof.algebra import FoldIn, confidences, item_sides
from lethe.gate.proof.als import controls
from lethe.gate.proof.als.contribution import Field, People
from lethe.gate.proof.als.objective import Objective
from lethe.gate.proof.report import LayerResult
from lethe.gate.proof.verification import verify
from tests.gate.proof.cases import case_of, honest
from tests.solutions.histories import history

REG = 4.0


def scene(seed: int = 0, users: int = 40, alpha: float = 3.0) -> tuple[Any, Any, Any, Field]:
    """Confidences of a small history, exact X* on random item factors, and the field there."""
    confidence = confidences(history(users, 20, seed).csr, alpha)
    Y = np.random.default_rng(seed).normal(size=(confidence.shape[1], 6))
    fold_in = FoldIn(Y, REG)
    X = fold_in(confidence)
    sides = item_sides(confidence, X, Y, REG)
    return confidence, X, Y, Field(sides.difference, Y, 1.0 / sides.trace, fold_in)


def own_gradient(confidence: Any, row: int, x: Any, Y: Any) -> Any:
    """Slow oracle: G_u = w_u x_u' with w_u = c (x . y - p) on everything."""
    observed = confidence[row].toarray()[0]
    c = np.where(observed != 0, observed, 1.0)
    return np.outer(c * (Y @ x - (observed != 0)), x)


def inner(A: Any, B: Any, weights: Any) -> float:
    return float((weights[:, None] * A * B).sum())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 500), st.sampled_from([0.4, 1.0, 3.0, 40.0]))
def test_a_share_is_the_weighted_projection_on_the_persons_own_gradient(
    seed: int, alpha: float
) -> None:
    confidence, X, Y, field = scene(seed, 12, alpha)
    people = People.of(confidence, field)
    own = [own_gradient(confidence, u, X[u], Y) for u in range(len(X))]
    size = [inner(G, G, field.weights) for G in own]
    push = [-inner(field.gradient, G, field.weights) for G in own]
    np.testing.assert_allclose(people.size, size, rtol=1e-7)
    np.testing.assert_allclose(people.push, push, rtol=1e-6, atol=1e-9 * max(size))
    np.testing.assert_allclose(people.alone() * size, push, rtol=1e-6, atol=1e-9 * max(size))


def test_the_whole_gradient_is_the_sum_of_everybodys_own_and_the_regularisation() -> None:
    confidence, X, Y, field = scene()
    whole = sum(own_gradient(confidence, u, X[u], Y) for u in range(len(X))) + REG * Y
    np.testing.assert_allclose(field.gradient, whole, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 500), st.integers(0, 39))
def test_pretending_a_member_is_missing_gives_one_more_without_retraining(
    seed: int, row: int
) -> None:
    """The law behind the positive control: a = 1 + s_u, against the gradient built without u."""
    confidence, X, Y, field = scene(seed)
    left = np.arange(len(X)) != row
    gradient = item_sides(confidence[left], X[left], Y, REG).difference
    missing = Field(gradient, Y, field.weights, field.fold_in)
    s = People.of(confidence[[row]], field).alone()[0]
    assert People.of(confidence[[row]], missing).alone()[0] == pytest.approx(1 + s, rel=1e-8)


def test_people_are_solved_for_jointly_as_by_least_squares() -> None:
    confidence, X, Y, field = scene(3)
    chosen = [1, 5, 9, 20]
    weight = np.sqrt(field.weights)[:, None]
    columns = [(weight * own_gradient(confidence, u, X[u], Y)).ravel() for u in chosen]
    oracle = np.linalg.lstsq(np.stack(columns, 1), -(weight * field.gradient).ravel())[0]
    np.testing.assert_allclose(
        People.of(confidence[chosen], field).jointly(), oracle, rtol=1e-6, atol=1e-9
    )


def test_of_two_alike_who_are_missing_each_is_found_and_of_one_a_share_and_the_whole_alone() -> (
    None
):
    confidence, X, Y, field = scene(4)
    twice = confidence[[3, 3]]
    own = own_gradient(confidence, 3, X[3], Y)
    for copies in (1.0, 2.0):
        people = People.of(twice, Field(-copies * own, Y, field.weights, field.fold_in))
        np.testing.assert_allclose(people.jointly(), [copies / 2] * 2, rtol=1e-6)
        np.testing.assert_allclose(people.alone(), [copies] * 2, rtol=1e-6)


def test_putting_people_back_takes_their_share_out_of_the_gradient() -> None:
    confidence, X, Y, field = scene(5)
    people = People.of(confidence[[2, 7]], field)
    back = field.without(people, np.array([0.5, np.nan]))
    own = own_gradient(confidence, 2, X[2], Y)
    np.testing.assert_allclose(back.gradient, field.gradient + 0.5 * own, atol=1e-9)


def test_a_person_without_a_known_item_has_no_measurable_share() -> None:
    confidence, _, _, field = scene(6)
    nobody = People.of(sparse.csr_matrix((1, confidence.shape[1])), field)
    assert np.isnan(nobody.alone()).all()
    assert np.isnan(nobody.jointly()).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 500), st.lists(st.integers(1, 12), min_size=1, max_size=20))
def test_the_never_seen_have_the_wanted_lengths_and_real_weights_and_are_the_same_every_time(
    seed: int, lengths: list[int]
) -> None:
    confidence = confidences(history(60, 30, seed).csr, 2.0)
    wanted = np.array(lengths)
    rows = [controls.never_seen(confidence, wanted, np.random.default_rng(seed)) for _ in "ab"]
    assert (rows[0] != rows[1]).nnz == 0
    rows[0].check_format()
    assert (np.diff(rows[0].indptr) <= wanted).all()
    assert (np.diff(rows[0].indptr) >= 1).all()
    assert set(rows[0].data) <= set(confidence.data)
    for k in range(len(lengths)):
        items = rows[0].indices[rows[0].indptr[k] : rows[0].indptr[k + 1]]
        assert (np.diff(items) > 0).all()


def test_members_are_drawn_once_each_and_never_without_a_history() -> None:
    csr = sparse.csr_matrix(np.array([[1.0], [0.0], [1.0]]))
    csr.eliminate_zeros()
    assert controls.members(csr, 400, np.random.default_rng(0)).tolist() == [0, 2]


def test_of_as_many_as_there_are_everybody_is_drawn_and_of_fewer_no_one_twice() -> None:
    csr = sparse.csr_matrix(np.ones((50, 1)))
    draw = np.random.default_rng(0)
    assert controls.members(csr, 50, draw).tolist() == list(range(50))
    few = controls.members(csr, 20, draw)
    assert (len(few), bool((np.diff(few) > 0).all())) == (20, True)


class _Draw:
    """Takes the first of whatever there is to draw from, and remembers what there was."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def choice(self, among: Any, size: Any = None, replace: bool = True) -> Any:
        found = np.asarray(among) if np.ndim(among) else np.arange(among)
        self.seen.append(found.tolist())
        if size is None:
            return found[0]
        assert replace is False
        return found[:size]


@pytest.mark.parametrize(
    ("length", "window"),
    [(1, (1, 32)), (17, (1, 32)), (18, (2, 33)), (50, (34, 65)), (85, (69, 100)),
     (100, (69, 100)), (1_000, (69, 100))],
)  # fmt: skip
def test_somebody_alike_is_one_of_the_thirty_two_whose_histories_are_nearest(
    length: int, window: tuple[int, int]
) -> None:
    """A hundred people with 1 to 100 items, beside two who have none."""
    lengths = np.array([0, *range(100, 0, -1), 0])
    matrix = sparse.csr_matrix(np.arange(100)[None, :] < lengths[:, None], dtype=float)
    draw = _Draw()
    controls.alike(matrix, np.array([length]), draw)  # type: ignore[arg-type]
    [seen] = draw.seen
    assert [int(lengths[row]) for row in seen] == list(range(window[0], window[1] + 1))


def test_of_few_people_anybody_with_a_history_is_alike() -> None:
    matrix = sparse.csr_matrix(np.array([[1.0, 0], [0, 0], [1, 1], [0, 1]]))
    matrix.eliminate_zeros()
    draw = _Draw()
    controls.alike(matrix, np.array([1]), draw)  # type: ignore[arg-type]
    assert draw.seen == [[0, 3, 2]]


@pytest.mark.parametrize(
    ("first", "second", "length", "split"),
    [(10, 10, 7, (4, 3)), (10, 10, 8, (4, 4)), (2, 10, 7, (2, 5)), (10, 1, 7, (6, 1)),
     (2, 2, 9, (2, 2)), (10, 10, 1, (1, 0)), (10, 0, 6, (6, 0)), (10, 10, 20, (10, 10))],
)  # fmt: skip
def test_an_invented_history_is_half_of_one_and_half_of_another_or_what_there_is(
    first: int, second: int, length: int, split: tuple[int, int]
) -> None:
    dense = np.zeros((2, first + second + 1))
    dense[0, :first], dense[1, first : first + second], dense[:, -1] = 2.0, 3.0, [2.0, 9.0]
    matrix = sparse.csr_matrix(dense[:, np.r_[0 : first + second]])
    draw = np.random.default_rng(0)
    for _ in range(5):
        items, values = controls._crossed(matrix, 0, 1, length, draw)
        assert ((values == 2.0).sum(), (values == 3.0).sum()) == split
        assert (np.diff(items) > 0).all()
        assert values.tolist() == [2.0 if item < first else 3.0 for item in items]


def test_of_what_two_share_nothing_is_taken_twice() -> None:
    matrix = sparse.csr_matrix(np.array([[2.0, 2.0, 2.0, 0.0], [3.0, 3.0, 3.0, 3.0]]))
    items, values = controls._crossed(matrix, 0, 1, 4, np.random.default_rng(0))
    assert (items.tolist(), values.tolist()) == ([0, 1, 2, 3], [2.0, 2.0, 2.0, 3.0])


def test_a_neighbour_shares_an_item_and_may_be_the_user() -> None:
    matrix = sparse.csr_matrix(np.array([[1.0, 0, 0, 1.0], [0, 1.0, 0, 1.0], [0, 0, 1.0, 0]]))
    draw = _Draw()
    controls._neighbour(matrix, matrix.tocsc(), 1, draw)  # type: ignore[arg-type]
    assert draw.seen == [[1, 3], [1]]
    draw = _Draw()
    controls._neighbour(matrix, matrix.tocsc(), 0, draw)  # type: ignore[arg-type]
    assert draw.seen == [[0, 3], [0]]


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_share_does_not_depend_on_the_scale_of_the_weights(scale: float) -> None:
    confidence, _, Y, field = scene(6)
    scaled = Field(field.gradient, Y, field.weights * scale, field.fold_in)
    plain, other = (People.of(confidence[:6], one) for one in (field, scaled))
    np.testing.assert_allclose(other.size, plain.size * scale, rtol=1e-9)
    np.testing.assert_allclose(other.alone(), plain.alone(), rtol=1e-9)
    np.testing.assert_allclose(other.jointly(), plain.jointly(), rtol=1e-7, atol=1e-9)


def test_somebody_who_adds_nothing_is_not_measured_and_disturbs_nobody() -> None:
    confidence, _, _, field = scene(7)
    empty = sparse.csr_matrix((1, confidence.shape[1]))
    mixed = People.of(sparse.vstack([confidence[:2], empty, confidence[2:4]], "csr"), field)
    plain = People.of(confidence[:4], field)
    with np.errstate(all="raise"):
        for found, expected in (
            (mixed.alone(), plain.alone()),
            (mixed.jointly(), plain.jointly()),
        ):
            np.testing.assert_allclose(found[[0, 1, 3, 4]], expected, rtol=1e-9)
            assert np.isnan(found[2])
        assert np.isnan(People.of(empty, field).jointly()).tolist() == [True]
        assert People.of(confidence[:0], field).jointly().tolist() == []
    one = People.of(confidence[:1], field)
    np.testing.assert_allclose(one.jointly(), one.alone(), rtol=1e-9)


def test_what_pulls_is_summed_over_all_items_under_their_weights() -> None:
    _, _, Y, field = scene(8)
    W = np.diag(field.weights)
    np.testing.assert_allclose(field.pull, Y.T @ W @ field.gradient, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(field.gram, Y.T @ W @ Y, rtol=1e-9, atol=1e-12)


def test_the_controls_are_drawn_by_the_first_twelve_digits_of_the_matrix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[Any] = []

    def noted(*arguments: Any) -> LayerResult:
        given.extend(arguments)
        return LayerResult("contribution", "?", "0", "0", ())

    monkeypatch.setattr(verification, "contribution", noted)
    als = case_of(honest("als"), canaries=(3,), untested=2)
    assert len(verify(als).layers) == 6
    assert given[3] == int.from_bytes(bytes.fromhex(als.retained.digest[:12]), "big")
    assert given[4:] == [(3,), 2, None]
    fading = als.stored.manifest.model_copy(update={"definition": {"half_life_days": 7.0}})
    given.clear()
    verify(replace(als, stored=replace(als.stored, manifest=fading)))
    at = Objective.of(als).minimised()
    assert (given[6] == at.sides.scale).all()
