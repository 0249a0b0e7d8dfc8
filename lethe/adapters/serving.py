"""The model that MLflow serves: loads a solution folder and recommends.

This file is copied into every solution version and run there by path ("models from code"), so it
imports nothing of lethe, and nothing of lethe imports it. MLflow asks for a class of its own and
for the registration in the last line. The folder is read by allow-list: names, digests, dtypes and
dimensions; never a pickle.

Where the environment variable LETHE_SUPPRESSED names a list, written by
`lethe.estate.outward.suppression`, whoever is on it is answered as a stranger is, from the moment
on at which the list says so. Without a list that can be read, or with one that was not made for
this version, nobody is answered.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

ARRAYS = {
    "user_factors.npy": ("float32", 2),
    "item_factors.npy": ("float32", 2),
    "user_biases.npy": ("float32", 1),
    "item_biases.npy": ("float32", 1),
    "popular.npy": ("int32", 1),
}
OPTIONAL = frozenset({"user_biases.npy", "item_biases.npy"})
TEXTS = frozenset({"users.txt", "items.json"})
MANIFEST = "manifest.json"
SUPPRESSED = "LETHE_SUPPRESSED"
MARK = b"lethe suppressed 1\0"
LIST = re.compile(
    rb"lethe suppressed 1\nposition [0-9]+\nsalt ([0-9a-f]{32})\n"
    rb"((?:version [0-9a-f]{64}\n)*)((?:person [0-9a-f]{32}\n)*)end ([0-9]+)\n"
)


class Recommender(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined, unused-ignore]
    """Top items for pseudonyms; the popular items for a user the solution does not know."""

    def load_context(self, context: Any) -> None:
        """Read the solution folder.

        Raises:
            MlflowException: names the file that is missing, surplus, a link or altered.
        """
        folder = Path(context.artifacts["solution"])
        arrays = _arrays(folder, _checked(folder))
        self.identity = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
        self.last_read: tuple[Any, ...] = ()
        self.user_factors = arrays["user_factors.npy"]
        self.item_factors = arrays["item_factors.npy"]
        self.item_biases = arrays.get("item_biases.npy", np.zeros(1, np.float32))
        self.user_biases = arrays.get("user_biases.npy")
        self.popular = arrays["popular.npy"]
        users = (folder / "users.txt").read_text(encoding="utf-8").splitlines()
        self.rows = {user: row for row, user in enumerate(users)}
        self.items = [str(item) for item in json.loads((folder / "items.json").read_bytes())]

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row for each user and rank, in the order of the input.

        `model_input` has a string column `user` and, if wanted, an integer column `k` (otherwise
        the parameter `k`, 10). The result has user, item, rank (from 1) and score, which is null
        for popular items. The model holds no histories, so items a user knows already may appear.
        Equal scores are ordered as the items are.

        Raises:
            MlflowException: LETHE_SUPPRESSED is set, and the list is missing, cannot be read, is no
                such list, or was not made for this version.
        """
        salt, hidden = self._suppressed()
        default = int((params or {}).get("k", 10))
        users = model_input["user"].astype(str).tolist()
        wanted = model_input["k"].tolist() if "k" in model_input else [None] * len(users)
        parts: list[tuple[str, str, int, float]] = []
        for user, k in zip(users, wanted, strict=True):
            count = default if k is None or pd.isna(k) else int(k)
            listed = _listed_as(salt, user) in hidden
            parts += self._top(user, max(1, min(count, len(self.items))), listed)
        return pd.DataFrame(parts, columns=["user", "item", "rank", "score"])

    def _suppressed(self) -> tuple[bytes, frozenset[str]]:
        """The salt and the people of the list as it is now; read again only if it changed."""
        path = os.environ.get(SUPPRESSED)
        if path is None:
            return b"", frozenset()
        try:
            if self.last_read[:1] != (_state(os.stat(path)),):
                with open(path, "rb") as stream:
                    self.last_read = (_state(os.fstat(stream.fileno())), *_read_list(stream.read()))
        except OSError as error:
            reason = f"{SUPPRESSED}: the list is missing or cannot be read: {type(error).__name__}"
            raise MlflowException(reason) from None
        _, salt, versions, people = self.last_read
        if self.identity not in versions:
            raise MlflowException(
                f"{SUPPRESSED}: the list is not made for this version; load the champion"
            )
        return salt, people

    def _top(self, user: str, k: int, hidden: bool) -> list[tuple[str, str, int, float]]:
        row = None if hidden else self.rows.get(user)
        if row is None:
            best, scores = self.popular[:k], np.full(len(self.items), np.nan, np.float32)
        else:
            scores = self.item_factors @ self.user_factors[row] + self.item_biases
            if self.user_biases is not None:
                scores = scores + self.user_biases[row]
            best = np.argsort(-scores, kind="stable")[:k]
        return [(user, self.items[i], n, float(scores[i])) for n, i in enumerate(best, start=1)]


def _state(file: os.stat_result) -> tuple[int, ...]:
    return file.st_dev, file.st_ino, file.st_mtime_ns, file.st_size


def _read_list(content: bytes) -> tuple[bytes, frozenset[str], frozenset[str]]:
    """Salt, versions and people of a list that is whole; the last line counts the people."""
    found = LIST.fullmatch(content)
    versions, people = (_words(found[2]), _words(found[3])) if found else ([], [])
    if not found or len(people) != int(found[4]) or people != sorted(set(people)):
        raise MlflowException(f"{SUPPRESSED}: the file is not a whole list of suppressed people")
    return bytes.fromhex(found[1].decode()), frozenset(versions), frozenset(people)


def _words(lines: bytes) -> list[str]:
    return lines.decode().split()[1::2]


def _listed_as(salt: bytes, user: str) -> str:
    content = MARK + salt + user.encode("utf-8", "surrogatepass")
    return hashlib.sha256(content).hexdigest()[:32]


def _checked(folder: Path) -> set[str]:
    """The file names of a folder that holds what its manifest says and nothing else."""
    present = {path.name for path in folder.iterdir()}
    odd = present - ARRAYS.keys() - TEXTS - {MANIFEST}
    odd |= (ARRAYS.keys() - OPTIONAL | TEXTS | {MANIFEST}) - present
    odd |= {path.name for path in folder.iterdir() if path.is_symlink() or not path.is_file()}
    if odd:
        raise MlflowException(f"solution folder: unexpected or missing {sorted(odd)[0]}")
    recorded = json.loads((folder / MANIFEST).read_bytes())["files"]
    files = present - {MANIFEST}
    if files != recorded.keys():
        raise MlflowException("solution folder: the manifest names other files")
    for name in sorted(files):
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != recorded[name]:
            raise MlflowException(f"solution folder: {name} is not the one in its manifest")
    return files


def _arrays(folder: Path, files: set[str]) -> dict[str, np.ndarray[Any, Any]]:
    arrays = {name: np.load(folder / name, allow_pickle=False) for name in files & ARRAYS.keys()}
    for name, array in arrays.items():
        if (array.dtype.name, array.ndim) != ARRAYS[name]:
            raise MlflowException(f"solution folder: {name} has another dtype or shape")
    return arrays


mlflow.models.set_model(Recommender())
