"""What a version is judged against: today's register, and its data version read once more."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from lethe.adapters.catalogue import Catalogue
from lethe.adapters.packing.model_folder import around, as_written
from lethe.durable import sha256_file
from lethe.gate.proof.case import Case
from lethe.gate.proof.retained import rebuild
from lethe.gate.proof.verification import sees_everybody
from lethe.interactions.rights.register import Register
from lethe.interactions.rights.standing import GENESIS
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.nights.desk import Desk
from lethe.solutions.environment import environment
from lethe.solutions.factors import Solution, array_digests, artifact_digest, read_solution
from lethe.solutions.learned import Factors
from lethe.solutions.recipes import recipe
from lethe.solutions.setting import Setting
from lethe.stages import opening, suspects


def case_of(desk: Desk, folder: Path, *, packed: bool = True) -> Case:
    """The case of the solution at `folder`.

    Unless it is `packed`, as it lies in its store, there is nothing around it that could be looked
    at: such a case is never VERIFIED.

    Raises:
        ArtifactCorrupt: the artifact or the data version cannot be read as what it claims to be.
        StoreUnavailable: the data version that it was trained on is gone.
    """
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
    return Case(
        artifact_digest=artifact_digest(around(folder)) if packed else "",
        stored=stored,
        files=digests(folder),
        beside=as_written(around(folder)) if packed else {},
        retained=retained.matrix,
        tombstones=desk.tombstones(stored),
        forbidden=today.excluded - today.canaries_since(manifest.register_position),
        head_position=head.position,
        head_digest=head.digest,
        recorded_head=recorded_head(desk.register, manifest.register_position),
        data_version=manifest.data_version,
        environment=environment(),
        replay=lambda matrix: _replay(stored, matrix),
        suspects=found,
        canaries=tuple(row for row, name in enumerate(retained.matrix.users) if name in canaries),
        layers=recipe(manifest.recipe).layers,
        untested=max(0, waiting - (found["canary"].shape[0] if "canary" in found else 0)),
    )


def rehearse(desk: Desk, folder: Path) -> bool:
    """Whether the residual test could ask about everybody, were this candidate recorded.

    No verdict, and nothing that a promotion rests on: it only says whether training goes on with
    this candidate or with one whose weights do not fade.

    Raises:
        ArtifactCorrupt: the candidate or the data version cannot be read.
        StoreUnavailable: the data version that it was trained on is gone.
    """
    return sees_everybody(case_of(desk, folder, packed=False))


def digests(folder: Path) -> dict[str, str]:
    """Relative name -> SHA-256, of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def recorded_head(register: Register, position: int) -> str | None:
    """The digest that the register has at a position today, None if it has no such entry."""
    if position == 0:
        return GENESIS.digest
    entries = register.entries(since=position - 1, upto=position)
    return entries[0].digest if entries else None


def _replay(stored: Solution, matrix: InteractionMatrix) -> Mapping[str, str]:
    made = stored.manifest
    learned = Setting.of(made.recipe, made.hyperparameters, made.seed).fit(matrix)
    return array_digests(learned) if isinstance(learned, Factors) else {}
