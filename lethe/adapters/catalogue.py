"""The catalogue of retained data versions: which there are, and what each holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from lethe.durable import read_json, write_json
from lethe.errors import ArtifactCorrupt


@dataclass(frozen=True)
class DataVersion:
    """One retained version of the interactions.

    `digest` is DVC's ("<32 hex>.dir"); rows, users and items are counts; the register's position
    and head are those the version was purged at; `created` is Unix seconds.
    """

    digest: str
    rows: int
    users: int
    items: int
    register_position: int
    register_head: str
    created: int


class Catalogue:
    """A JSON file of data versions, the oldest first, replaced in one step at each change."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def list(self) -> tuple[DataVersion, ...]:
        """The retained versions, the oldest first.

        Raises:
            ArtifactCorrupt: the file is not a catalogue.
        """
        if not self.path.exists():
            return ()
        try:
            return tuple(DataVersion(**entry) for entry in read_json(self.path)["versions"])
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactCorrupt(f"{self.path.name} is not a catalogue") from error

    def add(self, version: DataVersion) -> None:
        """Add a version; one of the same digest is replaced where it stands."""
        kept = {v.digest: v for v in self.list()} | {version.digest: version}
        self._write(kept.values())

    def drop(self, digests: Iterable[str]) -> int:
        """Take versions out and say how many there were."""
        gone, before = frozenset(digests), self.list()
        kept = [v for v in before if v.digest not in gone]
        if len(kept) < len(before):
            self._write(kept)
        return len(before) - len(kept)

    def _write(self, versions: Iterable[DataVersion]) -> None:
        entries = sorted(versions, key=lambda v: v.created)
        write_json(self.path, {"format": 1, "versions": [asdict(v) for v in entries]})
