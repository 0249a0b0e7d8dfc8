"""Replacing a key: the one that signs, or the one that names."""

from __future__ import annotations

from typing import Any

from lethe.durable import locked
from lethe.estate.keys import keys_before, replace_signing_key
from lethe.estate.process import settle
from lethe.estate.workspace import Workspace
from lethe.nights.desk import Desk
from lethe.nights.frame import apart
from lethe.nights.renaming import rotating
from lethe.stages import opening


def replace_key(workspace: Workspace, name: str) -> dict[str, Any]:
    """Replace the signing key or the pseudonym key, not beside a night.

    Raises:
        BadConfiguration: a key comes from the environment.
        Busy: a night is running, or was cut off; for the pseudonym key also an experiment.
        RefusedByGate: see `lethe.nights.renaming.rotating.refuse_unready`.
    """
    return _replace_names(workspace) if name == "pseudonym" else _replace_signing(workspace)


def _replace_names(workspace: Workspace) -> dict[str, Any]:
    """Or end a replacement that was cut off; then nothing is asked any more."""
    settle(workspace)
    params = opening.open_params(workspace)
    with locked(workspace.night_lock, 5.0), apart(workspace, "renaming", 5.0):
        resumed, data = rotating.cut_off(workspace), opening.open_data(workspace)
        desk = Desk.open(workspace, params, keys_before(workspace))
        if not resumed:
            rotating.refuse_unready(desk, data)
        done = rotating.rotate(desk, data)
    text = (
        f"{'a replacement that was cut off has ended: ' if resumed else ''}the names in "
        f"{done.renamed} data versions are under key {done.generation} from now on; "
        f"{done.objects} objects under former names deleted"
    )
    if done.versions:
        text += (
            f"\n{done.versions} solution versions are still under former names, and the champion "
            "answers to those: run `lethe night` now"
        )
    return {
        "key": "pseudonym",
        "new": done.generation,
        "data_versions": done.renamed,
        "objects": done.objects,
        "versions_under_former_names": done.versions,
        "resumed": resumed,
        "text": text,
    }


def _replace_signing(workspace: Workspace) -> dict[str, Any]:

    with locked(workspace.night_lock, wait_seconds=5.0):
        former, new = replace_signing_key(workspace)
    public = workspace.keys / "signing.pub"
    return {
        "key": "signing",
        "former": former,
        "new": new,
        "public": str(public),
        "text": f"certificates are signed by key {new[:16]} from now on; those by {former[:16]} "
        f"still count here\ngive auditors {public}",
    }
