"""Lists for everybody against a slow way that sorts every catalogue in pure Python."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from lethe.errors import BadInput, RecipeFailed
from lethe.gate.scoring import ranking
from lethe.gate.scoring.metrics import NO_ITEM
from lethe.gate.scoring.ranking import recommend_all
from lethe.solutions.learned import Factors

World = tuple[Factors, np.ndarray, np.ndarray]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Factors of few levels, so that many scores tie, histories, and whom to recommend to."""
    users, items, width = draw(st.integers(1, 9)), draw(st.integers(1, 40)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([1, 2, 1000]))

    def some(*shape: int) -> np.ndarray:
        return random.integers(-levels, levels + 1, shape).astype(np.float32)

    biases = (some(users), some(items)) if draw(st.booleans()) else (None, None)
    factors = Factors(some(users, width), some(items, width), *biases)
    seen = random.random((users, items)) < draw(st.sampled_from([0.0, 0.3, 0.95]))
    rows = random.permutation(users)[: draw(st.integers(0, users))].astype(np.int64)
    return factors, seen, rows


def slowly(world: World, depth: int) -> list[list[tuple[int, float]]]:
    """Of each row (item, score), best first, ties by the lower item."""
    factors, seen, rows = world
    scores = factors.scores(np.arange(len(seen)))
    return [
        sorted(
            ((i, float(scores[row, i])) for i in range(seen.shape[1]) if not seen[row, i]),
            key=lambda one: (-one[1], one[0]),
        )[:depth]
        for row in rows
    ]


@settings(max_examples=120, deadline=None)
@given(worlds(), st.integers(1, 50), st.integers(1, 3), st.integers(1, 200))
def test_the_lists_are_those_of_a_slow_sort_whatever_the_blocks_and_the_threads(
    world: World, depth: int, threads: int, cells: int
) -> None:
    factors, seen, rows = world
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_SHARE_CELLS", cells)
        parts = list(recommend_all(factors, rows, csr_matrix(seen[rows]), depth, threads))
    assert [row for part in parts for row in part.rows.tolist()] == rows.tolist()
    found = []
    for part in parts:
        assert part.items.shape == part.scores.shape == (len(part.rows), depth)
        assert (part.items == NO_ITEM).tolist() == np.isnan(part.scores).tolist()
        for items, scores in zip(part.items.tolist(), part.scores.tolist(), strict=True):
            pairs = zip(items, scores, strict=True)
            found.append([(item, score) for item, score in pairs if item != NO_ITEM])
    assert found == slowly(world, depth)


@dataclass
class Wrong:
    """A recipe gone wrong."""

    scored: np.ndarray

    def scores(self, rows: np.ndarray) -> np.ndarray:
        return self.scored[: len(rows)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "scored", [np.full((3, 4), np.nan, np.float32), np.zeros((3, 5), np.float32)], ids=["nan", "5"]
)
def test_scores_that_are_none_are_refused(scored: np.ndarray, threads: int) -> None:
    with pytest.raises(RecipeFailed):
        list(recommend_all(Wrong(scored), np.arange(3), csr_matrix((3, 4)), 2, threads))


def test_what_is_not_aligned_or_asks_for_nothing_is_refused() -> None:
    learned = Wrong(np.zeros((3, 4), np.float32))
    for rows, depth, threads in ((2, 1, 1), (3, 0, 1), (3, 1, 0)):
        with pytest.raises(BadInput):
            list(recommend_all(learned, np.arange(rows), csr_matrix((3, 4)), depth, threads))
    [part] = recommend_all(learned, np.arange(3), csr_matrix((3, 4)), 6)
    assert part.items.tolist() == [[0, 1, 2, 3, -1, -1]] * 3
    assert math.isnan(part.scores[0, 5])
