"""prefect.yaml of a workspace: written once, then the operator's to edit."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from lethe.durable import write_bytes
from lethe.estate.workspace import Workspace


def written(workspace: Workspace) -> Path:
    """The workspace's prefect.yaml, made from the template if it is missing."""
    file = workspace.root / "prefect.yaml"
    if not file.exists():
        content = (resources.files("lethe.desk") / "templates" / file.name).read_bytes()
        write_bytes(file, content, mode=0o644)
    return file
