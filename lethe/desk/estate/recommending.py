"""Batch outputs on demand: one at a time, and not beside a night."""

from __future__ import annotations

from typing import Any

from lethe.durable import locked
from lethe.errors import Busy
from lethe.estate.workspace import Workspace
from lethe.nights.batches import making
from lethe.nights.desk import Desk
from lethe.stages import opening


def recommend(workspace: Workspace, **told: Any) -> dict[str, Any]:
    """Write what the champion recommends to everybody who may be served; see `making.recommend`.

    `told` are values of `RecommendRules` in place of those of params.yaml; None is not told.

    Raises:
        Busy: a night is running, or was killed and has not ended.
    """
    params = opening.open_params(workspace)
    given = {name: value for name, value in told.items() if value is not None}
    rules = params.recommend.model_copy(update=given)
    with locked(workspace.night_lock, wait_seconds=5.0):
        if workspace.journal.is_file():
            raise Busy("a night was cut off; `lethe night` ends it, then there is what to write")
        return making.recommend(Desk.open(workspace, params), rules)
