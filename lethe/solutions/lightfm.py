"""LightFM (Kula 2015): ranking by identity and attribute embeddings, one thread, plain arrays out.

Every user and item has an indicator feature of its own, of weight 1, and beside it its attributes,
which share `feature_weight` among them. LightFM's own `Dataset` scales each row to sum to 1: with
three attributes an item then learns at a quarter of the step, and what it shares with others
drowns what is its own (measured in docs/benchmarks.md). After the fit the embeddings are
collapsed to one factor row and one bias for each id. The optimiser's accumulators are checked and
then dropped with the library's object.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy
from pydantic import BaseModel, ConfigDict, Field

from lethe.errors import BadConfiguration, BadInput, RecipeFailed
from lethe.interactions.training.matrix import Features, InteractionMatrix
from lethe.solutions.environment import one_blas_thread
from lethe.solutions.learned import Factors, FloatArray, Progress


class LightfmHyperparameters(BaseModel):
    """Bounds and defaults of LightFM.

    Attributes:
        components: columns of the embeddings.
        loss: ``warp`` and ``bpr`` rank against unseen items; ``logistic`` sees positives only.
        learning_rate: initial step of Adagrad.
        item_alpha, user_alpha: L2 penalties of the embeddings.
        epochs: passes over the interactions.
        use_item_features, use_user_features: learn the attributes too, where there are any.
        feature_weight: what all attributes of a row weigh together, beside its own indicator's 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    components: int = Field(default=32, ge=2, le=512)
    loss: Literal["warp", "bpr", "logistic"] = "warp"
    learning_rate: float = Field(default=0.05, gt=0, le=1, allow_inf_nan=False)
    item_alpha: float = Field(default=1e-6, ge=0, le=0.1, allow_inf_nan=False)
    user_alpha: float = Field(default=1e-6, ge=0, le=0.1, allow_inf_nan=False)
    epochs: int = Field(default=20, ge=1, le=300)
    use_item_features: bool = True
    use_user_features: bool = True
    feature_weight: float = Field(default=0.3, gt=0, le=100, allow_inf_nan=False)


class _Designs(NamedTuple):
    """Feature rows of both sides, as LightFM reads them."""

    users: Any
    items: Any


def fit(
    matrix: InteractionMatrix,
    hyperparameters: LightfmHyperparameters,
    seed: int,
    progress: Progress | None = None,
) -> Factors:
    """Fit cold with one thread; the same bits for the same arguments and environment.

    Weights enter as sample weights, scaled to a mean of 1. `progress` is called after every epoch.

    Raises:
        BadConfiguration: the seed is not in 0 .. 2**32 - 1 (LightFM's own limit).
        RecipeFailed: the fit diverged, or an optimiser accumulator contradicts the data.
    """
    from lightfm import LightFM

    if not 0 <= seed < 2**32:
        raise BadConfiguration("lightfm: the seed must be a whole number in 0 .. 2**32 - 1")
    use_users, use_items = hyperparameters.use_user_features, hyperparameters.use_item_features
    weight = hyperparameters.feature_weight
    designs = _Designs(
        _design(matrix.user_features if use_users else None, len(matrix.users), weight),
        _design(matrix.item_features if use_items else None, len(matrix.items), weight),
    )
    model = LightFM(
        no_components=hyperparameters.components,
        learning_schedule="adagrad",
        loss=hyperparameters.loss,
        learning_rate=hyperparameters.learning_rate,
        item_alpha=hyperparameters.item_alpha,
        user_alpha=hyperparameters.user_alpha,
        random_state=seed,
    )
    with one_blas_thread():
        _run(model, matrix, designs, hyperparameters.epochs, progress)
    check_accumulators(model, matrix.csr, designs.users, designs.items)
    return _collapsed(model, designs)


def _run(
    model: Any,
    matrix: InteractionMatrix,
    designs: _Designs,
    epochs: int,
    progress: Progress | None,
) -> None:
    weights = matrix.csr.tocoo(copy=True)
    weights.data = (weights.data / weights.data.mean(dtype=np.float64)).astype(np.float32)
    positives = scipy.sparse.coo_matrix(
        (np.ones_like(weights.data), (weights.row, weights.col)), shape=weights.shape
    )
    for epoch in range(1, epochs + 1):
        try:
            model.fit_partial(
                positives,
                user_features=designs.users,
                item_features=designs.items,
                sample_weight=weights,
                epochs=1,
                num_threads=1,
            )
        except ValueError as error:
            if "finite" not in str(error):
                raise
            raise RecipeFailed(f"lightfm: the fit diverged in epoch {epoch}") from None
        if progress is not None:
            progress(epoch, _collapsed(model, designs))


def _design(features: Features | None, rows: int, weight: float) -> Any:
    """Identity beside the attributes, which sum to `weight` in each row; float32 CSR."""
    identity = scipy.sparse.identity(rows, dtype=np.float32, format="csr")
    if features is None:
        return identity
    shared = features.csr.astype(np.float64)
    sums = np.asarray(abs(shared).sum(axis=1), dtype=np.float64).ravel()
    shared.data *= weight / np.repeat(sums, np.diff(shared.indptr))
    design = scipy.sparse.hstack([identity, shared], format="csr", dtype=np.float32)
    design.sort_indices()
    return design


def check_accumulators(model: Any, csr: Any, users: Any, items: Any) -> None:
    """Hold the optimiser's accumulators against the data that was to be learned from.

    Adagrad starts every accumulator at exactly 1 and every bias at 0, and only an update moves
    them. So a feature row that no interaction reaches must still stand at its start (for WARP
    users only: it draws any item as a negative). With the logistic loss the row of every id with
    an interaction must have moved. WARP and BPR update on a draw that succeeds: someone with few
    interactions, all ranked right from the start, is rightly left where the start put them.

    Raises:
        RecipeFailed: names the side and counts the rows.
    """
    learns_user = np.diff(csr.indptr) > 0
    learns_item = np.bincount(csr.indices, minlength=csr.shape[1]) > 0
    moved_users, moved_items = _moved(model, "user"), _moved(model, "item")

    reached = abs(users).T @ learns_user.astype(np.float32) > 0
    _require(~moved_users[~reached], "user feature rows were trained by no interaction")
    if model.loss != "warp":
        reached = abs(items).T @ learns_item.astype(np.float32) > 0
        _require(~moved_items[~reached], "item feature rows were trained by no interaction")
    if model.loss == "logistic":
        _require(moved_users[: len(learns_user)][learns_user], "user rows were never trained")
        _require(moved_items[: len(learns_item)][learns_item], "item rows were never trained")


def _moved(model: Any, side: str) -> npt.NDArray[np.bool_]:
    squares = getattr(model, f"{side}_embedding_gradients")
    bias_squares = getattr(model, f"{side}_bias_gradients")
    biases = getattr(model, f"{side}_biases")
    moved: npt.NDArray[np.bool_] = (squares != 1).any(axis=1) | (bias_squares != 1) | (biases != 0)
    return moved


def _require(holds: npt.NDArray[np.bool_], otherwise: str) -> None:
    wrong = int((~holds).sum())
    if wrong:
        raise RecipeFailed(f"lightfm: {wrong} {otherwise}")


def _collapsed(model: Any, designs: _Designs) -> Factors:
    def composed(design: Any, learned: FloatArray) -> FloatArray:
        return np.ascontiguousarray(design @ learned, dtype=np.float32)

    try:
        return Factors(
            composed(designs.users, model.user_embeddings),
            composed(designs.items, model.item_embeddings),
            composed(designs.users, model.user_biases),
            composed(designs.items, model.item_biases),
        )
    except BadInput as error:
        raise RecipeFailed(f"lightfm: {error}") from None
