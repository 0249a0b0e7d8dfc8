"""The audit sees a model that remembers, and sees nothing in one that ignores its input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from lethe.errors import BadConfiguration
from lethe.gate.audit import membership, shadows
from lethe.gate.audit.membership import LIRA, MEMBERS, OUTSIDERS, SCORE_TEST, Found, Subject
from lethe.gate.audit.statistics import COSINE, FIT, RARE, STATISTICS, Asked, Equations, measured
from lethe.gate.proof.algebra import FoldIn, confidences
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions.als import AlsHyperparameters
from lethe.solutions.als import fit as fit_als
from lethe.solutions.learned import Factors
from tests.gate.proof.cases import fitted
from tests.solutions.histories import history


def ignoring(matrix: InteractionMatrix) -> Factors:
    """Factors that depend on how many people there are, and on nobody's history."""
    draw = np.random.default_rng(len(matrix.users))
    rows = (len(matrix.users), len(matrix.items))
    return Factors(*(draw.normal(size=(n, 8)).astype(np.float32) for n in rows))


def remembering(matrix: InteractionMatrix) -> Factors:
    """Each person leaves one direction of their own in the items they touched."""
    wide = 512
    X = np.zeros((len(matrix.users), wide), np.float32)
    for row, user in enumerate(matrix.users):
        X[row] = np.random.default_rng(int(user, 16)).normal(size=wide)
    seen = sparse.csr_matrix(matrix.csr, copy=True)
    seen.data[:] = 1
    return Factors(X, np.ascontiguousarray(seen.T @ X, dtype=np.float32))


def subject(
    fit: Any, equations: Equations | None, users: int = 80, kept_out: int = 20, items: int = 60
) -> Subject:
    everybody = history(users + kept_out, items, 7)
    rows = np.arange(users + kept_out) < users
    whole = shadows.only(everybody, rows)
    return Subject(whole, whole, everybody.csr[~rows], fit(whole), equations)


def run(
    fit: Any, equations: Equations | None = None, seed: int = 1, targets: int = 50, **more: Any
) -> Found:
    who = subject(fit, equations, **more)
    return membership.audit(who, fit, 8, targets, seed, lambda model, seconds: None)


def area(found: Found, name: str) -> float:
    return next(attack.auc for attack in found.attacks if attack.name == name)


def als(**changed: Any) -> Any:
    """Eight factors on one thread: the machine is shared, and threads change no bit."""
    values = AlsHyperparameters(factors=8, **{"iterations": 4, "regularization": 1.0, **changed})
    return lambda matrix: fit_als(matrix, values, 5, threads=1)


def test_a_model_that_remembers_everybody_is_seen() -> None:
    found = run(remembering, items=400, users=160, targets=160)
    assert area(found, f"{LIRA}, {FIT}") > 0.95
    members, kept_out = (
        next(one for one in found.champion if one.name.endswith(FIT) and one.group == group)
        for group in (MEMBERS, OUTSIDERS)
    )
    assert members.low > 0.7
    assert kept_out.low <= 0.5 <= kept_out.high


def test_a_model_that_ignores_its_input_gives_an_auc_of_a_half_over_seeds() -> None:
    areas = {name: [] for name in STATISTICS}  # type: ignore[var-annotated]
    for seed in range(12):
        found = run(ignoring, seed=seed)
        for name in STATISTICS:
            areas[name].append(area(found, f"{LIRA}, {name}"))
    for name, values in areas.items():
        assert abs(np.mean(values) - 0.5) < 4 * np.std(values) / np.sqrt(len(values)) + 0.01, name


def test_less_regularisation_leaks_more() -> None:
    loose, tuned = (
        run(als(regularization=reg, iterations=10), Equations(5.0, reg)) for reg in (0.05, 60.0)
    )
    sharpest = [max(area(found, f"{LIRA}, {s}") for s in STATISTICS) for found in (loose, tuned)]
    assert sharpest[0] > sharpest[1] + 0.02


def test_the_score_test_tells_members_from_those_who_were_kept_out() -> None:
    found = run(als(regularization=10.0, iterations=25), Equations(5.0, 10.0))
    assert found.sharpest == SCORE_TEST
    assert area(found, SCORE_TEST) > 0.999
    assert found.groups[MEMBERS].min() > 0.5 > found.groups[OUTSIDERS].max()
    assert (found.targets, found.outsiders) == (50, 20)


def test_people_who_were_trained_on_after_all_stand_with_the_members() -> None:
    fit, equations = als(regularization=10.0, iterations=25), Equations(5.0, 10.0)
    honest = subject(fit, equations)
    everybody = history(100, 60, 7)
    stale = fit(everybody)
    kept = Factors(np.ascontiguousarray(stale.user_factors[:80]), stale.item_factors)
    found = membership.audit(
        replace(honest, factors=kept), fit, 8, 80, 1, lambda model, seconds: None
    )
    told = {one.group: one.auc for one in found.champion if one.name == SCORE_TEST}
    assert told[OUTSIDERS] > 0.95


def test_the_same_arguments_give_the_same_answer_and_everybody_is_in_about_half() -> None:
    first, second = (run(als(), Equations(5.0, 1.0), seed=9) for _ in range(2))
    assert first.attacks == second.attacks
    assert first.champion == second.champion
    inside = shadows.drawn(16, 4_000, np.random.default_rng(0))
    assert abs(inside.mean() - 0.5) < 0.01
    assert np.quantile(inside.sum(axis=0), [0.005, 0.995]).tolist() == pytest.approx([8, 8], abs=6)


def test_a_shadow_model_holds_only_its_half_and_keeps_every_item() -> None:
    whole = history(features=True)
    rows = np.arange(len(whole.users)) % 2 == 0
    half = shadows.only(whole, rows)
    assert half.users == whole.users[::2]
    assert half.items == whole.items
    assert (half.csr != whole.csr[rows]).nnz == 0
    assert half.user_features is not None
    assert whole.user_features is not None
    assert half.user_features.names == whole.user_features.names
    hidden = replace(whole, user_features=None)
    assert shadows.only(hidden, rows).user_features is None


def test_statistics_are_what_their_words_say() -> None:
    matrix = history(30, 20, 3)
    Y = np.random.default_rng(0).normal(size=(20, 5))
    b = np.random.default_rng(1).normal(size=20)
    popularity = np.bincount(matrix.csr.indices, minlength=20)
    asked = Asked.of(matrix.csr, popularity)
    exact = measured(asked, Y, None, Equations(3.0, 2.0))
    plain = measured(asked, Y, b, None)
    fold_in = FoldIn(Y, 2.0)
    unit = Y / np.linalg.norm(Y, axis=1, keepdims=True)
    for row in range(len(matrix.users)):
        own = matrix.csr[row]
        items = own.indices
        x = fold_in(confidences(own, 3.0))[0]
        assert exact[FIT][row] == pytest.approx(np.mean(Y[items] @ x))
        rare = items[np.argsort(popularity[items], kind="stable")][:3]
        scores, cosines = [], []
        for item in rare:
            rest = own.toarray()
            rest[0, item] = 0
            less = sparse.csr_matrix(rest)
            scores.append(float(Y[item] @ fold_in(confidences(less, 3.0))[0]))
            middle = unit[items[items != item]].sum(axis=0)
            cosines.append(float(unit[item] @ middle / (np.linalg.norm(middle) or 1)))
        assert exact[RARE][row] == pytest.approx(np.mean(scores))
        assert plain[RARE][row] == pytest.approx(np.mean(cosines))
        profile = Y[items].mean(axis=0)
        assert plain[FIT][row] == pytest.approx(np.mean(Y[items] @ profile + b[items]))
        pairs = [unit[i] @ unit[j] for i in items for j in items if i != j]
        assert plain[COSINE][row] == pytest.approx(np.mean(pairs) if pairs else 0.0)
        assert exact[COSINE][row] == plain[COSINE][row]


def test_lightfm_is_attacked_through_its_item_embeddings() -> None:
    found = run(lambda matrix: fitted("lightfm", matrix)[0])
    assert [attack.name for attack in found.attacks][-1] == f"{LIRA}, {COSINE}"
    assert found.sharpest.startswith(LIRA)
    assert len(found.champion) == 2 * len(STATISTICS)


def test_too_few_people_are_refused() -> None:
    with pytest.raises(BadConfiguration, match="an audit needs 20 people"):
        run(ignoring, users=10, kept_out=2)
