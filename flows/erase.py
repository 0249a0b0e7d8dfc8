"""The erasure sweep between nights: a night at once if a request is open, otherwise nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from flows.killed import living
from flows.retrain import retrain
from lethe.desk.rights import waiting_for_a_night
from lethe.estate.workspace import Workspace


@flow(name="erase", persist_result=False, log_prints=False)
def erase(workspace: str = ".") -> dict[str, Any]:
    """Run a night without waiting for the schedule while a request of a person is open.

    Erasures of canaries do not count, nor do those under a legal hold: no night could end them. A
    night that was refused is not repeated before a request comes in; the schedule does that.
    """
    with living(workspace):
        if not waiting_for_a_night(Workspace.find(Path(workspace))):
            return {"outcome": "nothing to do", "open": 0}
        return dict(retrain(workspace))
