"""Backups: one archive of all stores but the register and the keys, read back without trust.

The archive is a tar in gzip. Its first member, the manifest, names every file with size, mode and
SHA-256; the second is the manifest's signature by the workspace's key. The manifest decides what
follows, byte for byte: a header that is not the one expected next is refused, so no path, link or
size of the archive's own is ever acted upon. Equal files are stored once, then linked to the first.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

from lethe.durable import canonical_json, replacing
from lethe.errors import ArtifactCorrupt, BadFile, BadInput, LetheError, StoreUnavailable
from lethe.estate.stores import SETTINGS, STORES

SUFFIX: Final = ".tar.gz"
MANIFEST, SIGNATURE = "lethe-backup.json", "lethe-backup.sig"
_FORMAT = "lethe-backup-1"
_MARKER = ".lethe/restore.json"
_BLOCK, _CHUNK = 512, 1 << 20
_LONGEST_MANIFEST, _LONGEST_SIGNATURE = 256 << 20, 4096
_LEFT_OUT = frozenset({
    ".dvc/tmp", ".lethe/site-cache", ".lethe/night.json", ".lethe/night.lock",
    ".lethe/register.position", ".lethe/register.anchor", ".lethe/merges.anchor",
    ".lethe/stage-error.json", _MARKER,
})  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """One file: its path in the workspace, bytes, SHA-256 and permissions."""

    path: str
    size: int
    sha256: str
    mode: int


@dataclass(frozen=True)
class Backup:
    """What a backup says of itself: where and when (Unix seconds) it was made, and what it holds.

    `register_position` and `register_head` are the register's then; `keys` are fingerprints.
    """

    workspace: str
    made: int
    register_position: int
    register_head: str
    keys: Mapping[str, str]
    files: tuple[Kept, ...]

    def content(self) -> bytes:
        """The manifest as it is stored and signed."""
        return canonical_json({"format": _FORMAT, **asdict(self)})


def places() -> tuple[str, ...]:
    """The places that a backup holds, and a restore replaces."""
    stores = (place for store in STORES if store.backed_up for place in store.places)
    return (*SETTINGS, *(place for place in stores if place not in _LEFT_OUT))


def passing_places() -> tuple[str, ...]:
    """Places of these stores that hold nothing to keep: a restore empties them."""
    stay = {".lethe/night.lock", ".lethe/register.anchor", ".lethe/merges.anchor", _MARKER}
    return tuple(sorted(_LEFT_OUT - stay))


def write(
    path: Path, backup: Backup, sources: Mapping[str, Path], sign: Callable[[bytes], bytes]
) -> None:
    """Write the archive, whole or not at all, 0600. `sources` maps a file's path to its bytes.

    Raises:
        StoreUnavailable: a file changed since the manifest was made.
    """
    content = backup.content()
    with replacing(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.chmod(0o600)
        with (
            temporary.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=backup.made) as packed,
        ):
            for name, told in ((MANIFEST, content), (SIGNATURE, sign(content))):
                packed.write(_header(name, len(told), 0o600, backup.made) + told + _rest(len(told)))
            first: dict[str, str] = {}
            for kept in backup.files:
                packed.write(_header_of(kept, first, backup.made))
                if first.setdefault(kept.sha256, kept.path) == kept.path:
                    _copy_in(sources[kept.path], kept, packed)
            packed.write(bytes(2 * _BLOCK))


def _copy_in(source: Path, kept: Kept, packed: gzip.GzipFile) -> None:
    digest, left = hashlib.sha256(), kept.size
    with source.open("rb") as stream:
        while chunk := stream.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            digest.update(chunk)
            packed.write(chunk[: len(chunk) + min(0, left)])
            if left < 0:
                break
    if left or digest.hexdigest() != kept.sha256:
        raise StoreUnavailable(f"{source.name} changed while it was backed up; start again")
    packed.write(_rest(kept.size))


def _header(name: str, size: int, mode: int, made: int, linked: str = "") -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, mode, made
    if linked:
        entry.type, entry.linkname, entry.size = tarfile.LNKTYPE, linked, 0
    return entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def _header_of(kept: Kept, first: Mapping[str, str], made: int) -> bytes:
    return _header(kept.path, kept.size, kept.mode, made, first.get(kept.sha256, ""))


def _rest(size: int) -> bytes:
    return bytes(-size % _BLOCK)


@dataclass(frozen=True)
class Opened:
    """A backup that was unpacked: what it says, and the bytes and signature of its manifest."""

    backup: Backup
    content: bytes
    signature: bytes


def unpack(path: Path, into: Path) -> Opened:
    """Write a backup's files below `into`, an empty private folder, each checked.

    Raises:
        BadFile: it is no backup, or one that holds anything but what it may.
        ArtifactCorrupt: it is cut short, or a byte differs from the manifest.
        StoreUnavailable: the disk is too small.
    """
    try:
        with path.open("rb") as raw, gzip.GzipFile(fileobj=raw) as stream:
            return _Reading(path.name, stream, into).run()
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ArtifactCorrupt(f"{path.name} is cut short or damaged") from None
    except OSError as error:
        raise StoreUnavailable(f"{path.name} cannot be unpacked: {error.strerror}") from None


@dataclass(frozen=True)
class _Reading:
    name: str
    stream: BinaryIO | gzip.GzipFile
    into: Path

    def run(self) -> Opened:
        first_header, content = self._told(MANIFEST, _LONGEST_MANIFEST)
        backup = self._parsed(content)
        header, signature = self._told(SIGNATURE, _LONGEST_SIGNATURE)
        pairs = ((MANIFEST, content), (SIGNATURE, signature))
        if [_header(n, len(told), 0o600, backup.made) for n, told in pairs] != [
            first_header,
            header,
        ]:
            raise BadFile(self.name, "it is no backup made by Lethe")
        needed = sum(kept.size + 4096 for kept in backup.files)
        if needed > shutil.disk_usage(self.into).free:
            raise StoreUnavailable(f"{self.name} needs {needed} bytes, more than the disk has left")
        first: dict[str, str] = {}
        for kept in backup.files:
            expected = _header_of(kept, first, backup.made)
            if self._exactly(len(expected)) != expected:
                raise BadFile(self.name, "a member is not the file that its manifest names next")
            target = self.into / kept.path
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._copy_out(kept, target, self.into / first.setdefault(kept.sha256, kept.path))
            target.chmod(kept.mode)
        if self._exactly(2 * _BLOCK) != bytes(2 * _BLOCK) or self.stream.read(1):
            raise BadFile(self.name, "it goes on after the last file of its manifest")
        return Opened(backup, content, signature)

    def _told(self, name: str, longest: int) -> tuple[bytes, bytes]:
        header = self._exactly(_BLOCK)
        try:
            entry = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError):
            raise BadFile(self.name, "it is no backup made by Lethe") from None
        if entry.name != name or not entry.isreg() or not 0 < entry.size <= longest:
            raise BadFile(self.name, "it is no backup made by Lethe")
        content = self._exactly(entry.size)
        self._padding(entry.size)
        return header, content

    def _parsed(self, content: bytes) -> Backup:
        try:
            found: dict[str, Any] = json.loads(content)
            if found.pop("format") != _FORMAT:
                raise BadFile(self.name, "its format is not one that this version reads")
            files = tuple(Kept(**one) for one in found.pop("files"))
            backup = Backup(**found, files=files)
            sound = (
                backup.content() == content
                and all(map(_sound, files))
                and type(backup.made) is type(backup.register_position) is int
                and backup.made >= 0
                and isinstance(backup.keys, dict)
            )
        except LetheError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            sound = False
        if not sound or _overlapping(kept.path for kept in files):
            raise BadFile(self.name, "its manifest names what a backup cannot hold")
        return backup

    def _copy_out(self, kept: Kept, target: Path, first: Path) -> None:
        if target != first:
            shutil.copyfile(first, target)
            return
        digest, left = hashlib.sha256(), kept.size
        with target.open("xb") as sink:
            while left:
                chunk = self._exactly(min(_CHUNK, left))
                left -= len(chunk)
                digest.update(chunk)
                sink.write(chunk)
        if digest.hexdigest() != kept.sha256:
            raise ArtifactCorrupt(f"{target.name} in {self.name} is not what the manifest names")
        self._padding(kept.size)

    def _padding(self, size: int) -> None:
        if any(self._exactly(-size % _BLOCK)):
            raise BadFile(self.name, "there is something between its files")

    def _exactly(self, size: int) -> bytes:
        content = self.stream.read(size)
        if len(content) < size:
            raise ArtifactCorrupt(f"{self.name} is cut short or damaged")
        return content


def _sound(kept: Kept) -> bool:
    """Whether a file is one that a backup can hold: a plain name inside a place of its own."""
    path = PurePosixPath(kept.path)
    return (
        path.as_posix() == kept.path
        and "\0" not in kept.path
        and not {"..", "."} & set(path.parts)
        and any(path == PurePosixPath(p) or path.is_relative_to(p) for p in places())
        and type(kept.size) is int
        and kept.size >= 0
        and type(kept.mode) is int
        and kept.mode == kept.mode & 0o755
        and len(bytes.fromhex(kept.sha256)) == hashlib.sha256().digest_size
    )


def _overlapping(paths: Iterable[str]) -> bool:
    """Whether a file comes twice, or is the folder of another."""
    listed = list(paths)
    folders = {parent for path in listed for parent in PurePosixPath(path).parents}
    return len(set(listed)) < len(listed) or any(PurePosixPath(p) in folders for p in listed)


def free_place(file: Path, workspace: Path, suffix: str = SUFFIX) -> Path:
    """Where a new backup goes, or a copy of the register.

    Raises:
        BadInput: it has another ending, lies in the workspace, or is there already.
    """
    path = file.resolve()
    if not path.name.endswith(suffix):
        raise BadInput(f"such a file is called something{suffix}")
    if path.is_relative_to(workspace):
        raise BadInput("it must lie outside the workspace, whose stores it holds")
    if path.exists():
        raise BadInput("there is a file of that name already; it is not replaced")
    return path


def signed(content: bytes) -> bytes:
    """What is signed of a manifest: no signature of anything else can pass for one of it."""
    return b"%b %d\n%b" % (_FORMAT.encode(), len(content), content)
