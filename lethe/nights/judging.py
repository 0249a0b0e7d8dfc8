"""Record, verify and promote: from a solution folder to the champion, through every gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lethe.durable import write_bytes
from lethe.errors import (
    ArtifactCorrupt,
    LetheError,
    OutsideFailure,
    VerificationRefused,
)
from lethe.estate import restricted
from lethe.estate.keys import open_signing_key, trusted_keys
from lethe.estate.workspace import Workspace
from lethe.gate.promotion import Candidate, Promoted, Recovered, promote, recover
from lethe.gate.proof.certificate import Certificate, check, issue
from lethe.gate.proof.verification import Report, Verdict, verify
from lethe.nights.cases import case_of, digests, recorded_head
from lethe.nights.desk import Desk
from lethe.solutions.factors import read_solution
from lethe.stages import opening


def record(desk: Desk, run: str, night: str, folder: Path, description: str) -> int:
    """Step 7: store a solution folder as a registered version and make it the challenger."""
    solution = read_solution(folder)
    manifest = solution.manifest
    desk.keys.check(manifest.names, "the new version")
    version = desk.versions.record(
        run,
        folder,
        description,
        {
            "data_version": manifest.data_version,
            "register_position": manifest.register_position,
            "recipe": manifest.recipe,
            "night": night,
        },
    )
    if desk.champion() != version:
        desk.set_challenger(version)
    return version


def examine(desk: Desk, version: int) -> Report:
    """Step 8: verify a stored version against today's register, from the stores alone.

    Raises:
        ArtifactCorrupt: the artifact or the data version cannot be read as what it claims to be.
        StoreUnavailable: the data version that it was trained on is gone.
        PromotionRefused: its names are of a former generation.
    """
    desk.refuse_former_names(version)
    return verify(case_of(desk, desk.fetch(version)))


def certify(desk: Desk, version: int, report: Report, keep_equal: bool = False) -> Certificate:
    """Sign the report, keep it beside the workspace, and tag the version with its digest.

    With `keep_equal` an earlier certificate that states the same stays: a night taken up again
    must not promote a second time on another one.
    """
    folder = desk.workspace.temporary / f"version-{version}" / "model"
    certificate = issue(report, digests(folder), opening.now(), open_signing_key(desk.workspace))
    earlier = read_certificate(desk.workspace, version) if keep_equal else None
    if earlier is not None and _stated(earlier) == _stated(certificate):
        certificate = earlier
    write_bytes(certificate_path(desk.workspace, version), certificate.envelope, mode=0o644)
    desk.versions.tag(
        version, {"certificate_digest": certificate.digest, "verdict": certificate.verdict}
    )
    restricted.note(desk.workspace, version, report, opening.now())
    found = "; ".join(report.reasons)
    desk.versions.describe(
        version,
        {
            "Verdict": f"**{certificate.verdict}** at register position "
            f"{certificate.register_position}, certificate `{certificate.digest[:16]}`, data "
            f"version `{certificate.data_version[:16]}`{f': {found}' if found else ''}."
        },
    )
    return certificate


def proved_elsewhere(desk: Desk, version: int, report: Report) -> Certificate | None:
    """The certificate that stands although `report` is not VERIFIED, None if there is none.

    It stands where this Lethe, here, cannot repeat the proof and has found nothing against it: the
    stored bytes, serving code included, are those that a trusted key certified as VERIFIED, on the
    same matrix, at a place that this register has.
    """
    try:
        earlier = read_certificate(desk.workspace, version)
    except VerificationRefused:
        return None
    if earlier is None or earlier.verdict != Verdict.VERIFIED or not report.only_elsewhere:
        return None
    certified = (earlier.artifact_digest, earlier.data_version, earlier.predicate["matrix_digest"])
    known = recorded_head(desk.register, earlier.register_position) == earlier.register_head
    same = certified == (report.artifact_digest, report.data_version, report.matrix_digest)
    return earlier if known and same else None


def _stated(certificate: Certificate) -> dict[str, Any]:
    return {name: value for name, value in certificate.predicate.items() if name != "issued"}


def certificate_path(workspace: Workspace, version: int) -> Path:
    """Where the newest certificate of a version lies."""
    return workspace.certificates / f"version-{version}.json"


def read_certificate(workspace: Workspace, version: int) -> Certificate | None:
    """The stored certificate of a version, if there is one that a trusted key signed.

    Raises:
        VerificationRefused: there is one, and it was changed or signed by an unknown key.
    """
    path = certificate_path(workspace, version)
    if not path.is_file():
        return None
    return check(path.read_bytes(), trusted_keys(workspace))


def promote_version(
    desk: Desk,
    version: int,
    quality_accepted: bool,
    quality_reasons: tuple[str, ...],
    by_person: bool = False,
) -> Promoted:
    """Step 9: the promotion protocol on a recorded version and its stored certificate.

    The tag `asked_by` says who asked last: a night, or with `by_person` somebody who rolls back.

    Raises:
        PromotionRefused: with every reason; the champion stays.
    """
    desk.refuse_former_names(version)
    candidate = Candidate(
        version=version,
        certificate=read_certificate(desk.workspace, version),
        quality_accepted=quality_accepted,
        quality_reasons=quality_reasons,
        by_person=by_person,
    )
    desk.versions.tag(version, {"asked_by": "rollback" if by_person else "night"})
    return promote(
        candidate,
        desk.register,
        desk,
        opening.now,
        desk.params.night.lock_seconds,
        known=opening.newest_known(desk.workspace),
    )


def recover_promotions(desk: Desk) -> Recovered:
    """End what a killed promotion began, before anything else happens in a night."""
    return recover(
        desk.register,
        desk,
        opening.now,
        desk.params.night.lock_seconds,
        known=opening.newest_known(desk.workspace),
    )


def tells(error: LetheError) -> tuple[str, ...]:
    """The reasons of a refusal, or the error's one sentence."""
    reasons = getattr(error, "reasons", ())
    return tuple(reasons) or (str(error),)


def champion_manifest(desk: Desk) -> Any:
    """The champion's manifest, None without a champion.

    Raises:
        OutsideFailure: the champion cannot be read; a night must not judge beside a blank.
    """
    version = desk.champion()
    if version is None:
        return None
    try:
        return desk.read(version).manifest
    except ArtifactCorrupt as error:
        raise OutsideFailure(f"the champion, version {version}, cannot be read: {error}") from None
