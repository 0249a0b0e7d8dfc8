"""How much of somebody is in the factors: measured a few at a time, or not measurable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from lethe.gate.proof.algebra import FoldIn, confidences, item_sides
from lethe.gate.proof.als import presence
from lethe.gate.proof.als.contribution import Field, People
from lethe.gate.proof.als.presence import contribution
from tests.gate.proof.test_presence import NAN, group
from tests.solutions.histories import history


def scene() -> tuple[Any, Field]:
    """Forty people's confidences and the field; nobody can notice who has item 0 alone."""
    confidence = confidences(history(40, 20, 2).csr, 3.0)
    Y = np.random.default_rng(2).normal(size=(confidence.shape[1], 6))
    Y[0] *= 1e-7
    fold_in = FoldIn(Y, 4.0)
    sides = item_sides(confidence, fold_in(confidence), Y, 4.0)
    return confidence, Field(sides.difference, Y, 1.0 / sides.trace, fold_in)


def _objective(confidence: Any) -> Any:
    return SimpleNamespace(confidence=confidence, alpha=3.0)


def _suspects(confidence: Any) -> Mapping[str, Any]:
    csr = (confidence / 3.0).astype(np.float32).tocsr()
    return {"erased": csr[:5], "empty": csr[:0], "canary": csr[5:7]}


@pytest.mark.parametrize("at_once", [1_000, 7, 3, 2, 1])
def test_people_measured_a_few_at_a_time_are_all_measured_once(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    confidence, field = scene()
    monkeypatch.setattr(presence, "_JOINT", at_once)
    groups, adjusted = presence._measured(_objective(confidence), field, _suspects(confidence), 0.0)
    order = [5, 6, 0, 1, 2, 3, 4]
    people = People.of(confidence[order], field)
    joint = np.concatenate([
        People.of(confidence[order[first : first + at_once]], field).jointly()
        for first in range(0, 7, at_once)
    ])  # fmt: skip
    assert [(one.name, len(one.alone)) for one in groups] == [("canary", 2), ("erased", 5)]
    np.testing.assert_allclose(np.concatenate([one.alone for one in groups]), people.alone())
    np.testing.assert_allclose(np.concatenate([one.joint for one in groups]), joint)
    lengths = np.concatenate([one.lengths for one in groups])
    assert lengths.tolist() == np.diff(confidence[order].indptr).tolist()
    np.testing.assert_allclose(adjusted.gradient, field.without(people, joint).gradient)


def test_without_anybody_the_field_stays_as_it_is() -> None:
    confidence, field = scene()
    assert presence._measured(_objective(confidence), field, {}, 0.0) == ([], field)


def test_a_share_of_less_than_the_least_weight_is_none() -> None:
    people: Any = SimpleNamespace(size=np.array([1.0, 2.0, 3.0]), alone=lambda: np.ones(3))
    assert np.isnan(presence._shares(people, 2.0)).tolist() == [True, True, False]


def test_a_billionth_of_a_usual_members_weight_is_no_measurable_contribution() -> None:
    confidence, field = scene()
    rows = sparse.csr_matrix(([1.0], ([0], [0])), shape=(1, confidence.shape[1]), dtype=np.float32)
    weight = People.of(confidences(rows, 3.0), field).size[0]
    usual = np.median(People.of(confidence, field).size)
    assert 0 < weight < 1e-9 * usual
    layer = contribution(_objective(confidence), field, {"erased": rows}, 1)
    assert layer.value.startswith("1 erased: 1 without a measurable contribution; ")


def test_people_never_seen_are_as_long_as_the_suspects_or_else_as_the_members() -> None:
    confidence, _ = scene()
    members, draw = np.array([3, 5, 9]), np.random.default_rng(0)
    own = np.diff(confidence.indptr)[members].tolist()
    objective = _objective(confidence)
    assert presence._lengths(objective, members, [], draw).tolist() == own
    silent = [group([NAN, NAN], [0.1, 0.2])]
    assert presence._lengths(objective, members, silent, draw).tolist() == own
    one = replace(group([0.1, NAN], [0.1, 0.2]), lengths=np.array([77, 99]))
    assert presence._lengths(objective, members, [one], draw).tolist() == [77] * 3
