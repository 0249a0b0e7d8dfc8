"""Intake, purge, version and split, as a night asks for them: through DVC's one call."""

from __future__ import annotations

import hashlib
from typing import Any

from lethe.adapters.catalogue import Catalogue, DataVersion
from lethe.adapters.data_versions import DataVersions
from lethe.durable import read_json
from lethe.errors import BadConfiguration
from lethe.estate.canaries import planting
from lethe.estate.canaries.roll import Plan
from lethe.estate.workspace import Workspace
from lethe.interactions.intake.reading import survey
from lethe.interactions.intake.rules import LandedFile
from lethe.interactions.intake.verdicts import RefusedFile
from lethe.interactions.rights.identity import Identities
from lethe.interactions.rights.register import Action, Request
from lethe.interactions.rights.standing import CANARY
from lethe.interactions.shards.insights import insights
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
    # `lethe merge` does so itself, unless it was killed right after it had entered them.
    opening.remember_merge(workspace, register.merge_head())
    canaries = opening.open_canaries(workspace, opening.open_identities(workspace)).landed()
    return {
        "files": sum(file.sha256 != canaries for file in found),
        "files_refused": sum(isinstance(file, RefusedFile) for file in found),
        "register_position": head.position,
    }


def plan_canaries(workspace: Workspace, params: Params, due: bool) -> Plan:
    """Which canaries leave and which come tonight: none in a night that has nothing new.

    `due` is True if the night will learn again whatever landed.
    """
    register = opening.open_register(workspace, params)
    keys = opening.open_identities(workspace)
    standing, store = register.standing(), opening.open_shards(workspace, params, keys)
    sealed, identities = store.manifest(), Identities(keys, standing)
    landed = [
        file
        for file in survey(workspace.landing, params.intake)
        if isinstance(file, LandedFile)
        and file.kind == "interactions"
        and file.sha256 not in sealed.get("taken", ())
    ]
    moved = standing.position != sealed.get("register_position", 0)
    if not (due or moved or planting.fresh(landed, params.intake, identities, store)):
        return Plan()
    canaries, rules = opening.open_canaries(workspace, keys), params.canaries
    others = [file for file in landed if file.sha256 != canaries.landed()]
    made_from = (
        None
        if rules.off
        else planting.template(others, params.intake, identities, workspace.temporary)
    )
    users = max(int(sealed.get("users", 0)), made_from.users if made_from else 0)
    found = (made_from.file.name, made_from.file.sha256) if made_from else None
    return canaries.plan(rules.wanted(users), rules, found)


def carry_out(workspace: Workspace, params: Params, plan: Plan) -> None:
    """Enter the leaving canaries in the register and land a file of those who come.

    Safe to repeat after a kill at any point. The time of receipt is that of the newest data
    version, which holds them: a night that is repeated enters the very same requests.
    """
    keys = opening.open_identities(workspace)
    canaries, register = (
        opening.open_canaries(workspace, keys),
        opening.open_register(workspace, params),
    )
    leaving = canaries.tombstones(*plan.leaving)
    if leaving:
        versions = Catalogue(workspace.catalogue).list()
        received = versions[-1].created if versions else 0
        register.append(
            [Request(Action.ERASE, stone, received, CANARY) for stone in leaving],
            known=opening.newest_known(workspace),
        )
        opening.remember_head(workspace, register.head())
        canaries.note(erased=plan.leaving[1])
    if plan.template:
        _land(workspace, params, plan, Identities(keys, register.standing()))


def _land(workspace: Workspace, params: Params, plan: Plan, identities: Identities) -> None:
    """Nothing if theirs has landed already, or the file that they were to be made from is gone."""
    keys, rules, scratch = identities.keys, params.intake, workspace.temporary
    store = opening.open_shards(workspace, params, keys)
    canaries = opening.open_canaries(workspace, keys)
    taken = set(store.manifest().get("taken", ()))
    found = [file for file in survey(workspace.landing, rules) if isinstance(file, LandedFile)]
    there = canaries.landed() in taken | {file.sha256 for file in found}
    done = canaries.counters()[0] >= plan.coming[1] and there
    files = [file for file in found if file.sha256 not in taken]
    if done or not any((file.name, file.sha256) == (plan.template, plan.sha256) for file in files):
        return
    made_from = planting.template(files, rules, identities, scratch)
    if made_from is None or planting.sibling(made_from.file).exists():
        return
    ids = canaries.ids(*plan.coming)
    content = planting.content(made_from, rules, ids, params.canaries.history, scratch)
    if content is not None:
        # First the note: whoever may be in the data by now is known for a canary.
        canaries.note(made=plan.coming[1], landed=hashlib.sha256(content).hexdigest())
        planting.land(made_from.file, content)


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
    keys = opening.open_identities(workspace)
    store = opening.open_shards(workspace, params, keys)
    sealed, head = store.manifest(), opening.sealed_at(store)  # counted without canaries there
    if digest is None:
        raise BadConfiguration("no data version was ever recorded")
    made = DataVersion(
        digest=digest,
        rows=int(sealed["rows"]),
        users=int(sealed["users"]),
        items=int(sealed["items"]),
        register_position=head.position,
        register_head=head.digest,
        created=created,
        names=keys.generation,
    )
    Catalogue(workspace.catalogue).add(made)
    _clear_landing(workspace, params, data, set(sealed["taken"]))
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


def split(workspace: Workspace, params: Params) -> dict[str, Any]:
    """Step 4: reproduce `training`; what was left, what is cold at test time, what the data is."""
    made = opening.open_data(workspace).reproduce("training")
    receipt: dict[str, Any] = read_json(workspace.receipts / "training.json")
    keys = opening.open_identities(workspace)
    store = opening.open_shards(workspace, params, keys)
    canaries = opening.open_canaries(workspace, keys)
    found = insights(store, canaries.pseudonyms())
    return {"digest": made.digest, **receipt, "insights": found}
