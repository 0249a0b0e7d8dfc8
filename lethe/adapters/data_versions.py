"""Data versions: DVC records them, keeps their files, and destroys them. The only file for dvc.

Writing goes through dvc's command line, which waits for the repository's lock; reading and
destroying through its Python interface, because no command can delete single objects. A version is
the md5 of a folder's list of files ("<32 hex>.dir"); the list names every file with its own md5.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lethe import errors
from lethe.adapters import dvc_commands
from lethe.adapters.catalogue import Catalogue
from lethe.adapters.dvc_commands import Ended
from lethe.adapters.object_stores import ObjectStores, mend, name_output, read_lock_file
from lethe.durable import read_json
from lethe.errors import BadInput, Busy, LetheError, StoreUnavailable

CATALOGUE = Path(".lethe/catalogue.json")
STAGE_ERROR = Path(".lethe/stage-error.json")
SITE_CACHE = Path(".lethe/site-cache")
_BUSY = "it is being blocked by"  # dvc/rwlock.py


@dataclass(frozen=True)
class Reproduced:
    """A stage that stands at its inputs: the digest of its first output, and whether it moved."""

    stage: str
    digest: str
    changed: bool


@dataclass(frozen=True)
class Destroyed:
    """What `destroy` took away: versions asked for, and objects deleted over all stores."""

    versions: int
    objects: int


class DataVersions:
    """The DVC repository of one workspace (without git)."""

    def __init__(self, root: Path, wait_seconds: float = 3600.0) -> None:
        self.root = root.resolve()
        self.wait_seconds = wait_seconds
        self.catalogue = Catalogue(self.root / CATALOGUE)

    def init(self) -> None:
        """Make the repository, its settings and its default remote; again changes nothing."""
        if not (self.root / ".dvc/config").exists():
            self._dvc("init", "--no-scm", "--force")
        from dvc.config import Config
        from dvc.config_schema import RelPath

        with Config(dvc_dir=str(self.root / ".dvc")).edit("repo") as settings:
            settings["core"] |= {"analytics": False, "check_update": False}
            settings["core"]["site_cache_dir"] = str(SITE_CACHE)
            settings["cache"]["type"] = "copy"
            if not settings["remote"]:
                remote = self.root / ".lethe/remote"
                remote.mkdir(parents=True, exist_ok=True, mode=0o700)
                settings["remote"]["default"] = {"url": RelPath(remote)}
                settings["core"]["remote"] = "default"
        self._make_site_cache()

    def reproduce(self, stage: str) -> Reproduced:
        """Run the stage and all it depends on, as far as their inputs changed.

        Raises:
            LetheError: the stage's own error, as it left it in .lethe/stage-error.json.
            StoreUnavailable: dvc failed in another way.
        """
        mend(self.root)
        before = self._stage_digest(stage)
        (self.root / STAGE_ERROR).unlink(missing_ok=True)
        self._dvc("repro", "--no-run-cache", stage)
        self._drop_run_cache()
        after = self._stage_digest(stage)
        if after is None:
            raise StoreUnavailable(f"dvc recorded no output for stage {stage}")
        return Reproduced(stage, after, before != after)

    def commit(self, stage: str) -> str:
        """Record a stage that was run elsewhere; the digest of its first output."""
        self._dvc("commit", "-f", stage)
        self._drop_run_cache()
        digest = self._stage_digest(stage)
        if digest is None:
            raise StoreUnavailable(f"dvc recorded no output for stage {stage}")
        return digest

    def push(self) -> None:
        """Copy everything that dvc.lock names to the default remote.

        DVC first notes, bit by bit, what there is to push; killed amid that, it trusts the short
        note ever after, pushes the list without all of its files, and takes it that they are there.
        So what a remote lacks beside a list is put there afterwards.

        Raises:
            StoreUnavailable: dvc failed, or a file is in no store any more.
        """
        self._dvc("push")
        with self._stores() as stores:
            stores.complete(self._current())

    def digest(self, out_path: str) -> str | None:
        """The digest that dvc.lock records for an output, None when it records none."""
        for stage in self._lock_file().values():
            for out in stage.get("outs", ()):
                if PurePosixPath(out["path"]) == PurePosixPath(out_path):
                    return str(out["md5"])
        return None

    def held(self) -> frozenset[str]:
        """Every folder version of which the cache or any remote holds the list of files."""
        with self._stores() as stores:
            return stores.versions()

    def objects(self, digest: str) -> dict[str, str]:
        """The files of a version, relative path to md5.

        Raises:
            StoreUnavailable: no store holds it.
            ArtifactCorrupt: the list does not have the digest it is kept under.
        """
        with self._stores() as stores:
            return stores.files(digest)

    def checkout(self, digest: str, into: Path) -> Path:
        """Write a version's files into the folder `into`, read-only, each md5 checked.

        Files come from the cache, or from a remote where the cache lacks them. An md5 guards
        against accidents; the interactions' own manifest carries SHA-256.
        """
        with self._stores() as stores:
            into.mkdir(parents=True, exist_ok=True)
            for name, md5 in sorted(stores.files(digest).items()):
                stores.copy_out(md5, into / name)
        return into

    @contextlib.contextmanager
    def rewriting(self) -> Iterator[ObjectStores]:
        """The stores, to put versions into that forget; no dvc command runs meanwhile."""
        with self._stores(exclusive=True) as stores:
            yield stores

    def name_output(self, out_path: str, digest: str, stale: str) -> None:
        """Let dvc.lock name the files that lie in `out_path`, and forget the stage `stale`.

        To be called within `rewriting`. What a stage was made from stays as it was recorded.
        """
        name_output(self.root, out_path, digest, stale)

    def destroy(self, digests: Collection[str], keep: Collection[str] = ()) -> Destroyed:
        """Delete versions from the cache and from every configured remote.

        An object goes when only the versions in `digests` name it: a version in dvc.lock or
        otherwise held protects its objects. Lists of files go last, so that a killed call can be
        repeated. Afterwards every store is listed again. The run cache and the site cache, which
        remember paths and digests, are emptied too.

        Raises:
            BadInput: a version is to be destroyed and is in `keep` or in dvc.lock.
            StoreUnavailable: a store failed, or still holds one of the objects.
        """
        doomed = frozenset(digests)
        if clash := doomed & (frozenset(keep) | self._current()):
            raise BadInput(f"{len(clash)} data versions are to be destroyed and are still in use")
        with self._stores(exclusive=True) as stores:
            lists = stores.versions()
            gone = {md5 for v in lists & doomed for md5 in stores.files(v).values()}
            targets = [*sorted(gone - self._named(stores, lists - doomed)), *sorted(doomed)]
            return self._delete(stores, targets)

    def sweep(self) -> Destroyed:
        """Delete what no held version and not dvc.lock names: the leavings of killed commands.

        Objects of an interrupted save or push are such leavings, and may hold rows of a person.
        Versions themselves stay. Raises StoreUnavailable as `destroy` does.
        """
        with self._stores(exclusive=True) as stores:
            strays = stores.delete_strays()
            files = {oid for oid in stores.listed() if not oid.endswith(".dir")}
            swept = self._delete(stores, sorted(files - self._named(stores, stores.versions())))
            return Destroyed(0, swept.objects + strays)

    def _named(self, stores: ObjectStores, versions: frozenset[str]) -> set[str]:
        listed = (md5 for version in versions for md5 in stores.files(version).values())
        return {*self._current(), *listed}

    def _delete(self, stores: ObjectStores, targets: list[str]) -> Destroyed:
        count = stores.delete(targets)
        if left := stores.listed() & frozenset(targets):
            raise StoreUnavailable(f"{len(left)} objects are still held after their deletion")
        self._drop_run_cache()
        self._make_site_cache(empty=True)
        return Destroyed(sum(oid.endswith(".dir") for oid in targets), count)

    def _current(self) -> frozenset[str]:
        outs = (out for stage in self._lock_file().values() for out in stage.get("outs", ()))
        return frozenset(str(out["md5"]) for out in outs)

    def _stage_digest(self, stage: str) -> str | None:
        outs = self._lock_file().get(stage, {}).get("outs", ())
        return str(outs[0]["md5"]) if outs else None

    def _lock_file(self) -> dict[str, Any]:
        return read_lock_file(self.root / "dvc.lock")

    def _make_site_cache(self, empty: bool = False) -> None:
        folder = self.root / SITE_CACHE
        if empty and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)

    def _drop_run_cache(self) -> None:
        runs = self.root / ".dvc/cache/runs"
        if runs.exists():
            shutil.rmtree(runs)

    def _dvc(self, command: str, *arguments: str) -> str:
        """Run one dvc command and return what it printed.

        dvc itself waits for the repository, but not for a stage that another process runs.
        """
        self._make_site_cache()
        deadline = time.monotonic() + self.wait_seconds
        while True:
            mend(self.root)
            done = dvc_commands.run(
                ("--wait-for-lock", command, *arguments), self.root, self._environment()
            )
            if done.returncode == 0:
                return done.stdout
            if _BUSY not in done.stderr:
                raise self._failure(command, done)
            if time.monotonic() >= deadline:
                raise Busy(f"dvc {command}: another process runs a stage of this workspace")
            time.sleep(min(1.0, self.wait_seconds))

    def _environment(self) -> dict[str, str]:
        # `python` in dvc.yaml is this interpreter, whatever else the machine calls python.
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        return os.environ | {
            "PATH": path,
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.root / SITE_CACHE),
        }

    def _failure(self, command: str, done: Ended) -> LetheError:
        note = self.root / STAGE_ERROR
        if command == "repro" and note.exists():
            left = read_json(note)
            note.unlink()
            return _stage_error(int(left["exit_code"]), str(left["message"]), left.get("error"))
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        last = said[-1].removeprefix("ERROR: ") if said else "no message"
        return StoreUnavailable(f"dvc {command} ended with {done.returncode}: {last}")

    @contextlib.contextmanager
    def _stores(self, exclusive: bool = False) -> Iterator[ObjectStores]:
        """The object stores: the cache first, then every configured remote."""
        from dvc.repo import Repo

        self._make_site_cache()
        site = {"core": {"site_cache_dir": str(self.root / SITE_CACHE)}}
        try:
            with contextlib.ExitStack() as stack:
                repo = stack.enter_context(Repo(str(self.root), config=site, _wait_for_lock=True))
                if exclusive:
                    stack.enter_context(repo.lock)
                remotes = [repo.cloud.get_remote_odb(name) for name in repo.config["remote"]]
                yield ObjectStores([repo.cache.local, *remotes])
        except LetheError:
            raise
        except Exception as error:  # each remote's library has its own errors
            raise StoreUnavailable(f"the data store failed: {type(error).__name__}") from error


def _stage_error(exit_code: int, message: str, name: object) -> LetheError:
    classes = {1: errors.RefusedByGate, 2: errors.BadInput}
    by_code: type[LetheError] = classes.get(exit_code, errors.OutsideFailure)
    named = getattr(errors, str(name), None)
    if isinstance(named, type) and issubclass(named, by_code) and named is not errors.BadFile:
        return named(message)
    return by_code(message)
