"""What a layer answers, and the verdict that follows from all answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

REQUIRED_LAYERS = ("structure", "manifest", "replay")
ALGEBRA_LAYERS = ("normal_equations", "stationarity", "contribution")
LARGEST_DETAILS = 100
BIN, FIRST_BIN, LAST_BIN = 0.05, -20, 39
EQUATIONS = frozenset({"als"})
_WITHOUT_ALGEBRA = frozenset({"lightfm"})


def required_layers(recipe: str, named: Iterable[str] = ()) -> tuple[str, ...]:
    """The layers without which a version of this recipe is refused.

    Only a recipe that has no equations to check is let off the last three. `named` are the layers
    that a recipe's line in the table names; they can let it off those three, if it is none that
    has equations, and never off the first.

    >>> len(required_layers("als")), len(required_layers("lightfm")), len(required_layers("new"))
    (6, 3, 6)
    >>> required_layers("new", ["replay"]), len(required_layers("als", ["replay"]))
    (('structure', 'manifest', 'replay'), 6)
    """
    named = tuple(named)
    let_off = recipe in _WITHOUT_ALGEBRA or (named and recipe not in EQUATIONS)
    floor = REQUIRED_LAYERS if let_off else REQUIRED_LAYERS + ALGEBRA_LAYERS
    return tuple(dict.fromkeys((*floor, *named)))


class Verdict(StrEnum):
    """What verification concludes; only VERIFIED promotes."""

    VERIFIED = "VERIFIED"
    REFUSED = "REFUSED"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Finding:
    """A rule that did not hold, and in how many places.

    `elsewhere` is True where an artifact that nobody touched breaks it too, as soon as it is looked
    at by another Lethe, or with other libraries, than it was made with.
    """

    layer: str
    rule: str
    count: int
    elsewhere: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Control:
    """A known case that the layer must answer rightly in every run, or else it cannot answer."""

    name: str
    wanted: str
    found: str
    passed: bool


@dataclass(frozen=True)
class Cloud:
    """Where the people of one group lie, for a picture: bins of a fixed width, and no order.

    `bins` are (number of the bin, people), ascending and none empty; bin k reaches from `BIN` k to
    `BIN` (k + 1), and the two at the ends hold whoever lies beyond. `silent` counts those who could
    not be measured.
    """

    name: str
    bins: tuple[tuple[int, int], ...]
    silent: int = 0

    @classmethod
    def of(cls, name: str, values: Iterable[float]) -> Cloud:
        """Count finite `values` into bins.

        >>> Cloud.of("", [0.0, 0.049, 0.25, 9.0, float("nan")])
        Cloud(name='', bins=((0, 2), (5, 1), (39, 1)), silent=1)
        """
        seen = list(values)
        finite = [value for value in seen if math.isfinite(value)]
        counted = Counter(_bin(value) for value in finite)
        return cls(name, tuple(sorted(counted.items())), len(seen) - len(finite))

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {"name": self.name, "bins": [list(b) for b in self.bins], "silent": self.silent}


@dataclass(frozen=True)
class LayerResult:
    """One layer's answer.

    `value`, `threshold` and `statistic` (what was measured) are short texts for a reader.
    `measured` and `limit` are the one number that decides and what it may reach, None where no
    number does. `power` and `false_alarms` say how often a test finds who is there, and how often
    it names who is not. `advice` says which setting would help a layer that could not answer.
    `details` could reveal a history: rows of `LARGEST_DETAILS` places at most, for the restricted
    file alone. `faint` counts people who must not be there and weigh too little to be asked about.
    `clouds` are for the night's page alone: the certificate has the counts and extremes
    that decide.
    """

    layer: str
    question: str
    threshold: str
    value: str
    findings: tuple[Finding, ...]
    conclusive: bool = True
    statistic: str = ""
    controls: tuple[Control, ...] = ()
    advice: str = ""
    details: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    measured: float | None = None
    limit: float | None = None
    power: str = ""
    false_alarms: str = ""
    clouds: tuple[Cloud, ...] = ()
    faint: int = 0

    @property
    def passed(self) -> bool:
        """True only if the layer could answer and found nothing."""
        return self.conclusive and not self.findings


@dataclass(frozen=True)
class Report:
    """Every layer's answer and the verdict that follows from them.

    `users` counts people; `canaries` those who are in the artifact besides. `named` are the layers
    that the recipe's line in the table names.
    """

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
    canaries: int = 0
    named: tuple[str, ...] = ()

    @property
    def required(self) -> tuple[str, ...]:
        """The layers without which this version is refused."""
        return required_layers(self.recipe, self.named)

    @property
    def verdict(self) -> Verdict:
        """REFUSED before INCONCLUSIVE before VERIFIED; a missing layer refuses."""
        ran = {layer.layer for layer in self.layers}
        if any(layer.findings for layer in self.layers) or not ran.issuperset(self.required):
            return Verdict.REFUSED
        if not all(layer.conclusive for layer in self.layers):
            return Verdict.INCONCLUSIVE
        return Verdict.VERIFIED

    @property
    def only_elsewhere(self) -> bool:
        """True only if every layer ran and answered, and all that it found is `elsewhere`.

        Then this process cannot prove the artifact, and has found nothing against it.
        """
        ran = {layer.layer for layer in self.layers}
        answered = ran.issuperset(self.required) and all(layer.conclusive for layer in self.layers)
        found = self.findings
        return answered and bool(found) and all(finding.elsewhere for finding in found)

    @property
    def residual_tested(self) -> bool:
        """True only if the layers that ask the factors themselves ran, answered and found nothing.

        And nobody was too faint to be asked about. A recipe without equations has no such layers.
        """
        answered = {layer.layer for layer in self.layers if layer.passed and not layer.faint}
        return answered.issuperset(ALGEBRA_LAYERS)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order of the layers."""
        return tuple(finding for layer in self.layers for finding in layer.findings)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not VERIFIED, in order of the layers, and what would help; empty if it is."""
        told = [f"{f.layer}: {f.rule}: {f.count}" for f in self.findings]
        for layer in self.layers:
            if not layer.conclusive:
                failed = [
                    f"{control.name}: {control.found}, wanted {control.wanted}"
                    for control in layer.controls
                    if not control.passed
                ]
                told.append(
                    f"{layer.layer}: could not answer ({'; '.join(failed) or layer.value})"
                    + (f"; what would help: {layer.advice}" if layer.advice else "")
                )
        ran = {layer.layer for layer in self.layers}
        missing = [name for name in self.required if name not in ran]
        return (*told, *(f"{name}: did not run" for name in missing))

    def clouds(self) -> list[dict[str, Any]]:
        """The clouds of all layers as JSON: for a page, no part of the certificate."""
        return [cloud.facts() for layer in self.layers for cloud in layer.clouds]

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
            "canaries": self.canaries,
            **({"required": list(self.required)} if self.named else {}),
            "layers": [
                {
                    "layer": layer.layer,
                    "question": layer.question,
                    "threshold": layer.threshold,
                    "value": layer.value,
                    "passed": layer.passed,
                    "conclusive": layer.conclusive,
                    "statistic": layer.statistic,
                    "measured": _finite(layer.measured),
                    "limit": _finite(layer.limit),
                    "power": layer.power,
                    "false_alarms": layer.false_alarms,
                    **({"faint": layer.faint} if layer.faint else {}),
                    "controls": [
                        {
                            "name": control.name,
                            "wanted": control.wanted,
                            "found": control.found,
                            "passed": control.passed,
                        }
                        for control in layer.controls
                    ],
                    "advice": layer.advice,
                    "findings": [
                        {"rule": finding.rule, "count": finding.count} for finding in layer.findings
                    ],
                }
                for layer in self.layers
            ],
        }


def _bin(value: float) -> int:
    near = min(max(value, FIRST_BIN * BIN), LAST_BIN * BIN)
    return math.floor(round(near / BIN, 9))


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
