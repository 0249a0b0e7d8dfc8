"""Who must have left no trace in a version, with the histories that could have left one.

Objecting and restricted people are in the data version that was trained on. The newly erased are
not: until they are retired, an older data version still holds them. Both are read sealed, into
the night's private folder, for the contribution layer alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Set
from functools import cache
from pathlib import Path
from typing import Any

from lethe.adapters.catalogue import Catalogue, DataVersion
from lethe.adapters.data_versions import DataVersions
from lethe.estate.workspace import Workspace
from lethe.gate.proof.retained import Retained, histories
from lethe.interactions.rights.identity import Keys
from lethe.interactions.rights.standing import Standing
from lethe.solutions.factors import Manifest
from lethe.stages import opening


def gather(  # noqa: PLR0913
    workspace: Workspace,
    data: DataVersions,
    keys: Keys,
    standing: Standing,
    manifest: Manifest,
    trained_on: Path,
    retained: Retained,
) -> dict[str, Any]:
    """Histories by group, in the columns of `retained`; a group without any is left out.

    They weigh what they would have weighed in tonight's training: whoever was left in it counts
    once, and whoever was left from an earlier one, when less had faded, counts more than once.

    `standing` is that of the register position the version was trained at. `trained_on` is its
    data version, checked out.
    """
    stone = cache(keys.stone)  # a person has events in many shards, and may be asked about twice

    def one_of(people: Set[str]) -> Callable[[str], bool]:
        return lambda user: stone(user) in people

    def read(folder: Path, asked: Mapping[str, Set[str]]) -> dict[str, Any]:
        rules, day = manifest.definition, retained.day
        return {
            name: histories(folder, one_of(people), retained.matrix.items, rules, day)
            for name, people in asked.items()
            if people
        }

    found = read(
        trained_on,
        {
            "objecting": standing.objecting - standing.erased,
            "restricted": standing.restricted - standing.objecting - standing.erased,
        },
    )
    older = superseded(Catalogue(workspace.catalogue).list(), data.held(), standing, manifest)
    if older is not None:
        place = workspace.temporary / "superseded"
        shutil.rmtree(place, ignore_errors=True)
        opening.check_out(data, older.digest, place, keys)
        erased = {"erased": standing.erased - standing.canaries, "canary": standing.canaries}
        found |= read(place, erased)
        shutil.rmtree(place)
    return {name: rows for name, rows in found.items() if rows.shape[0]}


def superseded(
    known: tuple[DataVersion, ...], held: Set[str], standing: Standing, manifest: Manifest
) -> DataVersion | None:
    """The newest other data version that was purged before the last erasure took effect."""
    last = max((standing.erased_at[person] for person in standing.erased), default=0)
    older = [
        version
        for version in known
        if version.digest in held
        and manifest.data_version not in {version.digest, *version.formerly}
        and version.register_position < last
    ]
    return max(older, key=lambda version: version.register_position, default=None)
