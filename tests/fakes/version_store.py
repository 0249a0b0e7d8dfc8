"""Solution versions in memory, as far as a promotion sees them.

`tick(name)` runs at the start of every call, so that a test can let something happen in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lethe.durable import sha256_json
from lethe.errors import ArtifactCorrupt


@dataclass(frozen=True)
class StoredVersion:
    """Stored bytes, reduced to whose they are and whether they are what was recorded."""

    users: frozenset[str]
    genuine: bool = True

    @property
    def digest(self) -> str:
        return sha256_json([sorted(self.users), self.genuine])


def _nothing(_call: str) -> None:
    return None


class MemoryVersions:
    """Mirrors `VersionStore`; a version that was destroyed cannot be read."""

    def __init__(
        self,
        versions: dict[int, StoredVersion],
        champion: int | None = None,
        tick: Callable[[str], None] = _nothing,
    ) -> None:
        self.versions, self.alias, self.tick = versions, champion, tick
        self.challenger: int | None = None

    def champion(self) -> int | None:
        self.tick("champion")
        return None if self.alias is None else int(str(self.alias))  # a new number, as one reads

    def artifact_digest(self, version: int) -> str:
        self.tick("artifact_digest")
        return self._stored(version).digest

    def user_tombstones(self, version: int) -> frozenset[str]:
        self.tick("user_tombstones")
        return self._stored(version).users

    def _stored(self, version: int) -> StoredVersion:
        if version not in self.versions:
            raise ArtifactCorrupt(f"version {version} cannot be read")
        return self.versions[version]

    def set_champion(self, version: int | None) -> None:
        self.tick("set_champion")
        self.alias = version

    def set_challenger(self, version: int | None) -> None:
        self.tick("set_challenger")
        self.challenger = version
