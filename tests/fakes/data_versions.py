"""Data versions in memory: stages are functions, digests are those that DVC would record."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from lethe.adapters.catalogue import Catalogue
from lethe.adapters.data_versions import CATALOGUE, Destroyed, Reproduced
from lethe.errors import BadInput, StoreUnavailable


class FakeDataVersions:
    """`stages` maps a stage to its output folder and to what makes that folder."""

    def __init__(
        self, root: Path, stages: Mapping[str, tuple[str, Callable[[], None]]] | None = None
    ) -> None:
        self.root, self.stages = root, dict(stages or {})
        self.catalogue = Catalogue(root / CATALOGUE)
        self.recorded: dict[str, str] = {}
        self.lists: dict[str, dict[str, str]] = {}
        self.content: dict[str, bytes] = {}
        self.pushed = 0

    def init(self) -> None:
        (self.root / ".lethe").mkdir(parents=True, exist_ok=True)

    def reproduce(self, stage: str) -> Reproduced:
        before = self.recorded.get(self.stages[stage][0])
        self.stages[stage][1]()
        after = self.commit(stage)
        return Reproduced(stage, after, before != after)

    def commit(self, stage: str) -> str:
        out = self.stages[stage][0]
        files: dict[str, str] = {}
        for path in sorted(p for p in (self.root / out).rglob("*") if p.is_file()):
            content = path.read_bytes()
            md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
            files[path.relative_to(self.root / out).as_posix()] = md5
            self.content[md5] = content
        digest = _listing_digest(files)
        self.lists[digest] = files
        self.recorded[out] = digest
        return digest

    def push(self) -> None:
        self.pushed += 1

    def digest(self, out_path: str) -> str | None:
        return self.recorded.get(out_path.rstrip("/"))

    def held(self) -> frozenset[str]:
        return frozenset(self.lists)

    def objects(self, digest: str) -> dict[str, str]:
        if digest not in self.lists:
            raise StoreUnavailable(f"no store holds data version {digest}")
        return dict(self.lists[digest])

    def checkout(self, digest: str, into: Path) -> Path:
        into.mkdir(parents=True, exist_ok=True)
        for name, md5 in self.objects(digest).items():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_bytes(self.content[md5])
            (into / name).chmod(0o400)
        return into

    @contextlib.contextmanager
    def rewriting(self) -> Iterator[FakeDataVersions]:
        yield self

    def files(self, digest: str) -> dict[str, str]:
        return self.objects(digest)

    def copy_out(self, md5: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.content[md5])

    def copy_in(self, path: Path) -> str:
        content = path.read_bytes()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        self.content[md5] = content
        return md5

    def put_version(self, files: Mapping[str, str], work: Path) -> str:
        assert work.is_dir()
        digest = _listing_digest(files)
        self.lists[digest] = dict(files)
        return digest

    def versions(self) -> frozenset[str]:
        return self.held()

    def name_output(self, out_path: str, digest: str, stale: str) -> None:
        if out_path in self.recorded:
            self.recorded[out_path] = digest
        self.recorded.pop(f"data/{stale}", None)

    def destroy(self, digests: Collection[str], keep: Collection[str] = ()) -> Destroyed:
        doomed = set(digests)
        if clash := doomed & {*keep, *self.recorded.values()}:
            raise BadInput(f"{len(clash)} data versions are to be destroyed and are still in use")
        swept = self._delete_but(self.lists.keys() - doomed)
        found = [self.lists.pop(digest) for digest in doomed if digest in self.lists]
        return Destroyed(len(doomed), swept + len(found))  # lists go last, as the real ones do

    def sweep(self) -> Destroyed:
        return Destroyed(0, self._delete_but(self.lists))

    def _delete_but(self, kept: Collection[str]) -> int:
        named = {md5 for digest in kept for md5 in self.lists[digest].values()}
        gone = self.content.keys() - named
        for md5 in gone:
            del self.content[md5]
        return len(gone)


def _listing_digest(files: Mapping[str, str]) -> str:
    entries = [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
    listing = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(listing, usedforsecurity=False).hexdigest() + ".dir"
