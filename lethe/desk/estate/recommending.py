"""Batch outputs on demand: one at a time, and not beside a night."""

from __future__ import annotations

from typing import Any

from lethe.durable import locked
from lethe.errors import Busy
from lethe.estate.outward.tables import Form
from lethe.estate.workspace import Workspace
from lethe.nights.batches import making
from lethe.nights.batches.making import AlreadySeen
from lethe.nights.desk import Desk
from lethe.stages import opening


def recommend(
    workspace: Workspace, k: int, already_seen: AlreadySeen, form: Form
) -> dict[str, Any]:
    """Write what the champion recommends to everybody who may be served; see `making.recommend`.

    Raises:
        Busy: a night is running, or was killed and has not ended.
    """
    params = opening.open_params(workspace)
    with locked(workspace.night_lock, wait_seconds=5.0):
        if workspace.journal.is_file():
            raise Busy("a night was cut off; `lethe night` ends it, then there is what to write")
        return making.recommend(Desk.open(workspace, params), k, already_seen, form)
