"""Where popular items are trusted less, the equations ask what they ask without."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from benchmarks.mutants import MUTANTS, World, matrix_of, remembering
from lethe.errors import ArtifactCorrupt
from lethe.gate.audit.shadows import score_test
from lethe.gate.audit.statistics import FIT, Asked, Equations, measured
from lethe.gate.proof.algebra import FoldIn, alphas, confidences, users_by_item
from lethe.gate.proof.als import faintness
from lethe.gate.proof.als.contribution import People
from lethe.gate.proof.als.objective import Objective, discount
from lethe.gate.proof.report import Report, Verdict
from lethe.gate.proof.verification import sees_everybody, verify
from tests.gate.proof.test_mutants import RULE
from tests.solutions.histories import history

STEEP = 0.5
ERASED = tuple(range(0, 120, 10))


@cache
def world(steep: float = STEEP) -> World:
    rule = RULE.model_copy(update={"popularity_discount": steep})
    return World(history(300, 60, 5), ERASED, rule)


def stating(one: World, **changed: Any) -> Report:
    """The honest fit with a manifest that states something else, and no replay to find it out."""
    case = one.case(one.honest)
    manifest = case.stored.manifest
    values = {**manifest.hyperparameters, **changed}
    manifest = manifest.model_copy(update={"hyperparameters": values})
    return verify(remembering(replace(case, stored=replace(case.stored, manifest=manifest))))


@pytest.mark.parametrize("steep", [0.25, STEEP])
def test_an_honest_fit_is_verified_and_claims_the_residual_test(steep: float) -> None:
    one = world(steep)
    report = verify(one.case(one.honest))
    assert report.verdict is Verdict.VERIFIED, report.facts()
    assert report.residual_tested
    assert verify(remembering(one.case(one.honest))).verdict is Verdict.VERIFIED
    assert sees_everybody(one.case(one.honest))


@pytest.mark.parametrize("row", ERASED)
def test_a_single_person_left_in_is_refused_without_the_replay(row: int) -> None:
    one = world()
    alone = World(one.before, (row,), one.rule)
    report = verify(remembering(alone.case(alone.hiding([row]))))
    assert report.verdict is Verdict.REFUSED
    assert report.layers[3].findings


@pytest.mark.parametrize("name", MUTANTS)
def test_no_mutant_is_verified(name: str) -> None:
    assert verify(MUTANTS[name](world())).verdict is not Verdict.VERIFIED


def test_an_older_manifest_states_no_discount_and_trusts_all_items_alike() -> None:
    one = world(0.0)
    case = one.case(one.honest)
    values = dict(case.stored.manifest.hyperparameters)
    del values["popularity_discount"]
    assert discount(values) == 0.0
    manifest = case.stored.manifest.model_copy(update={"hyperparameters": values})
    older = replace(case, stored=replace(case.stored, manifest=manifest))
    assert verify(remembering(older)).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("stated", [0.0, 0.49, 1.0])
def test_a_manifest_that_states_another_discount_is_refused(stated: float) -> None:
    assert stating(world(), popularity_discount=stated).verdict is Verdict.REFUSED
    assert stating(world(), popularity_discount=STEEP).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("stated", [-0.1, 1.1, float("nan"), float("inf"), "0.5", None])
def test_a_discount_that_the_equations_cannot_use_is_refused(stated: object) -> None:
    with pytest.raises(ArtifactCorrupt, match="popularity_discount"):
        stating(world(), popularity_discount=stated)


@pytest.mark.parametrize(("steep", "faint"), [(0.0, 0), (STEEP, 12)])
def test_whoever_the_discount_leaves_too_faint_is_not_asked_about(steep: float, faint: int) -> None:
    """Without one nobody is let off, whatever they weigh."""
    whole, share = history(300, 60, 5), np.ones(300, np.float32)
    share[list(ERASED)] = 0.0003
    csr = (sparse.diags_array(share) @ whole.csr).tocsr().astype(np.float32)
    one = World(matrix_of(whole, csr), ERASED, world(steep).rule)
    report = verify(remembering(one.case(one.honest)))
    assert report.layers[5].faint == faint
    assert sees_everybody(one.case(one.honest)) is False or not faint
    assert not (faint and report.residual_tested)
    if faint:
        objective = Objective.of(one.case(one.honest))
        at = objective.minimised()
        people = People.of(confidences(one.suspects["erased"], objective.alpha), at.field)
        told = [control for control in report.layers[5].controls if "together" in control.name]
        assert told == [faintness.negligible(people, at.sides.scale)]


def test_the_audits_score_test_reads_a_member_as_the_verifier_does() -> None:
    one = world()
    stated = one.rule.model_dump()
    equations = Equations(stated["alpha"], stated["regularization"], discount(stated))
    rows = one.after.csr[:20]
    shares = score_test(one.after, one.honest, rows, equations)
    assert np.abs(shares).max() < 0.05
    other = score_test(one.after, one.honest, rows, replace(equations, popularity_discount=0.0))
    assert np.abs(other).max() > 0.2


def test_an_attacker_folds_in_with_what_is_sold_to_how_many() -> None:
    matrix = history(30, 20, 3)
    Y = np.random.default_rng(0).normal(size=(20, 5))
    users = users_by_item(matrix.csr)
    found = measured(Asked.of(matrix.csr, users), Y, None, Equations(3.0, 2.0, STEEP))[FIT]
    fold_in, trust = FoldIn(Y, 2.0), alphas(users, 3.0, STEEP)
    for row in range(len(matrix.users)):
        own = matrix.csr[row]
        x = fold_in(confidences(own, trust))[0]
        assert found[row] == pytest.approx(np.mean(Y[own.indices] @ x))


def test_factors_at_hand_and_a_case_make_the_same_objective() -> None:
    one = world()
    case = Objective.of(one.case(one.honest))
    at_hand = Objective.on(one.after.csr, one.honest, one.rule.model_dump())
    assert case.alpha.tolist() == at_hand.alpha.tolist()
    assert len(set(case.alpha.tolist())) > 1
    assert (case.confidence != at_hand.confidence).nnz == 0
