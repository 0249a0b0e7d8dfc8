"""Intake, purge, version and split, as a night asks for them: through DVC's one call."""

from __future__ import annotations

from typing import Any

from lethe.adapters.catalogue import Catalogue, DataVersion
from lethe.adapters.data_versions import DataVersions
from lethe.durable import read_json
from lethe.errors import BadConfiguration
from lethe.estate.workspace import Workspace
from lethe.interactions.intake.quarantine import RefusedFile
from lethe.interactions.intake.reading import survey
from lethe.interactions.intake.rules import LandedFile
from lethe.interactions.shards.store import ShardStore
from lethe.params import Params
from lethe.stages import opening


def take_in(workspace: Workspace, params: Params) -> dict[str, int]:
    """Step 1: what lies in landing, and at which register head this night works.

    Raises:
        BadConfiguration: there is nothing to work on, neither landed files nor earlier data.
        ArtifactCorrupt: the register's chain is broken or older than what is already known.
    """
    register = opening.open_register(workspace, params)
    head = register.check_chain(opening.newest_known(workspace))
    found = survey(workspace.landing, params.intake)
    if not found and not (workspace.interactions / "manifest.json").is_file():
        raise BadConfiguration("data/landing is empty and no interactions were ever taken in")
    opening.write_position(workspace.register_position, head)
    return {
        "files": len(found),
        "files_refused": sum(isinstance(file, RefusedFile) for file in found),
        "register_position": head.position,
    }


def purge(workspace: Workspace, night: str) -> dict[str, Any]:
    """Steps 1 and 2 in DVC's hands: reproduce `interactions`; the receipts of what it did.

    Receipts of an earlier night are not shown: this night then took in and purged nothing.
    """
    made = opening.open_data(workspace).reproduce("interactions")
    receipts = read_json(workspace.receipts / "interactions.json")
    if receipts["night"] != night:
        receipts = {}
    return {
        "digest": made.digest,
        "intake": receipts.get("intake", {}),
        "purge": receipts.get("purge", {}),
    }


def version(workspace: Workspace, params: Params, created: int) -> DataVersion:
    """Step 3: push and catalogue the data version, then empty landing of what is in it.

    A landed file goes only after its rows are versioned and pushed.
    """
    data = opening.open_data(workspace)
    data.push()
    digest = data.digest("data/interactions")
    store = ShardStore(workspace.interactions, params.purge.buckets)
    counts, head = store.counts(), opening.sealed_at(store)
    if digest is None:
        raise BadConfiguration("no data version was ever recorded")
    made = DataVersion(
        digest=digest,
        rows=counts.rows,
        users=counts.users,
        items=counts.items,
        register_position=head.position,
        register_head=head.digest,
        created=created,
    )
    Catalogue(workspace.catalogue).add(made)
    _clear_landing(workspace, params, data, set(store.manifest()["taken"]))
    return made


def _clear_landing(
    workspace: Workspace, params: Params, data: DataVersions, taken: set[str]
) -> None:
    done = [
        file
        for file in survey(workspace.landing, params.intake)
        if isinstance(file, LandedFile) and file.sha256 in taken
    ]
    for file in done:
        file.path.unlink()
        file.path.with_name(f"{file.path.name}.sha256").unlink(missing_ok=True)
    if done:
        data.commit("interactions")


def split(workspace: Workspace) -> dict[str, Any]:
    """Step 4: reproduce `training`; what was left, and what is cold at test time."""
    made = opening.open_data(workspace).reproduce("training")
    receipt: dict[str, Any] = read_json(workspace.receipts / "training.json")
    return {"digest": made.digest, **receipt}
