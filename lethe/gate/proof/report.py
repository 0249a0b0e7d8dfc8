"""What a layer answers, and the verdict that follows from all answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

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
