"""ALS for implicit feedback (Hu, Koren, Volinsky 2008), fitted cold by `implicit`.

What `implicit` 0.7.3 minimises, read in its source (`implicit/cpu/_als.pyx`, `_least_squares`)
and confirmed by the oracle in `tests/solutions/test_als.py`:

    sum over ALL pairs of c_ui (p_ui - x_u . y_i)^2 + reg (sum |x_u|^2 + sum |y_i|^2)

- p_ui = 1 on observed pairs, 0 elsewhere;
- c_ui = alpha * r_ui on observed pairs (NOT 1 + alpha * r_ui), 1 elsewhere. The product is
  rounded to float32. So alpha * r below 1 trusts an observed pair less than an unobserved one;
- reg is added to the diagonal as it is: not scaled by the number of interactions, rows or alpha.

With a `popularity_discount` q each item has an alpha of its own, alpha 2^(q (m - k_i)) rounded to
float32: 2^k_i is the largest power of two that is no more than the users who have item i, and m the
middle k, the lower median over all observed pairs. So whatever everybody has says less of a person,
as with propensities that are a power of popularity (Saito et al. 2020), and powers of two let one
person more or less change next to nothing. c_ui is then alpha_i * r_ui, rounded to float32.

So the item half-step solves (X'X + X'(C_i - I)X + reg I) y_i = X' C_i p_i, and a row without an
observed pair gets a factor of exactly 0. An iteration solves users first, then items.

With `momentum` each iteration begins from where the one before would have come, had it gone on
(Nesterov 1983; for alternating least squares Mitchell, Ye and De Sterck 2020). What is minimised,
and the equations in which a fit comes to rest, stay the same; it comes there in fewer iterations
(docs/decisions/0028-momentum.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from lethe.errors import BadConfiguration, BadInput, RecipeFailed
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions.environment import one_blas_thread
from lethe.solutions.learned import Factors, FloatArray, Progress

# Threads of implicit's own loops. They do not change a bit of the result; 0 is one per core.
SOLVER_THREADS = 0
MOST_ITERATIONS = 200
_START_SCALE = np.float32(0.01)
_ROWS_AT_ONCE = 65_536


class AlsHyperparameters(BaseModel):
    """Bounds and defaults of ALS.

    Attributes:
        factors: columns of both factor matrices.
        regularization: added to the diagonal of each normal equation.
        alpha: confidence of an observed pair per unit of weight.
        iterations: conjugate-gradient iterations. With fewer than about 80, or 48 with momentum,
            deletion verification can refuse an honest fit, because it has not come to rest.
        further_iterations: what `fit_to_rest` ran beyond them.
        momentum: begin each iteration beyond where the one before ended.
        popularity_discount: the power of an item's popularity that its confidence is divided by.
        seal: add one last iteration with the exact solver, so that the item factors solve their
            normal equations to float32 precision.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    factors: int = Field(default=64, ge=8, le=512)
    regularization: float = Field(default=30.0, gt=0, le=10_000, allow_inf_nan=False)
    alpha: float = Field(default=5.0, gt=0, le=10_000, allow_inf_nan=False)
    iterations: int = Field(default=80, ge=1, le=MOST_ITERATIONS)
    further_iterations: int = Field(default=0, ge=0, le=MOST_ITERATIONS)
    momentum: bool = False
    popularity_discount: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    seal: bool = True


def fit(
    matrix: InteractionMatrix,
    hyperparameters: AlsHyperparameters,
    seed: int,
    progress: Progress | None = None,
    threads: int = SOLVER_THREADS,
) -> Factors:
    """Fit from a start that depends on the seed and each item's id alone; never warm.

    `progress` is called after every conjugate-gradient iteration, not after the seal.

    Raises:
        RecipeFailed: the solver failed or left a value that is not finite.
    """
    further = (hyperparameters.further_iterations,)
    return next(_stops(matrix, hyperparameters, seed, further, progress, threads))[1]


def fit_to_rest(
    matrix: InteractionMatrix,
    hyperparameters: AlsHyperparameters,
    seed: int,
    at_rest: Callable[[AlsHyperparameters, Factors], bool],
) -> tuple[AlsHyperparameters, Factors]:
    """`fit`, and as many further iterations as it takes until `at_rest`, or `MOST_ITERATIONS`.

    The hyper-parameters returned state how many it took, whatever those given state: `fit` gives
    the same bits with them.

    Raises:
        RecipeFailed: as `fit`.
    """
    first, further = hyperparameters.iterations, [0]
    while (count := first + further[-1]) < MOST_ITERATIONS:
        further.append(min(count * 3 // 2 + 1, MOST_ITERATIONS) - first)
    for taken, factors in _stops(matrix, hyperparameters, seed, tuple(further)):
        made = hyperparameters.model_copy(update={"further_iterations": taken})
        if taken == further[-1] or at_rest(made, factors):
            return made, factors
    raise AssertionError("the last stop returns")


def _stops(  # noqa: PLR0913
    matrix: InteractionMatrix,
    hyperparameters: AlsHyperparameters,
    seed: int,
    further: tuple[int, ...],
    progress: Progress | None = None,
    threads: int = SOLVER_THREADS,
) -> Iterator[tuple[int, Factors]]:
    """One fit, stopped and sealed after so many further iterations, in ascending order.

    Going on changes nothing of what a stop gave, nor a stop anything of what follows.
    """
    from implicit.cpu.als import AlternatingLeastSquares

    user_items, alpha = as_solved(matrix.csr, hyperparameters)
    heaviest = float(user_items.data.max(initial=0)) * alpha
    if heaviest > float(np.finfo(np.float32).max):
        raise RecipeFailed("als: alpha times the largest weight is beyond float32")
    with one_blas_thread():
        model = AlternatingLeastSquares(
            factors=hyperparameters.factors,
            regularization=hyperparameters.regularization,
            alpha=alpha,
            dtype=np.float32,
            use_native=True,
            use_cg=True,
            num_threads=threads,
            random_state=0,  # never drawn from: both factor matrices are set below
        )
        model.item_factors = item_start(matrix.items, hyperparameters.factors, seed)
        model.user_factors = np.zeros((len(matrix.users), hyperparameters.factors), np.float32)
    momentum = _Momentum(model) if hyperparameters.momentum else None
    done = 0

    def report(iteration: int, _seconds: float, _loss: float | None) -> None:
        if progress is not None:
            progress(done + iteration + 1, Factors(model.user_factors, model.item_factors))
        if momentum is not None and iteration + 1 < model.iterations:
            momentum.carry_on()

    for more in further:
        with one_blas_thread():
            if momentum is not None and done:
                momentum.carry_on()
            model.iterations = hyperparameters.iterations + more - done
            _solve(model, user_items, report)
            done += model.iterations
            stopped = model.user_factors, model.item_factors
            if more != further[-1]:
                model.user_factors, model.item_factors = (one.copy() for one in stopped)
            if hyperparameters.seal:
                model.use_cg, model.iterations = False, 1
                _solve(model, user_items, None)
        try:
            yield more, Factors(model.user_factors, model.item_factors)
        except BadInput as error:
            raise RecipeFailed(f"als: {error}") from None
        model.use_cg = True
        model.user_factors, model.item_factors = stopped


def as_solved(weights: Any, hyperparameters: AlsHyperparameters) -> tuple[Any, float]:
    """Weights and alpha as `implicit` is given them: a copy of the CSR, discounted, and a number.

    >>> from scipy.sparse import csr_matrix
    >>> weights = csr_matrix(np.float32([[1, 1, 0], [1, 1, 0], [1, 0, 0], [1, 0, 1]]))
    >>> rule = AlsHyperparameters(alpha=3.0, popularity_discount=1.0)
    >>> as_solved(weights, rule)[0].toarray()[-1].tolist()
    [3.0, 0.0, 12.0]
    """
    # implicit's compiled loops refuse read-only arrays
    own, alpha = weights.copy(), hyperparameters.alpha
    if not hyperparameters.popularity_discount:
        return own, alpha
    with np.errstate(over="ignore"):  # the fit refuses what is beyond float32
        own.data *= _alphas(own, alpha, hyperparameters.popularity_discount)[own.indices]
    return own, 1.0


def _alphas(user_items: Any, alpha: float, discount: float) -> FloatArray:
    """What a unit of weight counts for with each item: float32 (n_items,)."""
    users = np.bincount(user_items.indices, minlength=user_items.shape[1])
    doublings = np.frexp(np.maximum(users, 1))[1] - 1
    pairs = np.sort(doublings[user_items.indices])
    middle = pairs[(len(pairs) - 1) // 2] if len(pairs) else 0
    return np.asarray(alpha * np.exp2(discount * (middle - doublings)), dtype=np.float32)


class _Momentum:
    """Between two iterations, moves both factor matrices on by a share of how far they came.

    The share of step k is (k - 1) / (k + 2) (Nesterov 1983). Where the items turn back on where
    they were carried, k begins anew (O'Donoghue and Candes 2015, the gradient scheme).
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._users, self._items = model.user_factors.copy(), model.item_factors.copy()
        self._began = model.item_factors.copy()
        self._step = 0

    def carry_on(self) -> None:
        """After an iteration, in place; the arrays are float32, and one copy of each is held."""
        items = self._model.item_factors
        turned = _inner(items - self._began, items - self._items) < 0
        self._step = 1 if turned else self._step + 1
        share = np.float32((self._step - 1) / (self._step + 2))
        _carry(self._model.user_factors, self._users, share)
        _carry(items, self._items, share)
        self._began[:] = items


def _inner(first: FloatArray, second: FloatArray) -> float:
    return float(np.einsum("if,if->", first, second, dtype=np.float64))


def _carry(rows: FloatArray, before: FloatArray, share: np.float32) -> None:
    """`rows` gets rows + share * (rows - before), and `before` what `rows` was."""
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        some = slice(first, first + _ROWS_AT_ONCE)
        solved = rows[some].copy()
        rows[some] += share * (solved - before[some])
        before[some] = solved


def _solve(model: Any, user_items: Any, callback: Any) -> None:
    from implicit.recommender_base import ModelFitError

    try:
        model.fit(user_items, show_progress=False, callback=callback)
    except ModelFitError:
        raise RecipeFailed("als: the factors are not finite") from None
    except ValueError as error:
        if "posv failed" not in str(error):
            raise
        # the tool's message names a row
        raise RecipeFailed("als: a normal equation has no solution") from None


def item_start(items: tuple[str, ...], factors: int, seed: int) -> FloatArray:
    """Start of the item factors: float32 (len(items), factors), uniform in [0, 0.01).

    Row i is a function of the seed and the id of item i, so who else is in the data moves
    nothing. BLAKE2b of the id keyed by the seed gives 64 bits; SplitMix64 (Steele, Lea, Flood
    2014) counts on from there; the top 24 bits of each output are an exact float32.

    Raises:
        BadConfiguration: the seed is not in 0 .. 2**63 - 1.

    >>> alone = item_start(("b",), 8, seed=7)
    >>> bool((item_start(("a", "b", "c"), 8, seed=7)[1] == alone[0]).all())
    True
    """
    if not 0 <= seed < 2**63:
        raise BadConfiguration("the seed must be a whole number in 0 .. 2**63 - 1")
    salt = seed.to_bytes(8, "little")
    hashes = b"".join(
        hashlib.blake2b(item.encode(), digest_size=8, salt=salt).digest() for item in items
    )
    state = np.frombuffer(hashes, dtype="<u8").astype(np.uint64)
    top = _splitmix64(state[:, None] + _counters(factors)[None, :]) >> np.uint64(40)
    uniform = top.astype(np.float32) * np.float32(2.0**-24)
    return np.ascontiguousarray(uniform * _START_SCALE, dtype=np.float32)


def _counters(factors: int) -> npt.NDArray[np.uint64]:
    steps = np.arange(1, factors + 1, dtype=np.uint64)
    return steps * np.uint64(0x9E3779B97F4A7C15)


def _splitmix64(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
