"""Deletion verification: are the erased absent from what was stored?

Each layer is a rule with one question and a stated threshold. A layer looks at a `Case`: the
artifact as read back from its store, the retained matrix as rebuilt from the data version and the
register by `lethe.gate.proof.retained` (a code path of its own), and the register's present head.
Every layer always runs, so that a refusal names all that is wrong. Findings hold a layer, a rule
and a count, never a person.

Only VERIFIED promotes. A layer that cannot answer makes the verdict INCONCLUSIVE; a layer that
did not run at all makes it REFUSED.
"""

from __future__ import annotations

from lethe.gate.proof.als.equations import normal_equations
from lethe.gate.proof.als.objective import Objective, discount
from lethe.gate.proof.als.presence import contribution
from lethe.gate.proof.als.stationarity import stationarity
from lethe.gate.proof.case import Case
from lethe.gate.proof.layers import manifest_layer, replay, structure
from lethe.gate.proof.report import EQUATIONS, Finding, LayerResult, Report, Verdict

__all__ = [
    "Case",
    "Finding",
    "LayerResult",
    "Report",
    "Verdict",
    "algebra_layers",
    "sees_everybody",
    "verify",
]


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
        users=len(case.stored.users) - len(case.canaries),
        canaries=len(case.canaries),
        items=len(case.stored.items),
        layers=(structure(case), manifest_layer(case), replay(case), *algebra_layers(case)),
        named=case.layers,
    )


def algebra_layers(case: Case) -> tuple[LayerResult, ...]:
    """Layers 4 to 6, for a recipe that has equations to check; else none.

    Raises:
        ArtifactCorrupt: the manifest lacks a hyper-parameter that the equations need.
    """
    if case.stored.manifest.recipe not in EQUATIONS:
        return ()
    objective = Objective.of(case)
    first = normal_equations(objective)
    at = objective.minimised()
    seed = int(case.retained.digest[:12], 16)
    manifest = case.stored.manifest
    fades = manifest.definition.get("half_life_days") is not None
    uneven = fades or discount(manifest.hyperparameters) > 0
    return (
        first,
        stationarity(at),
        contribution(
            objective,
            at.field,
            case.suspects,
            seed,
            case.canaries,
            case.untested,
            at.sides.scale if uneven else None,
        ),
    )


def sees_everybody(case: Case) -> bool:
    """Whether layers 4 to 6 answer, and about each suspect: nobody is too faint to be asked about.

    True for a recipe that has no equations to check. What the layers find is not asked.

    Raises:
        ArtifactCorrupt: as `algebra_layers`.
    """
    return all(layer.conclusive and not layer.faint for layer in algebra_layers(case))
