"""Deletion verification: are the erased absent from what was stored?

Each layer is a rule with one question and a stated threshold. A layer looks at a `Case`: the
artifact as read back from its store, the retained matrix as rebuilt from the data version and the
register by `lethe.gate.retained` (a code path of its own), and the register's present head. Every
layer always runs, so that a refusal names all that is wrong. Findings hold a layer, a rule and a
count, never a person.

Only VERIFIED promotes. A layer that cannot answer makes the verdict INCONCLUSIVE; a layer that
did not run at all makes it REFUSED.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions.factors import Solution, array_digests

REQUIRED_LAYERS = ("structure", "manifest", "replay")


class Verdict(StrEnum):
    """What verification concludes; only VERIFIED promotes."""

    VERIFIED = "VERIFIED"
    REFUSED = "REFUSED"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Finding:
    """A rule that did not hold, and in how many places."""

    layer: str
    rule: str
    count: int


@dataclass(frozen=True)
class LayerResult:
    """One layer's answer. `value` and `threshold` are short texts for a reader."""

    layer: str
    question: str
    threshold: str
    value: str
    findings: tuple[Finding, ...]
    conclusive: bool = True

    @property
    def passed(self) -> bool:
        """True only if the layer could answer and found nothing."""
        return self.conclusive and not self.findings


@dataclass(frozen=True)
class Case:
    """What is judged, and against what.

    `stored` is the artifact read back, `files` its names with recomputed SHA-256.
    `retained` is the rebuilt matrix. `tombstones` are those of `stored.users`, in order.
    `forbidden` are the tombstones that may not train at the register's head (`head_position`,
    `head_digest`); `recorded_head` is the digest the register has *today* at the position that
    the manifest names, None if it has no such entry. `environment` is this process's;
    `data_version` is the digest of the data the matrix was rebuilt from. `replay` runs the recipe
    cold on a matrix and returns the SHA-256 of each array it learned.
    """

    artifact_digest: str
    stored: Solution
    files: Mapping[str, str]
    retained: InteractionMatrix
    tombstones: tuple[str, ...]
    forbidden: frozenset[str]
    head_position: int
    head_digest: str
    recorded_head: str | None
    data_version: str
    environment: Mapping[str, str]
    replay: Callable[[InteractionMatrix], Mapping[str, str]]


@dataclass(frozen=True)
class Report:
    """Every layer's answer and the verdict that follows from them."""

    artifact_digest: str
    matrix_digest: str
    recipe: str
    data_version: str
    register_position: int
    register_head: str
    trained_at_position: int
    environment: Mapping[str, str]
    users: int
    items: int
    layers: tuple[LayerResult, ...]

    @property
    def verdict(self) -> Verdict:
        """REFUSED before INCONCLUSIVE before VERIFIED; a missing layer refuses."""
        ran = {layer.layer for layer in self.layers}
        if any(layer.findings for layer in self.layers) or not ran.issuperset(REQUIRED_LAYERS):
            return Verdict.REFUSED
        if not all(layer.conclusive for layer in self.layers):
            return Verdict.INCONCLUSIVE
        return Verdict.VERIFIED

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order of the layers."""
        return tuple(finding for layer in self.layers for finding in layer.findings)

    def facts(self) -> dict[str, Any]:
        """The report as JSON: the certificate's predicate."""
        return {
            "verdict": self.verdict.value,
            "artifact_digest": self.artifact_digest,
            "matrix_digest": self.matrix_digest,
            "recipe": self.recipe,
            "data_version": self.data_version,
            "register_position": self.register_position,
            "register_head": self.register_head,
            "trained_at_position": self.trained_at_position,
            "environment": dict(self.environment),
            "users": self.users,
            "items": self.items,
            "layers": [
                {
                    "layer": layer.layer,
                    "question": layer.question,
                    "threshold": layer.threshold,
                    "value": layer.value,
                    "passed": layer.passed,
                    "conclusive": layer.conclusive,
                    "findings": [
                        {"rule": finding.rule, "count": finding.count} for finding in layer.findings
                    ],
                }
                for layer in self.layers
            ],
        }


def verify(case: Case) -> Report:
    """Run every layer on `case`.

    An exception inside a layer is not caught: no report, no certificate, no promotion.
    """
    manifest = case.stored.manifest
    return Report(
        artifact_digest=case.artifact_digest,
        matrix_digest=case.retained.digest,
        recipe=manifest.recipe,
        data_version=case.data_version,
        register_position=case.head_position,
        register_head=case.head_digest,
        trained_at_position=manifest.register_position,
        environment=case.environment,
        users=len(case.stored.users),
        items=len(case.stored.items),
        layers=(structure(case), manifest_layer(case), replay(case)),
    )


def _findings(layer: str, counted: Mapping[str, int]) -> tuple[Finding, ...]:
    return tuple(Finding(layer, rule, count) for rule, count in counted.items() if count)


def popular_order(matrix: InteractionMatrix) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Items by falling number of retained users, ties by index: int32, (n_items,)."""
    touched = np.bincount(matrix.csr.indices, minlength=len(matrix.items))
    return np.argsort(-touched, kind="stable").astype(np.int32)


def structure(case: Case) -> LayerResult:
    """Layer 1: does the artifact list exactly the retained, and nobody who may not train?"""
    stored, retained = case.stored, case.retained
    kept, listed = set(retained.users), set(stored.users)
    factors = stored.factors
    order = popular_order(retained)
    counted = {
        "a user in the artifact is not among the retained": len(listed - kept),
        "a retained user is missing from the artifact": len(kept - listed),
        "a user is listed more than once": len(stored.users) - len(listed),
        "users stand in another order than the retained": int(
            listed == kept and stored.users != retained.users
        ),
        "an item in the artifact has no retained interaction": len(
            set(stored.items) - set(retained.items)
        ),
        "an item with retained interactions is missing": len(
            set(retained.items) - set(stored.items)
        ),
        "items stand in another order than the retained": int(
            set(stored.items) == set(retained.items) and stored.items != retained.items
        ),
        "a user may not train at the register's head": sum(
            tombstone in case.forbidden for tombstone in case.tombstones
        ),
        "a listed user has no tombstone to compare": abs(len(case.tombstones) - len(stored.users)),
        "user factor rows differ from the number of users": abs(
            factors.user_factors.shape[0] - len(stored.users)
        ),
        "item factor rows differ from the number of items": abs(
            factors.item_factors.shape[0] - len(stored.items)
        ),
        "the popular items are not those of the retained": int(
            not np.array_equal(stored.popular, order)
        ),
        "a factor is not finite": int(
            factors.user_factors.size
            + factors.item_factors.size
            - np.isfinite(factors.user_factors).sum()
            - np.isfinite(factors.item_factors).sum()
        ),
    }
    findings = _findings("structure", counted)
    return LayerResult(
        layer="structure",
        question="Does the artifact list exactly the retained users and items, and no one else?",
        threshold="0 differences, 0 tombstones matched",
        value=f"{len(stored.users)} users, {len(stored.items)} items, "
        f"{sum(finding.count for finding in findings)} differences",
        findings=findings,
    )


def manifest_layer(case: Case) -> LayerResult:
    """Layer 2: was it trained on exactly the matrix that the register leaves over?

    The register may have grown since the purge. Its newer entries do no harm as long as they
    concern nobody in the rebuilt matrix; promotion asks the same again under the lock.
    """
    manifest = case.stored.manifest
    different = {
        name
        for name in set(manifest.environment) | set(case.environment)
        if manifest.environment.get(name) != case.environment.get(name)
    }
    counted = {
        "the rebuilt matrix has another digest than the recorded one": int(
            manifest.matrix_digest != case.retained.digest
        ),
        "the data version is not the recorded one": int(manifest.data_version != case.data_version),
        "the register does not contain the recorded head": int(
            case.recorded_head is None or case.recorded_head != manifest.register_head
        ),
        "the register is older than the version": int(
            manifest.register_position > case.head_position
        ),
        "a file's digest is not the recorded one": sum(
            case.files.get(name) != digest for name, digest in manifest.files.items()
        ),
        "a file is not in the manifest": len(
            set(case.files) - set(manifest.files) - {"manifest.json"}
        ),
        f"environment differs ({', '.join(sorted(different))})": len(different),
    }
    findings = _findings("manifest", counted)
    return LayerResult(
        layer="manifest",
        question="Is the recorded input exactly what the data version and the register leave?",
        threshold="all digests equal",
        value=f"matrix {case.retained.digest[:16]}, register position {case.head_position}",
        findings=findings,
    )


def replay(case: Case) -> LayerResult:
    """Layer 3: does a second cold fit give the same bits?"""
    learned = dict(case.replay(case.retained))
    stored = array_digests(case.stored.factors)
    unequal = sum(learned.get(name) != digest for name, digest in stored.items())
    counted = {
        "an array differs from that of a second cold fit": unequal,
        "the second fit learned other arrays": len(set(learned) ^ set(stored)),
        "the artifact holds no array to compare": int(not stored),
    }
    return LayerResult(
        layer="replay",
        question="Does a second cold fit on the rebuilt matrix give the same factors, bit for bit?",
        threshold="every array equal",
        value=f"{len(stored) - unequal} of {len(stored)} arrays equal",
        findings=_findings("replay", counted),
    )
