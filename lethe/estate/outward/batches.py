"""Batch outputs: what a version recommends to everybody, as files that the shop takes over.

    version-3.csv            (or .parquet) a table of `lethe.estate.outward.tables`
    version-3.csv.json       its facts: version, data version, register position, counts, digest
    version-3.popular.csv    what a stranger gets, once, with USER_ID and SCORE left empty

The facts come last: a table without them was cut off while it was published. Whose lives are in it
is not known then, so it goes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from lethe.durable import replacing, sha256_file, sync_folder, write_json
from lethe.errors import StoreUnavailable
from lethe.estate.outward.tables import Form, without, writer

_FORMAT: Final = "lethe batch 1"
_TABLE: Final = re.compile(r"version-([0-9]+)\.(csv|parquet)")
_BESIDE: Final = re.compile(r"(version-[0-9]+)(?:\.popular)?\.(csv|parquet)(?:\.json)?")


@dataclass(frozen=True)
class Facts:
    """What stands beside a table; no ids.

    `trained_on` is the version's data version, `data_version` the one that people and what they
    have are of. `register_position` is where it was decided who is in the table, `made` Unix
    seconds. `k` is the longest list, `already_seen` what became of items that a user has. `users`,
    `rows`, `bytes` and `sha256` are those of the table as it lies there now.
    """

    version: int
    trained_on: str
    data_version: str
    register_position: int
    k: int
    already_seen: str
    made: int
    users: int
    rows: int
    bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Table:
    """One table: where it lies, and what its name says."""

    path: Path
    version: int
    form: Form

    @classmethod
    def of(cls, folder: Path, version: int, form: Form) -> Table:
        """The table of a version in a folder, be it there or not."""
        return cls(folder / f"version-{version}.{form}", version, form)

    @property
    def popular(self) -> Path:
        """What a stranger gets."""
        return self.path.with_name(f"{self.path.stem}.popular.{self.form}")

    @property
    def beside(self) -> Path:
        """Its facts."""
        return self.path.with_name(f"{self.path.name}.json")

    def facts(self) -> Facts | None:
        """Its facts; None where there are none that can be read."""
        return _read(self.beside)


def tables(folder: Path) -> list[Table]:
    """Every table in the folder, in the order of their names."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    found = (_TABLE.fullmatch(name) for name in names)
    return [
        Table(folder / one[0], int(one[1]), "csv" if one[2] == "csv" else "parquet")
        for one in found
        if one
    ]


def is_facts(path: Path) -> bool:
    """Whether a file is what stands beside a table."""
    return path.name.startswith("version-") and path.suffix == ".json" and _read(path) is not None


def _read(path: Path) -> Facts | None:
    try:
        told = json.loads(path.read_bytes())
        if told.pop("format") != _FORMAT:
            return None
        return Facts(**told)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def publish(
    draft: Path, table: Table, facts: Facts, popular: pa.Table, people: Collection[str]
) -> Facts:
    """Make a draft the table, without some people; its facts, as written.

    Raises:
        StoreUnavailable: the disk refused.
    """
    try:
        with replacing(table.popular) as temporary:
            with writer(temporary, table.form) as out:
                out.write_table(popular)
            temporary.chmod(0o600)
        table.beside.unlink(missing_ok=True)  # those of an older table of the same name
        sync_folder(table.path.parent)
        with replacing(table.path) as temporary:
            users, rows = without(draft, table.form, temporary, people)
        return _stated(table, replace(facts, users=users, rows=rows))
    except OSError as error:
        raise StoreUnavailable(f"{table.path.name} cannot be written: {error.strerror}") from None


def take_out(table: Table, facts: Facts, people: Collection[str]) -> Facts:
    """Rewrite a table without some people, then its facts; everybody else keeps their rows.

    With nobody to take out, it states the facts of a table that a kill kept from being stated.

    Raises:
        ArtifactCorrupt: it is no such table, or not whole.
        StoreUnavailable: the disk refused.
    """
    try:
        with replacing(table.path) as temporary:
            users, rows = without(table.path, table.form, temporary, people)
        return _stated(table, replace(facts, users=users, rows=rows))
    except OSError as error:
        raise StoreUnavailable(f"{table.path.name} cannot be rewritten: {error.strerror}") from None


def _stated(table: Table, facts: Facts) -> Facts:
    size = table.path.stat().st_size
    told = replace(facts, bytes=size, sha256=sha256_file(table.path))
    write_json(table.beside, {"format": _FORMAT, **asdict(told)})
    return told


def discard(table: Table) -> None:
    """Delete a table and what stands beside it.

    Raises:
        StoreUnavailable: the disk refused.
    """
    try:
        table.path.unlink(missing_ok=True)
        tidy(table.path.parent)
    except OSError as error:
        raise StoreUnavailable(f"{table.path.name} cannot be deleted: {error.strerror}") from None


def tidy(folder: Path) -> None:
    """Delete facts and popular lists that have no table."""
    if not folder.is_dir():
        return
    left = {table.path.name for table in tables(folder)}
    for path in folder.iterdir():
        found = _BESIDE.fullmatch(path.name)
        if found and f"{found[1]}.{found[2]}" not in left:
            path.unlink(missing_ok=True)
    sync_folder(folder)
