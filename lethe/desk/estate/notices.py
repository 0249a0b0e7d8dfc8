"""Notices to recipients of people's data: which wait, and that they were delivered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lethe.errors import BadRequest
from lethe.estate.workspace import Workspace
from lethe.nights.desk import Desk
from lethe.nights.forgetting import notifying
from lethe.stages import opening


def waiting(workspace: Workspace) -> list[dict[str, Any]]:
    """The notices that wait, in the order of the register, without ids."""
    desk = Desk.open(workspace, opening.open_params(workspace))
    return [
        {
            "file": notice.file,
            "recipient": notice.recipient,
            "asked": notice.asked,
            "people": notice.people,
            "received": notice.received,
            "positions": list(notice.positions),
        }
        for notice in notifying.waiting(desk)
    ]


def sent(workspace: Workspace, files: Sequence[str], every: bool) -> dict[str, Any]:
    """Record that notices were delivered: the named ones, or with `every` all that wait.

    Raises:
        BadRequest: none is named, or one does not wait; nothing is recorded then.
    """
    if every is bool(files):
        raise BadRequest("name the notices that were delivered, or say --all")
    desk = Desk.open(workspace, opening.open_params(workspace))
    done = notifying.deliver(desk, None if every else files, opening.now())
    left = len(notifying.waiting(desk))
    return {
        "delivered": len(done),
        "waiting": left,
        "text": f"{len(done)} notices recorded as delivered and deleted, {left} wait; the next "
        "night or sweep closes what waited for them",
    }
