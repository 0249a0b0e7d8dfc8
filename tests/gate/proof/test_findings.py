"""What a refusal says: how many and where, and never who."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lethe.gate.proof.case import Case
from lethe.gate.proof.layers import manifest_layer, replay, structure
from lethe.gate.proof.verification import Verdict, verify
from lethe.solutions.factors import Solution, array_digests
from tests.gate.proof.cases import HEAD, case_of, honest, shop, solution_of
from tests.gate.proof.test_layers import LAYERS, MUTANTS, refusals


def everything_said(case: Case) -> str:
    return " ".join(repr(layer(case)) for layer in LAYERS.values())


@pytest.mark.parametrize("mutant", MUTANTS)
def test_findings_count_and_name_nobody(mutant: str) -> None:
    case = MUTANTS[mutant][0]("als")
    said = everything_said(case)
    people = {*case.stored.users, *case.tombstones, *case.forbidden, *shop().everybody.users}
    assert not any(name in said for name in people)
    assert not any(item in said for item in case.stored.items)


def test_a_finding_says_how_many() -> None:
    two = case_of(solution_of("als", shop().everybody))
    counts = {finding.rule: finding.count for finding in structure(two).findings}
    assert counts["a user in the artifact is not among the retained"] == 2
    assert counts["a user may not train at the register's head"] == 2
    assert counts["an item in the artifact has no retained interaction"] == 1


def test_the_manifest_layer_names_what_differs_in_the_environment() -> None:
    case = case_of(honest("als"))
    other = {**case.environment, "numpy": "0.1", "blas_kernel": "another"}
    rules = [finding.rule for finding in manifest_layer(replace(case, environment=other)).findings]
    assert rules == ["environment differs (blas_kernel, numpy)"]


def _said(case: Case, **changed: object) -> tuple[bool, Verdict]:
    found = verify(replace(case, **changed))  # type: ignore[arg-type]
    return found.only_elsewhere, found.verdict


def test_what_another_process_breaks_by_itself_is_told_apart_and_verifies_nothing() -> None:
    case = case_of(honest("lightfm"))
    other = {**case.environment, "numpy": "0.1"}
    strange = dict.fromkeys(array_digests(case.stored.factors), "0" * 64)
    refused = Verdict.REFUSED
    assert _said(case) == (False, Verdict.VERIFIED)
    for only in (
        {"environment": other},
        {"beside": {"serving.py": False}},
        {"environment": other, "replay": lambda _matrix: strange},
    ):
        assert _said(case, **only) == (True, refused)
        forbidden = frozenset(case.tombstones[:1])
        assert _said(case, **only, forbidden=forbidden) == (False, refused)
        assert _said(case, **only, layers=("another",)) == (False, refused)
        assert _said(case, **only, recorded_head=None) == (False, refused)
    assert _said(case, replay=lambda _matrix: strange) == (False, refused)
    assert _said(case, environment=other, replay=lambda _matrix: {}) == (False, refused)
    assert _said(case, beside={}) == (False, refused)


def test_what_could_not_answer_is_no_proof_that_only_the_place_is_another() -> None:
    case = replace(case_of(honest("lightfm")), environment={"numpy": "0.1"})
    layers = (manifest_layer(case), structure(case), replay(case))
    found = replace(verify(case), layers=layers)
    assert found.only_elsewhere
    silent = replace(layers[1], conclusive=False)
    assert not replace(found, layers=(layers[0], silent, layers[2])).only_elsewhere


def test_an_artifact_without_a_head_of_the_register_is_refused() -> None:
    empty = case_of(honest("als"), recorded_head=None)
    assert {f.rule for f in manifest_layer(empty).findings} == {
        "the register does not contain the recorded head"
    }
    assert refusals(case_of(honest("als"), recorded_head=HEAD)) == set()


def test_a_solution_reads_back_as_it_was_written() -> None:
    stored: Solution = honest("lightfm")
    assert case_of(stored).stored.factors.digests() == stored.factors.digests()
