"""LightFM: one thread, collapsed to plain arrays, its accumulators held against the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from lethe.errors import BadConfiguration, RecipeFailed
from lethe.interactions.training.matrix import Features, InteractionMatrix
from lethe.solutions import lightfm
from lethe.solutions.learned import Learned
from lethe.solutions.lightfm import LightfmHyperparameters, check_accumulators
from tests.solutions.histories import history, without_user

RULE = LightfmHyperparameters(components=8, epochs=6)


@pytest.mark.parametrize("loss", ["warp", "bpr", "logistic"])
@pytest.mark.parametrize("features", [False, True])
def test_two_fits_are_bit_identical(loss: str, features: bool) -> None:
    matrix = history(features=features)
    rule = LightfmHyperparameters.model_validate({**RULE.model_dump(), "loss": loss})
    first = lightfm.fit(matrix, rule, 5).digests()
    lightfm.fit(without_user(matrix, 0), rule, 5)
    assert lightfm.fit(matrix, rule, 5).digests() == first
    assert lightfm.fit(matrix, rule, 6).digests() != first


def test_collapsed_scores_are_lightfms_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The independent path: LightFM's own predict from its own embeddings."""
    kept = []
    check = check_accumulators

    def keep(model: Any, csr: object, users: object, items: object) -> None:
        check(model, csr, users, items)
        kept.append((model, users, items))

    monkeypatch.setattr(lightfm, "check_accumulators", keep)
    matrix = history(features=True)
    fitted = lightfm.fit(matrix, RULE, 5)
    model, users, items = kept[0]
    rows = np.repeat(np.arange(10, dtype=np.int32), len(matrix.items))
    columns = np.tile(np.arange(len(matrix.items), dtype=np.int32), 10)
    theirs = model.predict(rows, columns, user_features=users, item_features=items)
    ours = fitted.scores(np.arange(10)).ravel()
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def test_features_are_used_only_when_asked_for() -> None:
    matrix = history(features=True)
    bare = RULE.model_copy(update={"use_item_features": False, "use_user_features": False})
    assert lightfm.fit(matrix, bare, 5).digests() == lightfm.fit(history(), RULE, 5).digests()
    assert lightfm.fit(matrix, RULE, 5).digests() != lightfm.fit(history(), RULE, 5).digests()


def test_progress_is_told_after_every_epoch_and_changes_nothing() -> None:
    epochs: list[int] = []

    def watch(epoch: int, learned: Learned) -> None:
        epochs.append(epoch)
        assert learned.scores(np.arange(2)).shape == (2, 60)

    watched = lightfm.fit(history(), RULE, 5, watch)
    assert epochs == [1, 2, 3, 4, 5, 6]
    assert watched.digests() == lightfm.fit(history(), RULE, 5).digests()


def fitted_model(matrix: InteractionMatrix, loss: str = "warp") -> tuple[object, object, object]:
    from lightfm import LightFM

    users, items = (lightfm._design(None, size, 1.0) for size in matrix.csr.shape)
    model = LightFM(no_components=8, loss=loss, random_state=1)
    model.fit(matrix.csr.copy().tocoo(), users, items, epochs=6, num_threads=1)
    return model, users, items


def emptied(matrix: InteractionMatrix, row: int) -> sparse.csr_matrix:
    """The user is erased from the interactions, and the row was left behind."""
    csr = matrix.csr.tolil()
    csr[row] = 0
    return csr.tocsr()


@pytest.mark.parametrize("loss", ["warp", "bpr", "logistic"])
def test_a_user_row_trained_by_a_purged_history_is_caught(loss: str) -> None:
    """Mutant: the fit saw a user whom the retained interactions do not hold."""
    matrix = history()
    model, users, items = fitted_model(matrix, loss)
    check_accumulators(model, matrix.csr, users, items)
    with pytest.raises(RecipeFailed, match="1 user feature rows were trained by no interaction"):
        check_accumulators(model, emptied(matrix, 7), users, items)


def test_an_item_row_trained_by_a_purged_history_is_caught_where_the_loss_allows() -> None:
    """WARP draws untouched items as negatives, so only BPR and logistic can say this."""
    matrix = history()
    model, users, items = fitted_model(matrix, "logistic")
    columns = matrix.csr.tolil()
    columns[:, 59] = 0
    with pytest.raises(RecipeFailed, match="1 item feature rows"):
        check_accumulators(model, columns.tocsr(), users, items)


def test_an_id_that_was_never_trained_is_caught() -> None:
    """Mutant: a retained user's history did not reach the fit (over-deletion)."""
    matrix = history()
    purged = InteractionMatrix(matrix.users, matrix.items, emptied(matrix, 7))
    model, users, items = fitted_model(purged, "logistic")
    with pytest.raises(RecipeFailed, match="1 user rows were never trained"):
        check_accumulators(model, matrix.csr, users, items)


@pytest.mark.parametrize("loss", ["warp", "bpr"])
def test_a_user_whose_one_item_ranks_first_anyway_does_not_stop_a_ranking_loss(loss: str) -> None:
    """WARP finds no violation for such a user, and BPR may draw the item as its own negative."""
    dense = np.zeros((300, 40), dtype=np.float32)
    dense[:, 0] = 1
    dense[:3, 1:12] = 1
    crowd = history(300, 40)
    matrix = InteractionMatrix(crowd.users, crowd.items, sparse.csr_matrix(dense))
    values = RULE.model_copy(update={"loss": loss, "epochs": 1, "learning_rate": 0.2})
    assert np.isfinite(lightfm.fit(matrix, values, 5).user_factors).all()


def test_an_attribute_that_only_absent_users_hold_stays_at_its_start() -> None:
    matrix = history(features=True)
    assert matrix.user_features is not None
    csr = sparse.hstack([matrix.user_features.csr, sparse.csr_matrix((120, 1))], format="csr")
    wider = Features((*matrix.user_features.names, "segment=gone"), csr.astype(np.float32))
    widened = InteractionMatrix(matrix.users, matrix.items, matrix.csr, user_features=wider)
    assert lightfm.fit(widened, RULE, 5).user_factors.shape == (120, 8)


def test_a_user_who_has_every_item_does_not_stop_warp() -> None:
    dense = history(20, 10).csr.toarray()
    dense[3] = 1
    matrix = InteractionMatrix(
        history(20, 10).users, history(20, 10).items, sparse.csr_matrix(dense)
    )
    assert np.isfinite(lightfm.fit(matrix, RULE, 5).user_factors).all()


def test_attributes_share_their_weight_and_leave_the_indicator_its_own() -> None:
    features = history(features=True).item_features
    assert features is not None
    both = Features(
        (*features.names, "brand=x"),
        sparse.hstack([features.csr, np.ones((60, 1), np.float32)], format="csr"),
    )
    design = lightfm._design(both, 60, 0.5).toarray()
    assert (design[:, :60] == np.eye(60)).all()
    assert np.allclose(design[:, 60:].sum(axis=1), 0.5)
    assert set(np.unique(design[:, 60:])) == {0.0, 0.25}


def test_a_fit_that_diverges_fails_with_its_epoch() -> None:
    wild = {"learning_rate": 1.0, "loss": "bpr", "item_alpha": 0.1, "user_alpha": 0.1}
    with pytest.raises(RecipeFailed, match="diverged in epoch 1"):
        lightfm.fit(history(), RULE.model_copy(update=wild), 5)


def test_a_seed_that_lightfm_cannot_take_is_refused() -> None:
    with pytest.raises(BadConfiguration, match="seed"):
        lightfm.fit(history(), RULE, 2**32)
