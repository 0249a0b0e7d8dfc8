"""The list of people whom no model may serve, for whoever serves one.

    lethe suppressed 1
    position 12             of the register, at which the list was made
    salt 0123...            32 hex characters, drawn anew whenever the list changes
    version 89ab...         SHA-256 of the manifest of a version that it was made for; one a line
    person cdef...          see `listed_as`; one a line, ascending
    end 3                   how many people there are

A person is a digest under the salt: whoever has a pseudonym can ask whether it is on the list, and
nobody can read one off it. `lethe.adapters.serving` has a reader of its own, since it is copied
into every version and imports nothing of Lethe.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lethe.durable import write_bytes
from lethe.errors import ArtifactCorrupt, StoreUnavailable

_MARK: Final = b"lethe suppressed 1\0"
_DIGITS: Final = 32
_LIST: Final = re.compile(
    rb"lethe suppressed 1\nposition ([0-9]+)\nsalt ([0-9a-f]{32})\n"
    rb"((?:version [0-9a-f]{64}\n)*)((?:person [0-9a-f]{32}\n)*)end ([0-9]+)\n"
)


@dataclass(frozen=True)
class Suppressed:
    """The list as it was made at a position of the register, for some versions."""

    position: int
    salt: str = field(repr=False)
    versions: frozenset[str]
    people: frozenset[str] = field(repr=False)

    def names(self, pseudonym: str) -> bool:
        """Whether somebody is on it."""
        return listed_as(self.salt, pseudonym) in self.people


def listed_as(salt: str, pseudonym: str) -> str:
    """The first 32 hex characters of the SHA-256 of a mark, the salt and a pseudonym.

    >>> listed_as("00" * 16, "0" * 32) == listed_as("00" * 16, "1" * 32)
    False
    """
    return hashlib.sha256(_MARK + bytes.fromhex(salt) + pseudonym.encode()).hexdigest()[:_DIGITS]


def write(path: Path, position: int, versions: Iterable[str], pseudonyms: Iterable[str]) -> None:
    """Write the list, whole or not at all, 0600. One that says the same already stays as it is.

    Raises:
        StoreUnavailable: the disk refused.
    """
    salt, names = secrets.token_hex(_DIGITS // 2), sorted(pseudonyms)
    covered = frozenset(versions)
    try:
        old = read(path)
    except ArtifactCorrupt:
        old = None
    if old is not None and old == Suppressed(
        position, old.salt, covered, frozenset(listed_as(old.salt, name) for name in names)
    ):
        return
    people = sorted(listed_as(salt, name) for name in names)
    lines = [
        "lethe suppressed 1",
        f"position {position}",
        f"salt {salt}",
        *(f"version {digest}" for digest in sorted(covered)),
        *(f"person {digest}" for digest in people),
        f"end {len(people)}",
    ]
    try:
        write_bytes(path, ("\n".join(lines) + "\n").encode())
    except OSError as error:
        raise StoreUnavailable(f"{path.name} cannot be written: {error.strerror}") from None


def read(path: Path) -> Suppressed | None:
    """The list, or None where there is none yet.

    Raises:
        ArtifactCorrupt: it is not whole, or no such list.
        StoreUnavailable: it cannot be read.
    """
    try:
        found = _LIST.fullmatch(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreUnavailable(f"{path.name} cannot be read: {error.strerror}") from None
    versions, people = (_words(found[3]), _words(found[4])) if found else ([], [])
    if not found or len(people) != int(found[5]) or people != sorted(set(people)):
        raise ArtifactCorrupt(f"{path.name} is not a whole list of suppressed people")
    return Suppressed(int(found[1]), found[2].decode(), frozenset(versions), frozenset(people))


def _words(lines: bytes) -> list[str]:
    return lines.decode().split()[1::2]
