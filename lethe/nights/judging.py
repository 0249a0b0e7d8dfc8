"""Record, verify and promote: from a solution folder to the champion, through every gate."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lethe.adapters.catalogue import Catalogue
from lethe.adapters.packing.model_folder import around, as_written
from lethe.durable import sha256_file, write_bytes
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
from lethe.gate.proof.retained import rebuild
from lethe.gate.proof.verification import Case, Report, Verdict, verify
from lethe.interactions.rights.register import Register
from lethe.interactions.rights.standing import GENESIS
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.nights.desk import Desk
from lethe.nights.memory import last_night
from lethe.solutions.environment import environment
from lethe.solutions.factors import Solution, array_digests, artifact_digest, read_solution
from lethe.solutions.learned import Factors
from lethe.solutions.recipes import recipe
from lethe.solutions.setting import HALF_LIFE, Setting
from lethe.stages import opening, suspects


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
    folder = desk.fetch(version)
    stored = read_solution(folder)
    manifest = stored.manifest
    head, today = desk.register.check_chain(), desk.register.standing()
    at_training = desk.register.standing(upto=manifest.register_position)
    barred = at_training.excluded
    place = desk.workspace.temporary / "retained"
    shutil.rmtree(place, ignore_errors=True)
    data = opening.open_data(desk.workspace)
    # The same version, should somebody have been erased from it since.
    digest = Catalogue(desk.workspace.catalogue).today(manifest.data_version)
    opening.check_out(data, digest, place, desk.keys)
    retained = rebuild(
        place,
        lambda user: desk.keys.stone(user) in barred,
        manifest.definition,
    )
    canaries = opening.open_canaries(desk.workspace, desk.keys).pseudonyms()
    found = suspects.gather(desk.workspace, data, desk.keys, at_training, manifest, place, retained)
    waiting = sum(
        state.open and state.entry.tombstone in at_training.canaries
        for state in desk.register.canaries()
    )
    return verify(
        Case(
            artifact_digest=artifact_digest(around(folder)),
            stored=stored,
            files=_digests(folder),
            beside=as_written(around(folder)),
            retained=retained.matrix,
            tombstones=desk.tombstones(stored),
            forbidden=today.excluded - today.canaries_since(manifest.register_position),
            head_position=head.position,
            head_digest=head.digest,
            recorded_head=_recorded_head(desk.register, manifest.register_position),
            data_version=manifest.data_version,
            environment=environment(),
            replay=lambda matrix: _replay(stored, matrix),
            suspects=found,
            canaries=tuple(
                row for row, name in enumerate(retained.matrix.users) if name in canaries
            ),
            layers=recipe(manifest.recipe).layers,
            untested=max(0, waiting - (found["canary"].shape[0] if "canary" in found else 0)),
        )
    )


def _digests(folder: Path) -> dict[str, str]:
    """Relative name -> SHA-256, of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _recorded_head(register: Register, position: int) -> str | None:
    if position == 0:
        return GENESIS.digest
    entries = register.entries(since=position - 1, upto=position)
    return entries[0].digest if entries else None


def _replay(stored: Solution, matrix: InteractionMatrix) -> Mapping[str, str]:
    made = stored.manifest
    learned = Setting.of(made.recipe, made.hyperparameters, made.seed).fit(matrix)
    return array_digests(learned) if isinstance(learned, Factors) else {}


def certify(desk: Desk, version: int, report: Report, keep_equal: bool = False) -> Certificate:
    """Sign the report, keep it beside the workspace, and tag the version with its digest.

    With `keep_equal` an earlier certificate that states the same stays: a night taken up again
    must not promote a second time on another one.
    """
    folder = desk.workspace.temporary / f"version-{version}" / "model"
    certificate = issue(report, _digests(folder), opening.now(), open_signing_key(desk.workspace))
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
    known = _recorded_head(desk.register, earlier.register_position) == earlier.register_head
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


def turn_down(desk: Desk, version: int) -> None:
    """A refused version whose half-life a search chose: another will be chosen the next night."""
    definition = read_solution(desk.fetch(version)).manifest.definition
    days = definition.get(HALF_LIFE)
    if days is not None and desk.params.training.half_life_days is None:
        last_night.turn_down(desk.workspace, float(days))


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
