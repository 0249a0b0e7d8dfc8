"""Objects under their md5, in the cache and the remotes of a data repository.

A store is what DVC calls an object database; here it is only its file system, its path, and the
rule that object `abcd..` lies at `ab/cd..`. A version ("<32 hex>.dir") is the list of a folder's
files. Whatever else lies in a store was left by a killed process.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lethe.durable import replacing
from lethe.errors import ArtifactCorrupt, StoreUnavailable

_OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")
_CHUNK = 1 << 20


class ObjectStores:
    """Several stores seen as one; the first that holds an object gives it."""

    def __init__(self, stores: Sequence[Any]) -> None:
        self.stores = tuple(stores)

    def listed(self) -> frozenset[str]:
        """Every object that any of the stores holds."""
        return frozenset(
            oid for store in self.stores for oid in _listing(store).values() if oid is not None
        )

    def versions(self) -> frozenset[str]:
        """Those objects that are lists of files."""
        return frozenset(oid for oid in self.listed() if oid.endswith(".dir"))

    def files(self, version: str) -> dict[str, str]:
        """The files of a version, relative path to md5, from the first sound copy of its list.

        Raises:
            StoreUnavailable: no store holds the list.
            ArtifactCorrupt: no copy has the digest it is kept under, or a path leaves the folder.
        """
        holders = [store for store in self.stores if store.exists(version)]
        if not holders:
            raise StoreUnavailable(f"no store holds data version {version}")
        for store in holders:
            content = store.fs.cat_file(store.oid_to_path(version))
            if hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir" == version:
                return {_inside(e["relpath"]): str(e["md5"]) for e in json.loads(content)}
        raise ArtifactCorrupt(f"the file list of data version {version} has another digest")

    def copy_out(self, md5: str, target: Path) -> None:
        """Write an object to `target`, readable by its owner alone, after checking its md5."""
        holder = next((store for store in self.stores if store.exists(md5)), None)
        if holder is None:
            raise StoreUnavailable(f"no store holds {target.name} with md5 {md5}")
        seen = hashlib.md5(usedforsecurity=False)
        opened = holder.fs.open(holder.oid_to_path(md5), "rb")
        with replacing(target) as temporary, opened as source, temporary.open("wb") as sink:
            while chunk := source.read(_CHUNK):
                seen.update(chunk)
                sink.write(chunk)
            if seen.hexdigest() != md5:
                raise ArtifactCorrupt(f"{target.name} in the data store does not have md5 {md5}")
            temporary.chmod(0o400)

    def delete(self, oids: Iterable[str]) -> int:
        """Delete objects, in the order given, from every store; count the copies deleted."""
        deleted = 0
        for oid in oids:
            for store in self.stores:
                if store.exists(oid):
                    store.delete(oid)
                    deleted += 1
        return deleted

    def delete_strays(self) -> int:
        """Delete the files that are no objects: what an interrupted copy left behind."""
        deleted = 0
        for store in self.stores:
            for path in [path for path, oid in _listing(store).items() if oid is None]:
                store.fs.remove(path)
                deleted += 1
        return deleted


def _listing(store: Any) -> dict[str, str | None]:
    """Every path of a store with its object's name, None for what is no object."""
    if not store.fs.exists(store.path):
        return {}
    return {path: _name(store, path) for path in store.fs.find(store.path)}


def _name(store: Any, path: str) -> str | None:
    try:
        oid = str(store.path_to_oid(path))
    except ValueError:
        return None
    return oid if _OBJECT.fullmatch(oid) else None


def _inside(relpath: str) -> str:
    path = PurePosixPath(relpath)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ArtifactCorrupt("a data version names a file outside its folder")
    return relpath
