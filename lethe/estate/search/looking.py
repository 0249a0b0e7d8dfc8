"""Looking for people in every store: decoding what compresses, counting places, naming nobody.

Pseudonyms are 32 hexadecimal characters and are found by that shape in any bytes. Ids as the shop
writes them can be as short as "7". Where they may lie they are looked for as whole words and
fields, which is no wider than what quarantine forgets; in all other stores only ids of at least
`DISTINCTIVE` bytes are looked for, anywhere, since a shorter one cannot be told from a count.

A file that cannot be decoded to its end is searched as far as it can be, and told as undecoded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lethe.errors import StoreUnavailable
from lethe.estate.search.pieces import Effort, Piece, pieces
from lethe.estate.stores import STORES, files_of, links_of
from lethe.estate.workspace import Workspace

DISTINCTIVE = 8
_LONGEST = 256  # bytes of an id
_CERTAIN = 16  # so many digits in a row are no accident in a digest or a time
_HEX = re.compile(rb"[0-9a-f]{32,}")
_DIGITS = re.compile(rb"[0-9a-fA-F]+")
FIELD = re.compile(rb"[^\x00-\x1f,;|\t\"'<>{}\[\]:=]+")
_WORD = rb"[0-9A-Za-z_\x80-\xff]"


@dataclass(frozen=True)
class Hits:
    """In how many files of which store something was found, and how much was looked at.

    `short_ids` counts ids that could only be looked for where ids may lie;
    `undecoded_by_store` counts files that could not be decoded to their end, and links, which are
    not followed.
    """

    files_by_store: dict[str, int]
    files_searched: int
    bytes_searched: int
    short_ids: int
    undecoded_by_store: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Files with a hit, over all stores."""
        return sum(self.files_by_store.values())

    @property
    def undecoded(self) -> int:
        """Files of which a part could not be searched, over all stores."""
        return sum(self.undecoded_by_store.values())


@dataclass(frozen=True, repr=False)
class Needles:
    """Whom to look for. The repr hides them."""

    pseudonyms: frozenset[bytes]
    ids: frozenset[bytes]
    _words: dict[bytes, re.Pattern[bytes]] = field(init=False)

    def __post_init__(self) -> None:
        words = {
            name: re.compile(b"(?<!%b)%b(?!%b)" % (_WORD, re.escape(name), _WORD))
            for name in self.ids
            if len(name) >= DISTINCTIVE or not FIELD.fullmatch(name)
        }
        object.__setattr__(self, "_words", words)

    @classmethod
    def of(cls, pseudonyms: Iterable[str], ids: Iterable[str]) -> Needles:
        """From text."""
        return cls(
            frozenset(name.encode() for name in pseudonyms),
            frozenset(name.encode() for name in ids),
        )

    def __repr__(self) -> str:
        return f"Needles({len(self.pseudonyms)} pseudonyms, {len(self.ids)} ids)"

    def __bool__(self) -> bool:
        return bool(self.pseudonyms or self.ids)

    def found_in(self, piece: Piece, fields: bool) -> bool:
        """True if a piece holds anybody; `fields` where ids may lie.

        Text of two or four bytes a character is read as well, by leaving out its zero bytes. Where
        there are any, words can touch their neighbours, and an id counts anywhere.
        """
        if fields and any(
            match.group().strip(b" ") in self.ids and piece.whole(match)
            for match in FIELD.finditer(piece.content)
        ):
            return True
        if self._anywhere(piece, fields):
            return True
        narrow = piece.content.replace(b"\0", b"")
        return len(narrow) < len(piece.content) and self._anywhere(Piece(narrow), fields=False)

    def _anywhere(self, piece: Piece, fields: bool) -> bool:
        return any(self._in_run(match.group()) for match in _HEX.finditer(piece.content)) or any(
            self._named(piece, name, fields) for name in self._words if name in piece.content
        )

    def _in_run(self, run: bytes) -> bool:
        # Neighbours without a separator, as in a database page, shift where a pseudonym begins.
        return any(run[at : at + 32] in self.pseudonyms for at in range(len(run) - 31))

    def _named(self, piece: Piece, name: bytes, fields: bool) -> bool:
        if not fields and len(name) < DISTINCTIVE:
            return False
        if not fields and (len(name) >= _CERTAIN or not _DIGITS.fullmatch(name)):
            return True
        return any(piece.whole(match) for match in self._words[name].finditer(piece.content))


def search(workspace: Workspace, needles: Needles, *, before_closing: bool) -> Hits:
    """Look for `needles` in every declared store, and in the names of its files.

    `before_closing` leaves out the stores that keep the person until the request is closed.

    Raises:
        StoreUnavailable: a file is there and cannot be read.
    """
    found: Counter[str] = Counter()
    undecoded: Counter[str] = Counter()
    files = size = 0
    for store in STORES:
        if before_closing and store.kept_until_closed:
            continue
        undecoded[store.name] += sum(1 for _ in links_of(workspace, store))
        for path in files_of(workspace, store):
            name = path.relative_to(workspace.root).as_posix().encode()
            try:
                length = path.stat().st_size
                held, whole = holds(path, needles, store.raw_ids)
            except FileNotFoundError:  # a tool tidied up in between
                continue
            except OSError as error:
                reason = f"a file of the store {store.name} cannot be read: {error.strerror}"
                raise StoreUnavailable(reason) from None
            files, size = files + 1, size + length
            found[store.name] += held or needles.found_in(Piece(name), fields=True)
            undecoded[store.name] += not whole
    short = sum(len(name) < DISTINCTIVE for name in needles.ids)
    return Hits(dict(+found), files, size, short, dict(+undecoded))


def holds(path: Path, needles: Needles, fields: bool) -> tuple[bool, bool]:
    """Whether a file holds anybody, and whether all of it could be decoded.

    The second is True where the first is: nothing more needs to be looked at then.
    """
    effort = Effort()
    if any(needles.found_in(piece, fields) for piece in pieces(path, effort, fields)):
        return True, True
    return False, not effort.fault


def fields_of(path: Path) -> set[str]:
    """Every whole field of a file that is short enough for an id."""
    found: set[str] = set()
    for piece in pieces(path):
        for match in FIELD.finditer(piece.content):
            text = match.group().strip(b" ")
            if len(text) <= _LONGEST and piece.whole(match):
                found.add(text.decode(errors="replace"))
    return found
