"""The folder that a solution is stored in, and its only writer and reader.

A solution folder holds these files and no other:

    user_factors.npy  item_factors.npy       float32 (n, f), npy format 1.0, C order
    [user_biases.npy  item_biases.npy]       float32 (n,); both or neither
    popular.npy       int32 (n_items,): all items by falling popularity, for unknown users
    users.txt         one pseudonym (32 lower-case hex characters) a line, ascending
    items.json        list of item ids, ascending
    manifest.json     `Manifest`; its `files` holds the SHA-256 of every other file
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lethe.durable import canonical_json, sha256_file, sha256_json, write_bytes
from lethe.errors import ArtifactCorrupt, BadInput
from lethe.solutions.learned import (
    Factors,
    FloatArray,
    Learned,
    Progress,
    array_digest,
    array_digests,
)

__all__ = [
    "Factors",
    "FloatArray",
    "Learned",
    "Manifest",
    "Progress",
    "Solution",
    "array_digest",
    "array_digests",
    "artifact_digest",
    "read_solution",
    "write_solution",
]


class Manifest(BaseModel):
    """Where a solution comes from. Digests are lower-case hex SHA-256 unless DVC's.

    `definition` are the rules by which the matrix follows from the data version. `files` maps each
    file beside the manifest to its SHA-256; `write_solution` fills it. `names` is the generation of
    the pseudonyms; empty, it is not written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    recipe: str = Field(max_length=64)
    hyperparameters: dict[str, bool | int | float | str | None]
    seed: int = Field(ge=0)
    matrix_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    data_version: str = Field(max_length=128)
    register_position: int = Field(ge=0)
    register_head: str = Field(max_length=128)
    environment: dict[str, str]
    definition: dict[str, Any] = {}
    files: dict[str, str] = {}
    names: str = Field(default="", max_length=64)

    def written(self) -> bytes:
        """The file's bytes."""
        record = self.model_dump(mode="json")
        if not self.names:
            del record["names"]  # as it was before there were name keys
        return canonical_json(record) + b"\n"


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """Factors with their id lists and manifest; proves itself when built.

    Raises:
        BadInput: an id list that does not fit its factors or repeats, a user that is not a
            pseudonym, or a `popular` that is no permutation of the items.
    """

    factors: Factors
    users: tuple[str, ...]
    items: tuple[str, ...]
    popular: npt.NDArray[np.int32]
    manifest: Manifest

    def __post_init__(self) -> None:
        for what, ids, rows in (
            ("users", self.users, len(self.factors.user_factors)),
            ("items", self.items, len(self.factors.item_factors)),
        ):
            if len(ids) != rows:
                raise BadInput(f"{len(ids)} {what} for {rows} rows of factors")
            if not all(isinstance(name, str) for name in ids) or any(
                a >= b for a, b in itertools.pairwise(ids)
            ):
                raise BadInput(f"{what} are not strictly ascending strings")
        strangers = sum(_PSEUDONYM.fullmatch(user) is None for user in self.users)
        if strangers:
            raise BadInput(f"{strangers} users are not pseudonyms of 32 hex characters")
        if self.popular.dtype != np.int32 or not np.array_equal(
            np.sort(self.popular), np.arange(len(self.items))
        ):
            raise BadInput("popular must be an int32 permutation of the items")

    def __repr__(self) -> str:
        return f"Solution({self.manifest.recipe}, {self.factors!r})"


_PSEUDONYM = re.compile(r"[0-9a-f]{32}")
_MANIFEST = "manifest.json"
_ARRAYS = {
    "user_factors.npy": ("<f4", 2),
    "item_factors.npy": ("<f4", 2),
    "user_biases.npy": ("<f4", 1),
    "item_biases.npy": ("<f4", 1),
    "popular.npy": ("<i4", 1),
}
_BIASES = frozenset({"user_biases.npy", "item_biases.npy"})
_TEXTS = frozenset({"users.txt", "items.json"})
_FILES = frozenset(_ARRAYS) | _TEXTS
_CAPS = {_MANIFEST: 1 << 20} | dict.fromkeys(_TEXTS, 1 << 32) | dict.fromkeys(_ARRAYS, 1 << 36)


def write_solution(folder: Path, solution: Solution) -> Manifest:
    """Write the folder, manifest last; equal solutions give equal bytes.

    Files of the format that stand there already are replaced. Returns the manifest as written.

    Raises:
        ArtifactCorrupt: the folder holds something that is no part of the format.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stale = _listed(folder)
    contents = {f"{name}.npy": _npy(array) for name, array in solution.factors.arrays().items()}
    contents["popular.npy"] = _npy(solution.popular)
    contents["users.txt"] = "".join(f"{user}\n" for user in solution.users).encode()
    contents["items.json"] = canonical_json(list(solution.items)) + b"\n"
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    manifest = solution.manifest.model_copy(update={"files": dict(sorted(files.items()))})
    for name in stale:
        (folder / name).unlink()
    for name, content in contents.items():
        write_bytes(folder / name, content)
    write_bytes(folder / _MANIFEST, manifest.written())
    return manifest


def read_solution(folder: Path) -> Solution:
    """Read a solution folder back by allow-list; nothing in it is ever executed.

    Each file is read once, and the bytes that were hashed are the bytes that are used.

    Raises:
        ArtifactCorrupt: names the file and the rule: a file missing or too many, a link, a size
            cap, a digest, a dtype, a shape, or content that is no solution.
    """
    present = _listed(folder)
    try:
        manifest = Manifest.model_validate_json(_content(folder, _MANIFEST))
    except ValidationError as error:
        fault = error.errors()[0]["type"]
        raise ArtifactCorrupt(f"{_MANIFEST}: not a manifest of format 1 ({fault})") from None
    named = set(manifest.files)
    if named != present - {_MANIFEST} or named not in (_FILES, _FILES - _BIASES):
        odd = ", ".join(sorted(named ^ (present - {_MANIFEST}) or named ^ _FILES))
        raise ArtifactCorrupt(f"{_MANIFEST}: missing or unrecorded: {odd}")
    contents = {}
    for name, digest in manifest.files.items():
        contents[name] = _content(folder, name)
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise ArtifactCorrupt(f"{name}: differs from the digest in {_MANIFEST}")
    arrays = {name: _array(name, contents[name]) for name in named & _ARRAYS.keys()}
    popular = arrays.pop("popular.npy")
    try:
        factors = Factors(**{name.removesuffix(".npy"): array for name, array in arrays.items()})
        return Solution(factors, *_id_lists(contents), popular, manifest)
    except BadInput as error:
        raise ArtifactCorrupt(f"solution folder: {error}") from None


def artifact_digest(folder: Path) -> str:
    """Hex SHA-256 over the canonical JSON of {relative name: SHA-256} of every file in `folder`.

    Raises:
        ArtifactCorrupt: a link or anything else that is not a plain file, or no file at all.
    """
    digests: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ArtifactCorrupt(f"{name}: not a plain file")
        if path.is_file():
            digests[name] = sha256_file(path)
    if not digests:
        raise ArtifactCorrupt("the solution folder is absent or empty")
    return sha256_json(digests)


def _listed(folder: Path) -> set[str]:
    """Names in `folder`, all of them plain files of the format."""
    if not folder.is_dir():
        raise ArtifactCorrupt("the solution folder is absent")
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not entry.is_file(follow_symlinks=False):
            raise ArtifactCorrupt(f"{entry.name}: not a plain file")
        if entry.name not in _CAPS:
            raise ArtifactCorrupt(f"{entry.name}: no part of a solution")
    return {entry.name for entry in os.scandir(folder)}


def _content(folder: Path, name: str) -> bytes:
    try:
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise ArtifactCorrupt(f"{name}: missing, a link or unreadable") from None
    with open(handle, "rb") as stream:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _CAPS[name]:
            raise ArtifactCorrupt(f"{name}: not a plain file of at most {_CAPS[name]} bytes")
        return stream.read(status.st_size)


def _npy(array: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    np.lib.format.write_array(stream, little, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _array(name: str, content: bytes) -> npt.NDArray[Any]:
    """A read-only array over `content`, whose header must say exactly what `name` allows."""
    dtype, dimensions = _ARRAYS[name]
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, found = np.lib.format.read_array_header_1_0(stream)
    except ValueError:
        raise ArtifactCorrupt(f"{name}: not an array in npy format 1.0") from None
    if version != (1, 0) or found != np.dtype(dtype) or fortran or len(shape) != dimensions:
        raise ArtifactCorrupt(f"{name}: not a C-ordered {dtype} array of {dimensions} dimensions")
    size = int(np.prod([int(n) for n in shape], dtype=object)) * found.itemsize
    if size == 0 or size != len(content) - stream.tell():
        raise ArtifactCorrupt(f"{name}: its length is not that of its shape")
    array = np.frombuffer(content, dtype=found, offset=stream.tell()).reshape(shape)
    return array.view(found.newbyteorder("="))


def _id_lists(contents: dict[str, bytes]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        users = contents["users.txt"].decode("ascii")
        items = json.loads(contents["items.json"])
    except ValueError:
        raise ArtifactCorrupt("users.txt, items.json: not ASCII lines and a JSON list") from None
    if not users.endswith("\n") or not isinstance(items, list):
        raise ArtifactCorrupt("users.txt, items.json: not ASCII lines and a JSON list")
    return tuple(users[:-1].split("\n")), tuple(items)
