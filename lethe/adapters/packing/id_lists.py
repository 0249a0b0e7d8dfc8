"""Who is in a stored version, without fetching what was learned."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lethe.adapters.packing.model_folder import SOLUTION
from lethe.errors import ArtifactCorrupt

_NAMES = ("manifest.json", "users.txt")


@dataclass(frozen=True)
class IdList:
    """A version's pseudonyms, and the SHA-256 of its manifest, by which it knows itself.

    `names` is the generation of the pseudonyms.
    """

    manifest: str
    users: tuple[str, ...] = field(repr=False)
    names: str = ""


def sources(database: Path, name: str) -> list[str]:
    """Where the stored versions of a registered model lie, from MLflow's SQLite file.

    Read past MLflow: it takes seconds to load, and every request of rights asks this.
    """
    query = "SELECT source FROM model_versions WHERE name = ? AND current_stage <> ?"
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as link:
        return [str(row[0]) for row in link.execute(query, (name, "Deleted_Internal"))]


def fetched(places: Iterable[str]) -> Iterator[IdList]:
    """The id list of each model that MLflow keeps; without those that cannot be read or served."""
    for place in places:
        with contextlib.suppress(ArtifactCorrupt):
            parts = urlsplit(place)
            local = parts.scheme in ("", "file")
            yield read(Path(unquote(parts.path), SOLUTION)) if local else _downloaded(place)


def _downloaded(place: str) -> IdList:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository: Any = get_artifact_repository(place)
    there = {Path(file.path).name for file in repository.list_artifacts(SOLUTION)}
    if not there.issuperset(_NAMES):
        raise ArtifactCorrupt("a stored version has no id list")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name in _NAMES:
            repository.download_artifacts(f"{SOLUTION}/{name}", folder)
        return read(Path(folder, SOLUTION))


def read(solution: Path) -> IdList:
    """The id list of a solution folder.

    Raises:
        ArtifactCorrupt: it is missing, or not the one in the manifest.
    """
    try:
        manifest, users = ((solution / name).read_bytes() for name in _NAMES)
        said = json.loads(manifest)
        recorded, names = said["files"]["users.txt"], str(said.get("names", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ArtifactCorrupt("the manifest of a stored version cannot be read") from None
    if hashlib.sha256(users).hexdigest() != recorded:
        raise ArtifactCorrupt("users.txt: differs from the digest in manifest.json")
    return IdList(hashlib.sha256(manifest).hexdigest(), tuple(users.decode().splitlines()), names)
