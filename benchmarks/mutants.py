"""Artifacts that must not be promoted, and honest ones that must: for tests and benchmarks.

A `World` is a matrix before and after some people were erased, with an honest cold fit on each.
A mutant is a stored artifact with something of the erased left in it, its manifest forged to fit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lethe.gate.proof.case import Case
from lethe.gate.proof.layers import popular_order
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions import als
from lethe.solutions.als import AlsHyperparameters, as_solved
from lethe.solutions.environment import one_blas_thread
from lethe.solutions.factors import Manifest, Solution
from lethe.solutions.learned import Factors

HEAD = "e" * 64
SEED = 7


def matrix_of(matrix: InteractionMatrix, csr: Any) -> InteractionMatrix:
    """The same ids over other cells; users and items without one fall out."""
    csr = csr.copy()
    csr.eliminate_zeros()
    users = np.flatnonzero(np.diff(csr.indptr))
    items = np.flatnonzero(np.bincount(csr.indices, minlength=csr.shape[1]))
    kept = csr[users][:, items].tocsr()
    kept.sort_indices()
    return InteractionMatrix(
        tuple(matrix.users[k] for k in users), tuple(matrix.items[k] for k in items), kept
    )


def without(matrix: InteractionMatrix, users: Sequence[int]) -> InteractionMatrix:
    """The matrix after these rows were purged."""
    kept = np.ones(len(matrix.users), dtype=np.float32)
    kept[list(users)] = 0
    from scipy import sparse

    return matrix_of(matrix, (sparse.diags_array(kept) @ matrix.csr).tocsr().astype(np.float32))


def onto(factors: Factors, of: InteractionMatrix, wanted: InteractionMatrix) -> Factors:
    """Rows of `of` in the order of `wanted`; what `of` lacks gets zeros."""

    def rows(array: Any, have: Sequence[str], want: Sequence[str]) -> Any:
        place = {name: k for k, name in enumerate(have)}
        made = np.zeros((len(want), array.shape[1]), dtype=np.float32)
        for k, name in enumerate(want):
            if name in place:
                made[k] = array[place[name]]
        return made

    return Factors(
        rows(factors.user_factors, of.users, wanted.users),
        rows(factors.item_factors, of.items, wanted.items),
    )


@dataclass(frozen=True, eq=False, repr=False)
class World:
    """A matrix with the people to be erased (`erased`: rows of `before`), and how it is fitted.

    `definition` is what the manifest records of the rules that the matrix follows from.
    """

    before: InteractionMatrix
    erased: tuple[int, ...]
    rule: AlsHyperparameters
    seed: int = SEED
    threads: int = 1
    definition: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def fit(self, matrix: InteractionMatrix) -> Factors:
        return als.fit(matrix, self.rule, self.seed, threads=self.threads)

    @cached_property
    def after(self) -> InteractionMatrix:
        return without(self.before, self.erased)

    @cached_property
    def honest(self) -> Factors:
        return self.fit(self.after)

    @cached_property
    def stale(self) -> Factors:
        """Fitted before the purge, in the order of what is left after it."""
        return onto(self.fit(self.before), self.before, self.after)

    def hiding(self, users: Sequence[int], share: float = 1.0) -> Factors:
        """Fitted on the retained and on `share` of the items of some of the erased."""
        draw = np.random.default_rng(len(users))
        csr = self.before.csr.copy()
        for row in set(self.erased) | set(users):
            span = slice(csr.indptr[row], csr.indptr[row + 1])
            survivors = draw.random(span.stop - span.start) < (share if row in users else 0.0)
            if row in users and not survivors.any():
                survivors[0] = True
            csr.data[span] *= survivors
        hidden = matrix_of(self.before, csr)
        return onto(self.fit(hidden), hidden, self.after)

    def warmed(self, iterations: int) -> Factors:
        """The stale factors, `iterations` further on the retained, and sealed."""
        from implicit.cpu.als import AlternatingLeastSquares

        rule = self.rule
        weights, alpha = as_solved(self.after.csr, rule)
        with one_blas_thread():
            model = AlternatingLeastSquares(
                factors=rule.factors,
                regularization=rule.regularization,
                alpha=alpha,
                iterations=iterations,
                dtype=np.float32,
                use_cg=True,
                num_threads=self.threads,
            )
            model.user_factors = self.stale.user_factors.copy()
            model.item_factors = self.stale.item_factors.copy()
            if iterations:
                model.fit(weights, show_progress=False)
            model.use_cg, model.iterations = False, 1
            model.fit(weights, show_progress=False)
        return Factors(model.user_factors, model.item_factors)

    @cached_property
    def suspects(self) -> Mapping[str, Any]:
        """Histories of the erased in the columns of the retained."""
        place = {name: k for k, name in enumerate(self.before.items)}
        columns = [place[name] for name in self.after.items]
        return {"erased": self.before.csr[list(self.erased)][:, columns].tocsr()}

    def case(self, factors: Factors, **changes: Any) -> Case:
        """A forged case: everything but the factors is as it should be, save the changes."""
        stored = Solution(
            factors,
            self.after.users,
            self.after.items,
            popular_order(self.after),
            Manifest(
                recipe="als",
                hyperparameters=self.rule.model_dump(mode="json"),
                seed=self.seed,
                matrix_digest=self.after.digest,
                data_version="data",
                register_position=1,
                register_head=HEAD,
                environment={"python": "3"},
                files={"users.txt": "f" * 64},
                definition=dict(self.definition),
            ),
        )
        honest = self.honest.digests()
        given = {
            "artifact_digest": "a" * 64,
            "stored": stored,
            "files": stored.manifest.files,
            "beside": {"serving.py": True},
            "retained": self.after,
            "tombstones": tuple(f"t{user}" for user in self.after.users),
            "forbidden": frozenset(f"t{self.before.users[k]}" for k in self.erased),
            "head_position": 1,
            "head_digest": HEAD,
            "recorded_head": HEAD,
            "data_version": "data",
            "environment": {"python": "3"},
            "replay": lambda _matrix: honest,
            "suspects": self.suspects,
        }
        return Case(**{**given, **changes})


def remembering(case: Case) -> Case:
    """The same artifact from a recipe that remembers: its second fit gives the same bits."""
    return dataclasses.replace(case, replay=lambda _matrix: case.stored.factors.digests())


def _with(world: World, **changes: Any) -> Solution:
    return dataclasses.replace(world.case(world.honest).stored, **changes)


def _leftover_user(world: World) -> Case:
    row = world.erased[0]
    users = tuple(sorted((*world.after.users, world.before.users[row])))
    place = users.index(world.before.users[row])
    X = np.insert(world.honest.user_factors, place, 0.1, axis=0)
    stored = _with(world, users=users, factors=Factors(X, world.honest.item_factors))
    return world.case(world.honest, stored=stored, tombstones=tuple(f"t{u}" for u in users))


def _orphan_item(world: World) -> Case:
    items = (*world.after.items, "zzzz-orphan")
    Y = np.vstack([world.honest.item_factors, np.full((1, world.rule.factors), 0.1, np.float32)])
    popular = np.append(popular_order(world.after), np.int32(len(items) - 1))
    factors = Factors(world.honest.user_factors, np.ascontiguousarray(Y))
    return world.case(
        world.honest, stored=_with(world, items=items, popular=popular, factors=factors)
    )


def _over_deleted(world: World) -> Case:
    """One retained user more was left out of the fit."""
    fewer = without(world.after, [longest(world.after)])
    return world.case(onto(world.fit(fewer), fewer, world.after))


def longest(matrix: InteractionMatrix, place: float = 0.5) -> int:
    """The row with the history at this quantile of lengths."""
    return int(
        np.argsort(np.diff(matrix.csr.indptr), kind="stable")[int(place * (len(matrix.users) - 1))]
    )


def _swapped(world: World) -> Case:
    X = world.honest.user_factors.copy()
    a, b = longest(world.after, 0.5), longest(world.after, 0.8)
    X[[a, b]] = X[[b, a]]
    return world.case(Factors(X, world.honest.item_factors))


def _one_ulp(world: World) -> Case:
    Y = world.honest.item_factors.copy()
    Y[0, 0] = np.nextafter(Y[0, 0], np.float32(np.inf))
    return world.case(Factors(world.honest.user_factors, Y))


def _refitted(world: World, **changes: Any) -> Case:
    rule = world.rule.model_copy(update=changes)
    other = dataclasses.replace(world, rule=rule)
    return other.case(other.honest)


def _wrong_popular(world: World) -> Case:
    order = popular_order(world.after)[::-1].copy()
    return world.case(world.honest, stored=_with(world, popular=order))


def _other_matrix(world: World) -> Case:
    manifest = world.case(world.honest).stored.manifest
    other = manifest.model_copy(update={"matrix_digest": "0" * 64})
    return world.case(world.honest, stored=_with(world, manifest=other))


MUTANTS: Mapping[str, Callable[[World], Case]] = {
    "every erased user stale": lambda w: w.case(w.stale),
    "one erased user stale": lambda w: w.case(w.hiding(w.erased[:1])),
    "half of one user's items survive": lambda w: w.case(w.hiding(w.erased[:1], 0.5)),
    "a tenth of one user's items survives": lambda w: w.case(w.hiding(w.erased[:1], 0.1)),
    "warm start, sealed only": lambda w: w.case(w.warmed(0)),
    "warm start, 5 iterations": lambda w: w.case(w.warmed(5)),
    "warm start, 20 iterations": lambda w: w.case(w.warmed(20)),
    "warm start, 50 iterations": lambda w: w.case(w.warmed(50)),
    "an erased user still listed": _leftover_user,
    "an orphan item kept": _orphan_item,
    "one retained user not trained on": _over_deleted,
    "two users' factors swapped": _swapped,
    "one unit in the last place": _one_ulp,
    "other popular order": _wrong_popular,
    "other matrix recorded": _other_matrix,
    "register is not the recorded one": lambda w: w.case(w.honest, recorded_head="0" * 64),
    "a file changed": lambda w: w.case(w.honest, files={"users.txt": "0" * 64}),
    "a file too many": lambda w: w.case(w.honest, files={"users.txt": "f" * 64, "x": "0" * 64}),
    "another environment": lambda w: w.case(w.honest, environment={"python": "4"}),
    "not sealed": lambda w: _refitted(w, seal=False, iterations=5),
    "not converged (3 iterations)": lambda w: _refitted(w, iterations=3),
}
