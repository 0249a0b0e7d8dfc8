"""The catalogue of retained data versions: which there are, and what each holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lethe.durable import read_json, write_json
from lethe.errors import ArtifactCorrupt

_FORMAT = 1


@dataclass(frozen=True)
class DataVersion:
    """One retained version of the interactions.

    `digest` is DVC's ("<32 hex>.dir"); rows, users and items are counts; the register's position
    and head are those the version was purged at; `created` is Unix seconds. `formerly`: digests
    under which the version was known before somebody was erased from it, or all were renamed.
    `names`: the generation of its pseudonyms.
    """

    digest: str
    rows: int
    users: int
    items: int
    register_position: int
    register_head: str
    created: int
    formerly: tuple[str, ...] = ()
    names: str = ""


class Catalogue:
    """A JSON file of data versions, the oldest first, replaced in one step at each change."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def list(self) -> tuple[DataVersion, ...]:
        """The retained versions, the oldest first.

        Raises:
            ArtifactCorrupt: the file is not a catalogue, or one of another format.
        """
        if not self.path.exists():
            return ()
        try:
            found = read_json(self.path)
            entries, written = found["versions"], found["format"]
            if written != _FORMAT:
                said = f"is of format {written}, and this Lethe reads format {_FORMAT}"
                raise ArtifactCorrupt(f"{self.path.name} {said}")
            return tuple(
                DataVersion(**{**entry, "formerly": tuple(entry.get("formerly", ()))})
                for entry in entries
            )
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactCorrupt(f"{self.path.name} is not a catalogue") from error

    def add(self, version: DataVersion) -> None:
        """Add a version; one of the same digest is replaced where it stands, its names kept."""
        kept = {v.digest: v for v in self.list()}
        if known := kept.get(version.digest):
            names = dict.fromkeys((*known.formerly, *version.formerly))
            version = replace(version, formerly=tuple(names))
        kept[version.digest] = version
        self._write(kept.values())

    def drop(self, digests: Iterable[str]) -> int:
        """Take versions out and say how many there were."""
        gone, before = frozenset(digests), self.list()
        kept = [v for v in before if v.digest not in gone]
        if len(kept) < len(before):
            self._write(kept)
        return len(before) - len(kept)

    def replace(self, moved: Mapping[str, DataVersion]) -> None:
        """Put versions in the place of others, by the digest they had, all in one step.

        Versions that have become equal are one from then on, under all their former names.
        """
        kept: dict[str, DataVersion] = {}
        for old in self.list():
            new = moved.get(old.digest, old)
            twin = kept.get(new.digest)
            names = (*twin.formerly, *new.formerly) if twin else new.formerly
            kept[new.digest] = replace(new, formerly=tuple(dict.fromkeys(names)))
        if moved:
            self._write(kept.values())

    def today(self, digest: str) -> str:
        """The digest that a version has now, by any that it ever had; an unknown one stays."""
        found = (v.digest for v in self.list() if digest in {v.digest, *v.formerly})
        return next(found, digest)

    def _write(self, versions: Iterable[DataVersion]) -> None:
        entries = sorted(versions, key=lambda v: v.created)
        write_json(self.path, {"format": _FORMAT, "versions": [asdict(v) for v in entries]})
