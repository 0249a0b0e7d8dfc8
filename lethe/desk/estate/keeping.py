"""What is kept: the disk that each store takes, and the retained data versions."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lethe.adapters.catalogue import Catalogue, DataVersion
from lethe.durable import locked
from lethe.errors import BadConfiguration, BadRequest
from lethe.estate.stores import STORES, files_of, undeclared
from lethe.estate.workspace import Workspace
from lethe.interactions import columns as c
from lethe.interactions.shards.merging import read_table
from lethe.stages import opening

SHORT = 12
_ATTRIBUTES = ("items.parquet", "users.parquet")


def disk_use(workspace: Workspace) -> list[dict[str, Any]]:
    """Files and bytes of every declared store, and of what no store declares, if anything."""
    found = [
        {"store": store.name, **_sizes(files_of(workspace, store)), "may_hold": store.may_hold}
        for store in STORES
    ]
    strays = [workspace.root / name for name in undeclared(workspace)]
    if strays:
        found.append({"store": "in no store", **_sizes(iter(strays)), "may_hold": "unknown"})
    return found


def _sizes(paths: Iterator[Path]) -> dict[str, int]:
    sizes = []
    for path in paths:
        try:
            sizes.append(path.lstat().st_size)
        except FileNotFoundError:  # a tool tidied up in between
            continue
    return {"files": len(sizes), "bytes": sum(sizes)}


def versions(workspace: Workspace) -> list[dict[str, Any]]:
    """The retained data versions, the oldest first."""
    current = opening.open_data(workspace).digest("data/interactions")
    return [_facts(version, current) for version in Catalogue(workspace.catalogue).list()]


def _facts(version: DataVersion, current: str | None) -> dict[str, Any]:
    return {
        "digest": version.digest[:SHORT],
        "created": datetime.fromtimestamp(version.created, UTC).strftime("%Y-%m-%d %H:%M"),
        "rows": version.rows,
        "users": version.users,
        "items": version.items,
        "register_position": version.register_position,
        "present": version.digest == current,
    }


def show(workspace: Workspace, asked: str) -> dict[str, Any]:
    """One version: its counts, its shards by month, and the solution versions trained on it.

    Raises:
        BadConfiguration: not exactly one retained version starts so.
    """
    version, data = chosen(workspace, asked), opening.open_data(workspace)
    files = data.objects(version.digest)
    months = Counter(name.split("/")[0] for name in files if "/" in name)
    params = opening.open_params(workspace)
    trained = [
        info.version
        for info in opening.open_solutions(workspace, params).versions()
        if info.tags.get("data_version") == version.digest
    ]
    return {
        **_facts(version, data.digest("data/interactions")),
        "digest": version.digest,
        "files": len(files),
        "shards_by_month": dict(sorted(months.items())),
        "solution_versions": trained,
    }


def chosen(workspace: Workspace, asked: str) -> DataVersion:
    """The one retained version whose digest starts with `asked`."""
    found = [
        version
        for version in Catalogue(workspace.catalogue).list()
        if any(name.startswith(asked) for name in (version.digest, *version.formerly))
    ]
    if len(found) != 1:
        raise BadConfiguration(f"{len(found)} data versions start with {asked!r}")
    return found[0]


def checkout(workspace: Workspace, asked: str, into: Path) -> dict[str, Any]:
    """Copy a version's files out of the estate, read-only, each checked against its digest.

    Raises:
        BadConfiguration: see `chosen`.
        BadRequest: the folder is not empty, or lies inside the workspace.
    """
    version, folder = chosen(workspace, asked), into.resolve()
    if folder.is_relative_to(workspace.root):
        raise BadRequest("the folder must lie outside the workspace, whose stores are declared")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadRequest("the folder is not empty; nothing was written")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    opening.open_data(workspace).checkout(version.digest, folder)
    files = sum(path.is_file() for path in folder.rglob("*"))
    return {
        "digest": version.digest,
        "folder": str(folder),
        "files": files,
        "rows": version.rows,
        "text": f"{version.rows} rows in {files} files are in {folder}\n"
        "the copy holds personal data and lies outside the estate: no erasure reaches it",
    }


def difference(workspace: Workspace, one: str, other: str) -> dict[str, Any]:
    """How many rows, users, items and files are in one version only, in the other only, in both.

    Raises:
        BadConfiguration: see `chosen`.
        Busy: a night is running; both use the private temporary folder.
    """
    pair = [chosen(workspace, one), chosen(workspace, other)]
    data = opening.open_data(workspace)
    files = [data.objects(version.digest) for version in pair]
    place = workspace.temporary / "difference"
    with locked(workspace.night_lock, wait_seconds=5.0):
        shutil.rmtree(place, ignore_errors=True)
        try:
            folders = [data.checkout(v.digest, place / str(n)) for n, v in enumerate(pair)]
            found = compared(folders, files)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return {"versions": [version.digest[:SHORT] for version in pair], **found}


def compared(folders: Sequence[Path], files: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Two folders of shards side by side; `files` are their names and digests.

    Only shards that differ are compared row by row.
    """
    rows = [Counter[tuple[Any, ...]](), Counter[tuple[Any, ...]]()]
    users, items = [set[str](), set[str]()], [set[str](), set[str]()]
    same = 0
    for name in sorted(files[0].keys() | files[1].keys()):
        if not name.endswith(".parquet") or name in _ATTRIBUTES:
            continue
        changed = files[0].get(name) != files[1].get(name)
        for side in (n for n in (0, 1) if name in files[n]):
            table = read_table(folders[side] / name)
            users[side].update(table[c.USER].to_pylist())
            items[side].update(table[c.ITEM].to_pylist())
            if changed:
                rows[side].update(zip(*(col.to_pylist() for col in table.columns), strict=True))
            else:
                same += table.num_rows * (side == 0)
    shards = [set(side.items()) for side in files]
    both = (rows[0] & rows[1]).total() + same
    return {
        "rows": _apart((rows[0] - rows[1]).total(), (rows[1] - rows[0]).total(), both),
        "users": _split(*users),
        "items": _split(*items),
        "files": _split(*shards),
    }


def _split(one: set[Any], other: set[Any]) -> dict[str, int]:
    return _apart(len(one - other), len(other - one), len(one & other))


def _apart(first: int, second: int, both: int) -> dict[str, int]:
    return {"only_in_the_first": first, "only_in_the_second": second, "in_both": both}
