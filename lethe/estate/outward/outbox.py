"""The outbox: what the recipients of people's data must be told (GDPR Art. 19), until they were.

A notice is one file for one recipient and one batch of requests. It is the one place where ids
stand: a recipient must know whom. Nobody else learns them, and no file's name holds one. The file
goes once it was delivered; what is left is a record without ids among the evidence.

Before a batch is entered a file that begins with `pending-` says what is about to be asked. From
that, and from what the register then holds, the notices follow, whatever was killed in between.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lethe.durable import canonical_json, sha256_file, sync_folder, write_bytes
from lethe.errors import ArtifactCorrupt, StoreUnavailable

FORMAT: Final = "lethe notice 1"
_ENTRY: Final = "entry "  # an id can be as short as a number: none may stand alone in a notice


@dataclass(frozen=True)
class Notice:
    """A notice that waits, without the ids that it holds.

    `asked` is erasure, restriction or end of restriction; `received` the day on which; `positions`
    those of the requests in the register; `people` how many; `digest` the file's SHA-256.
    """

    file: str
    recipient: str
    asked: str
    received: str
    positions: tuple[int, ...]
    people: int
    digest: str


def name_of(first: int, recipient: str) -> str:
    """The file of the notice about the batch that begins at position `first`.

    >>> name_of(7, "A printer of letters")
    'notice-7-a-printer-of-letters-c4bf7c.json'
    """
    word = re.sub("[^a-z0-9]+", "-", recipient.lower()).strip("-")[:32].strip("-")
    mark = hashlib.sha256(recipient.encode()).hexdigest()[:6]
    return f"notice-{first}-{f'{word}-' if word else ''}{mark}.json"


def put(folder: Path, name: str, content: Mapping[str, Any]) -> Path:
    """Write a file of the outbox, whole or not at all, 0600, and say where.

    Raises:
        StoreUnavailable: the disk refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_bytes(folder / name, canonical_json(content) + b"\n")
    except OSError as error:
        raise StoreUnavailable(f"the outbox cannot be written: {error.strerror}") from None
    return folder / name


def put_notice(  # noqa: PLR0913 - one argument for each thing that a recipient is told
    folder: Path,
    recipient: str,
    asked: str,
    received: str,
    positions: Sequence[int],
    ids: Sequence[str],
    number: str,
) -> None:
    """Write the notice that tells a recipient about a batch; again, it is the same file.

    `number` was drawn at random: without it, whoever has the digest of a notice about one person
    could try all ids.
    """
    content = {
        "format": FORMAT,
        "number": number,
        "recipient": recipient,
        "asked": asked,
        "reason": "GDPR Art. 19: please carry this out in the data that you were given",
        "received": received,
        "register": [f"{_ENTRY}{position}" for position in sorted(positions)],
        "people": list(ids),
    }
    put(folder, name_of(min(positions), recipient), content)


def waiting(folder: Path) -> tuple[Notice, ...]:
    """Every notice that waits, in the order of the register.

    Raises:
        ArtifactCorrupt: one is not readable as a notice.
    """
    found = (_read(path) for path in folder.glob("notice-*.json"))
    return tuple(sorted(found, key=lambda one: (one.positions, one.file)))


def _read(path: Path) -> Notice:
    told = load(path)
    try:
        return Notice(
            file=path.name,
            recipient=str(told["recipient"]),
            asked=str(told["asked"]),
            received=str(told["received"]),
            positions=tuple(int(one.removeprefix(_ENTRY)) for one in told["register"]),
            people=len(told["people"]),
            digest=sha256_file(path),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ArtifactCorrupt(f"{path.name} in the outbox is no notice") from None


def load(path: Path) -> dict[str, Any]:
    """A file of the outbox as JSON.

    Raises:
        ArtifactCorrupt: it is no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ArtifactCorrupt(f"{path.name} in the outbox cannot be read") from None
    if not isinstance(found, dict):
        raise ArtifactCorrupt(f"{path.name} in the outbox is no JSON object")
    return found


def delete(path: Path) -> None:
    """Take a file out of the outbox; gone already is as well.

    Raises:
        StoreUnavailable: the disk refused.
    """
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreUnavailable(f"the outbox cannot be emptied: {error.strerror}") from None
