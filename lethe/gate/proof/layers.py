"""Layers 1 to 3: structure, manifest and replay, for every recipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from lethe.gate.proof.case import Case
from lethe.gate.proof.report import LARGEST_DETAILS, Finding, LayerResult
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions.factors import array_digests


def findings_of(
    layer: str, counted: Mapping[str, int], elsewhere: Collection[str] = ()
) -> tuple[Finding, ...]:
    """One finding for each rule that counted something; `elsewhere` names rules of that kind."""
    return tuple(
        Finding(layer, rule, count, rule in elsewhere) for rule, count in counted.items() if count
    )


def popular_order(matrix: InteractionMatrix) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Items by falling number of retained users, ties by index: int32, (n_items,)."""
    touched = np.bincount(matrix.csr.indices, minlength=len(matrix.items))
    return np.argsort(-touched, kind="stable").astype(np.int32)


def _odd(case: Case) -> str:
    names = ", ".join(name for name, right in case.beside.items() if not right)
    return f"what serves the artifact is not what Lethe writes ({names})"


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
        _odd(case): sum(not right for right in case.beside.values()),
        "nothing that serves the artifact was looked at": int(not case.beside),
        "a factor is not finite": int(
            factors.user_factors.size
            + factors.item_factors.size
            - np.isfinite(factors.user_factors).sum()
            - np.isfinite(factors.item_factors).sum()
        ),
    }
    findings = findings_of("structure", counted, [_odd(case)])
    return LayerResult(
        layer="structure",
        question="Does the artifact list exactly the retained users and items, and no one else?",
        threshold="0 differences, 0 tombstones matched",
        value=f"{len(stored.users) - len(case.canaries)} users, {len(stored.items)} items, "
        f"{sum(finding.count for finding in findings)} differences",
        findings=findings,
        details=_items(case),
        measured=float(sum(finding.count for finding in findings)),
        limit=0.0,
    )


def _items(case: Case) -> tuple[Mapping[str, Any], ...]:
    """Items of the artifact or of the retained that the other lacks, by the users they have."""
    stored, kept = set(case.stored.items), case.retained.items
    users = dict(
        zip(kept, np.bincount(case.retained.csr.indices, minlength=len(kept)), strict=True)
    )
    odd = sorted(stored ^ set(kept))[:LARGEST_DETAILS]
    return tuple(
        {"item": item, "stored": item in stored, "retained_users": int(users.get(item, 0))}
        for item in odd
    )


def manifest_layer(case: Case) -> LayerResult:
    """Layer 2: was it trained on exactly the matrix that the register leaves over?

    The register may have grown since the purge. Its newer entries do no harm as long as they
    concern nobody in the rebuilt matrix; promotion asks the same again under the lock.
    """
    manifest, different = case.stored.manifest, _different(case)
    environment = f"environment differs ({', '.join(sorted(different))})"
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
        environment: len(different),
    }
    findings = findings_of("manifest", counted, [environment])
    return LayerResult(
        layer="manifest",
        question="Is the recorded input exactly what the data version and the register leave?",
        threshold="all digests equal",
        value=f"matrix {case.retained.digest[:16]}, register position {case.head_position}",
        findings=findings,
        measured=float(sum(finding.count for finding in findings)),
        limit=0.0,
    )


def _different(case: Case) -> set[str]:
    """What of the environment is not what the artifact was trained in."""
    then, now = case.stored.manifest.environment, case.environment
    return {name for name in set(then) | set(now) if then.get(name) != now.get(name)}


def replay(case: Case) -> LayerResult:
    """Layer 3: does a second cold fit give the same bits?"""
    learned = dict(case.replay(case.retained))
    stored = array_digests(case.stored.factors)
    unequal = sum(learned.get(name) != digest for name, digest in stored.items())
    other = "an array differs from that of a second cold fit"
    counted = {
        other: unequal,
        "the second fit learned other arrays": len(set(learned) ^ set(stored)),
        "the artifact holds no array to compare": int(not stored),
    }
    # In the same environment a fit repeats bit for bit: an array that differs there was changed.
    findings = findings_of("replay", counted, [other] if _different(case) else [])
    return LayerResult(
        layer="replay",
        question="Does a second cold fit on the rebuilt matrix give the same factors, bit for bit?",
        threshold="every array equal",
        value=f"{len(stored) - unequal} of {len(stored)} arrays equal",
        findings=findings,
        measured=float(sum(finding.count for finding in findings)),
        limit=0.0,
    )
