"""Going back to an older version: what may be gone back to, and the way there.

A rollback waives the quality rule, because a person decides, and nothing else: the version is
verified anew against today's register and then promoted as a night promotes.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lethe.adapters.packing.model_folder import SERVING, around
from lethe.durable import locked, sha256_file
from lethe.errors import BadConfiguration, Busy, LetheError, RefusedByGate, VerificationRefused
from lethe.estate.workspace import Workspace
from lethe.gate.proof.certificate import Certificate
from lethe.gate.proof.verification import Report, Verdict
from lethe.interactions.rights.standing import Standing
from lethe.nights import judging
from lethe.nights.desk import Desk
from lethe.nights.forgetting import suppressing
from lethe.nights.memory import last_night
from lethe.solutions.environment import environment
from lethe.solutions.factors import artifact_digest, read_solution
from lethe.stages import opening


def roll_back(workspace: Workspace, version: int) -> dict[str, Any]:
    """Make an older version champion, if it passes deletion verification now.

    Raises:
        VerificationRefused: it does not pass; the champion stays.
        PromotionRefused: the promotion protocol found something; the champion stays.
        BadConfiguration: there is no such version, or it is the champion.
        Busy: a night is running, or was killed and has not ended.
    """
    params = opening.open_params(workspace)
    with alone(workspace):
        if workspace.journal.is_file():
            raise Busy("a night was cut off; `lethe night` ends it, then a rollback is possible")
        desk = Desk.open(workspace, params)
        judging.recover_promotions(desk)
        champion = desk.champion()
        if version == champion:
            raise BadConfiguration(f"version {version} is the champion: nothing to roll back")
        stays = f"{_named(champion)} stays champion"
        try:
            _, certificate = verified(desk, version)
            suppressing.refresh(desk)
            done = judging.promote_version(desk, version, False, (), by_person=True)
        except RefusedByGate as error:
            raise type(error)(f"no rollback, {stays}: {error}") from None
        last_night.hold(workspace, version)
        suppressing.keep_outputs_of(desk, version)
        desk.versions.describe(
            version,
            {
                "Promotion": f"by rollback from {_named(done.previous)}: a person decided, the "
                "quality rule was not asked."
            },
        )
    return {
        "version": done.version,
        "previous": done.previous,
        "register_position": done.head.position,
        "certificate": str(judging.certificate_path(workspace, version)),
        "digest": certificate.digest,
        "text": f"version {version} is champion again, after {_named(done.previous)}; VERIFIED "
        f"against register position {certificate.register_position}\nnights change nothing until "
        "there is new data, a request or another configuration",
    }


def _named(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"


def verified(desk: Desk, version: int) -> tuple[Report, Certificate]:
    """Verify a stored version against today's register, and certify what was found.

    Where it can only not be repeated here, what was certified before stays as it is.

    Raises:
        VerificationRefused: it does not pass, and the version's tag says so from now on; or it
            cannot be verified again by this Lethe, here.
        BadConfiguration: there is no such version.
    """
    if version not in {info.version for info in desk.versions.versions()}:
        raise BadConfiguration(f"there is no version {version}")
    report = judging.examine(desk, version)
    if (kept := judging.proved_elsewhere(desk, version, report)) is not None:
        raise VerificationRefused(
            f"version {version} cannot be verified again by this Lethe, here; its certificate, "
            f"VERIFIED at register position {kept.register_position}, stays",
            report.reasons,
        )
    certificate = judging.certify(desk, version, report)
    if report.verdict is not Verdict.VERIFIED:
        raise VerificationRefused(f"version {version} is {report.verdict.value}", report.reasons)
    return report, certificate


def alone(workspace: Workspace) -> contextlib.AbstractContextManager[None]:
    """Not beside a night: both use the private temporary folder."""
    return locked(workspace.night_lock, wait_seconds=5.0)


def why_unsafe(desk: Desk, version: int, standing: Standing) -> tuple[str, ...]:
    """Every reason against going back to a version that shows without a second fit.

    None is no promise that `roll_back` succeeds; any is one that it does not.
    """
    temporary = desk.workspace.temporary
    try:
        with TemporaryDirectory(dir=temporary, ignore_cleanup_errors=True) as folder:
            stored = desk.versions.fetch(version, Path(folder))
            digest, solution = artifact_digest(around(stored)), read_solution(stored)
            served = around(stored) / SERVING.name
            served_as_today = served.is_file() and sha256_file(served) == sha256_file(SERVING)
    except (LetheError, OSError):
        return ("its files cannot be read",)
    if solution.manifest.names != desk.keys.generation:
        return ("it was named before the pseudonym key was replaced",)
    reasons = []
    barred = standing.excluded - standing.canaries_since(solution.manifest.register_position)
    if excluded := barred & set(desk.tombstones(solution)):
        reasons.append(f"{len(excluded)} people of its id list are excluded by the register")
    try:
        certificate = judging.read_certificate(desk.workspace, version)
    except LetheError as error:
        return (*reasons, str(error))
    if certificate is None:
        return (*reasons, "it has no certificate")
    if certificate.verdict != Verdict.VERIFIED:
        reasons.append(f"its certificate says {certificate.verdict}")
    if certificate.artifact_digest != digest:
        reasons.append("its stored files are not those of its certificate")
    elif not served_as_today:
        reasons.append("another Lethe wrote what serves it")
    if dict(solution.manifest.environment) != environment():
        reasons.append("it was trained with other libraries, or on another processor")
    return tuple(reasons)
