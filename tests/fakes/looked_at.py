"""A living estate seen from outside, without the project's own readers."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import pyarrow.parquet as pq

from lethe.adapters.packing.model_folder import SOLUTION
from lethe.estate.outward import suppression
from lethe.interactions.rights.identity import Keys
from tests.fakes.living_estate import LivingEstate, stone_of
from tests.fakes.plain_estate import Life


@dataclass(frozen=True)
class Seen:
    """What lies in an estate; people are told by their inner names."""

    estate: LivingEstate

    def rows(self) -> dict[tuple[str, str, int], int]:
        """Every row of the interactions as they lie there, and how often it is there."""
        place = self.estate.workspace.interactions
        found = _rows(path.read_bytes() for path in place.glob("*/*.parquet"))
        manifest = place / "manifest.json"
        said = manifest.read_bytes() if manifest.is_file() else b"{}"
        return self._inner_rows(found, said)

    def _inner_rows(
        self, rows: Counter[tuple[str, str, int]], manifest: bytes
    ) -> dict[tuple[str, str, int], int]:
        inner = self._keys_of(manifest).inner([user for user, *_ in rows])
        return Counter(
            {(name, *row[1:]): n for name, (row, n) in zip(inner, rows.items(), strict=True)}
        )

    def _keys_of(self, manifest: bytes) -> Keys:
        generation = json.loads(manifest).get("names", "")
        return next(keys for keys in self.estate.generations if keys.generation == generation)

    def rows_of(self, digest: str) -> dict[tuple[str, str, int], int]:
        """Every row of a data version."""
        files = self.estate.world.data.objects(digest)
        content = self.estate.world.data.content
        found = _rows(content[md5] for name, md5 in files.items() if "/" in name)
        return self._inner_rows(found, content[files["manifest.json"]])

    def users_in_the_cache(self) -> set[str]:
        """Whoever may be in any object of any data version, listed or not, in any generation."""
        objects = (path.read_bytes() for path in (self.estate.world.root / ".dvc/cache").iterdir())
        names = [user for user, *_ in _rows(one for one in objects if one.startswith(b"PAR1"))]
        return {inner for keys in self.estate.generations for inner in keys.inner(names)}

    def users_of(self, version: int) -> frozenset[str]:
        """The people in a solution version's id list."""
        return frozenset(self._names_in(version))

    def _names_in(self, version: int) -> dict[str, str]:
        """Inner name -> the name in the version's id list."""
        place = self.estate.world.versions.folder / str(version) / SOLUTION
        names = (place / "users.txt").read_text().split()
        keys = self._keys_of((place / "manifest.json").read_bytes())
        return dict(zip(keys.inner(names), names, strict=True))

    def served(self, version: int) -> frozenset[str]:
        """Whom a server of this version recommends for from what it learned of them."""
        listed = suppression.read(self.estate.workspace.suppressed)
        manifest = self.estate.world.versions.folder / str(version) / SOLUTION / "manifest.json"
        if (
            listed is None
            or hashlib.sha256(manifest.read_bytes()).hexdigest() not in listed.versions
        ):
            return frozenset()
        names = self._names_in(version)
        return frozenset(user for user, name in names.items() if not listed.names(name))

    def in_vault(self, lives: list[Life]) -> set[Life]:
        """Those whom the vault knows."""
        stones = {stone_of(life): life for life in lives}
        return {stones[stone] for stone in self.estate.world.vault.by_tombstone(stones)}

    def quarantined(self) -> bytes:
        """Everything that intake refused."""
        return b"".join(path.read_bytes() for path in self.estate.workspace.quarantine.iterdir())


def _rows(files: Iterable[bytes]) -> Counter[tuple[str, str, int]]:
    return Counter(row for content in files for row in _decoded(content))


@lru_cache(maxsize=4096)
def _decoded(content: bytes) -> tuple[tuple[str, str, int], ...]:
    columns = pq.read_table(io.BytesIO(content), columns=["user", "item", "timestamp"]).to_pydict()
    return tuple(zip(columns["user"], columns["item"], columns["timestamp"], strict=True))
