"""Objects under their md5, in the cache and the remotes of a data repository.

A store is what DVC calls an object database; here it is only its file system, its path, and the
rule that object `abcd..` lies at `ab/cd..`. A version ("<32 hex>.dir") is the list of a folder's
files. Whatever else lies in a store was left by a killed process. So was what `mend` mends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from lethe.durable import locked, replacing, write_bytes, write_json
from lethe.errors import ArtifactCorrupt, Busy, StoreUnavailable

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
        return frozenset(oid for oid in self.listed() if _is_list(oid))

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

    def copy_in(self, path: Path) -> str:
        """Put a file into every store that lacks it; its md5."""
        digest = hashlib.md5(usedforsecurity=False)
        with path.open("rb") as source:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
        self._put(path, digest.hexdigest())
        return digest.hexdigest()

    def put_version(self, files: Mapping[str, str], work: Path) -> str:
        """Put a list of files, relative path to md5, into every store; the version's name.

        The list is written as DVC writes it (dvc_data, `Tree.as_bytes`): sorted, two keys each.
        """
        entries = [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
        content = json.dumps(entries, sort_keys=True).encode()
        version = hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"
        path = work / version
        write_bytes(path, content)
        self._put(path, version)
        path.unlink()
        return version

    def complete(self, wanted: Iterable[str]) -> int:
        """Put what versions name into every store that holds their list and lacks it; how many.

        A name that is no version in any store is passed over.

        Raises:
            StoreUnavailable: a file of a version is in no store.
        """
        held = [(store, frozenset(_listing(store).values())) for store in self.stores]
        added = 0
        for version in sorted(wanted):
            holders = [(store, there) for store, there in held if version in there]
            files = {*self.files(version).values()} if holders and _is_list(version) else set()
            for store, there in holders:
                for oid in sorted(files - there):
                    source = next((one for one, its in held if oid in its), None)
                    if source is None:
                        raise StoreUnavailable(f"a file of data version {version} is in no store")
                    store.add(source.oid_to_path(oid), source.fs, oid)
                    added += 1
        return added

    def _put(self, path: Path, oid: str) -> None:
        from dvc.fs import LocalFileSystem

        for store in self.stores:
            if not store.exists(oid):
                store.add(str(path), LocalFileSystem(), oid)

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


def _is_list(oid: str) -> bool:
    return oid.endswith(".dir")


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


def mend(root: Path) -> None:
    """Mend the notes of the repository at `root`, which dvc writes in place.

    A kill can leave `dvc.lock` or the list of stage locks cut short, and dvc refuses either for
    ever; without `dvc.lock` it runs the stages again. It can also leave locks of dead processes,
    whose numbers others get. Does nothing while a dvc command holds the repository.
    """
    notes = root / ".dvc" / "tmp"
    if notes.is_dir():
        with (
            contextlib.suppress(Busy),
            locked(notes / "lock", 0),
            locked(notes / "rwlock.lock", 0),
        ):
            _release_dead(notes / "rwlock")
            _drop_damaged(root / "dvc.lock")


def _release_dead(path: Path) -> None:
    if not path.is_file():
        return
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        read = {p: [one for one in holders if _is_dvc(one)] for p, holders in held["read"].items()}
        write = {place: holder for place, holder in held["write"].items() if _is_dvc(holder)}
        kept = {
            "write": write,
            "read": {place: holders for place, holders in read.items() if holders},
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        held, kept = None, {"write": {}, "read": {}}
    if kept != held:
        write_json(path, kept)


def _is_dvc(holder: dict[str, Any]) -> bool:
    """Whether the process that holds a lock still runs, and is not another of that number."""
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    command = Path("/proc") / str(holder["pid"]) / "cmdline"
    try:
        words = command.read_bytes().split(b"\0")
    except OSError:  # ended meanwhile, or a system without /proc
        return not command.parent.parent.is_dir()
    return any(Path(os.fsdecode(word)).name == "dvc" for word in words)


def _drop_damaged(lock_file: Path) -> None:
    try:
        read_lock_file(lock_file)
    except ArtifactCorrupt:
        lock_file.unlink()


def read_lock_file(path: Path) -> dict[str, Any]:
    """The stages of dvc.lock by name; none where it is absent.

    Raises:
        ArtifactCorrupt: it is not what dvc writes; `mend` takes it away.
    """
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    if not path.is_file():
        return {}
    try:
        content = COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(path.read_text(encoding="utf-8")))
        stages = dict(content.get("stages") or {})
        outs = [out for stage in stages.values() for out in stage.get("outs") or ()]
        sound = all(_OBJECT.fullmatch(str(out.get("md5"))) for out in outs)
    except (Invalid, yaml.YAMLError, UnicodeDecodeError):
        sound = False
    if not sound:
        raise ArtifactCorrupt("dvc.lock is cut short; the next night mends it")
    return stages


def name_output(root: Path, out_path: str, version: str, stale: str) -> None:
    """Write into dvc.lock that the files in `out_path` are `version`; the stage `stale` goes.

    A dvc.lock that is not there says nothing, and is made by the next `dvc repro`.
    """
    lock = root / "dvc.lock"
    if not lock.is_file():
        return
    files = [path for path in (root / out_path).rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    content = yaml.safe_load(lock.read_text(encoding="utf-8"))
    content["stages"].pop(stale, None)
    for stage in content["stages"].values():
        for out in stage.get("outs", ()):
            if PurePosixPath(out["path"]) == PurePosixPath(out_path):
                out |= {"md5": version, "size": size, "nfiles": len(files)}
    write_bytes(lock, yaml.safe_dump(content, sort_keys=False).encode(), mode=0o644)
