"""The restricted file of a refused version: what would reveal a history, for whoever must look.

A residual that fails is rank one and shows what the person who caused it bought. Such details go
into one private file a version and nowhere else: not into a message, a log, MLflow, the page or
the certificate. The file names no person, and it goes with the first of these: the version is
destroyed or verifies after all, an erasure is closed, or it has grown old.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from lethe.durable import read_json, write_json
from lethe.estate.workspace import Workspace
from lethe.gate.proof.verification import Report

_DAY = 86_400


def restricted_path(workspace: Workspace, version: int) -> Path:
    """Where the details of a version's refusal lie, if there are any."""
    return workspace.restricted / f"version-{version}.json"


def note(workspace: Workspace, version: int, report: Report, written: int) -> Path | None:
    """Write what the layers found out about a refused version, 0600; `written` in Unix seconds.

    Details of an earlier verification go, whatever the verdict. None if there is nothing to write.
    """
    path = restricted_path(workspace, version)
    path.unlink(missing_ok=True)
    details = [
        {"layer": layer.layer, "details": layer.details}
        for layer in report.layers
        if layer.findings and layer.details
    ]
    if not details:
        return None
    workspace.restricted.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_json(path, {"version": version, "written": written, "layers": details})
    return path


def forget(workspace: Workspace, kept: Set[int], now: int, days: int) -> int:
    """Delete what belongs to no `kept` version, or is older than `days`; how many went.

    A file that cannot be read goes too.
    """
    gone = 0
    for path in sorted(workspace.restricted.glob("*")):
        noted: Mapping[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            noted = dict(read_json(path))
        old = now - int(noted.get("written", 0)) > days * _DAY
        if old or noted.get("version") not in kept:
            path.unlink(missing_ok=True)
            gone += 1
    return gone


def empty(workspace: Workspace) -> None:
    """Delete all of it, before an erasure is closed: whose history it shows cannot be looked up."""
    for path in sorted(workspace.restricted.glob("*")):
        path.unlink(missing_ok=True)
