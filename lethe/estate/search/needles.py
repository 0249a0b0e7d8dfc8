"""Whom to look for in a piece of a file, and what counts as having found them.

Pseudonyms are 32 hexadecimal characters and are found in any bytes. Ids as the shop writes them can
be as short as "7". Where they may lie they are looked for as whole words and fields, which is no
wider than what quarantine forgets; in all other stores only ids of at least `DISTINCTIVE` bytes are
looked for, anywhere, since a shorter one cannot be told from a count. Of a shorter id the other
forms are not looked for either, but its digest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lethe.estate.search.encodings import (
    BASE64,
    DIGEST,
    HEX,
    PLAIN,
    TEXT,
    WIDE,
    Form,
    forms,
    is_this_name,
    pseudonym_forms,
    stands_alone,
)
from lethe.estate.search.pieces import Piece
from lethe.estate.search.windows import Array, Patterns, among, words

DISTINCTIVE = 8
_CERTAIN = 16  # so many digits in a row are no accident in a digest or a time
_BEYOND = 8  # bytes after hexadecimal or base64 digits that must be seen with them
_DIGITS = re.compile(rb"[0-9a-fA-F]+")
_HEX32 = re.compile(rb"[0-9a-f]{32}")
FIELD = re.compile(rb"[^\x00-\x1f,;|\t\"'<>{}\[\]:=]+")
_WORD = re.compile(rb"[0-9A-Za-z_\x80-\xff]")
_BETWEEN = np.array([FIELD.fullmatch(bytes([byte])) is None for byte in range(256)])
_MASKS = np.array([(1 << 8 * size) - 1 for size in range(DISTINCTIVE)], np.uint64)


@dataclass(frozen=True, repr=False)
class Needles:
    """Whom to look for. The repr hides them."""

    pseudonyms: frozenset[bytes]
    ids: frozenset[bytes]
    _forms: dict[bytes, Form] = field(init=False)
    _certain: frozenset[bytes] = field(init=False)  # contents that can be nothing else
    _patterns: Patterns = field(init=False)
    _short: Array = field(init=False)  # sorted: ids that can be a field, as numbers
    _odd: tuple[bytes, ...] = field(init=False)  # short ids that a field cannot hold

    def __post_init__(self) -> None:
        found: dict[bytes, Form] = {}
        for name in sorted(self.pseudonyms):
            for form in pseudonym_forms(name.decode()) if _HEX32.fullmatch(name) else ():
                found.setdefault(form.content, form)
        certain = frozenset(found)
        short = sorted(name for name in self.ids if len(name) < DISTINCTIVE)
        for name in sorted(self.ids):
            for form in forms(name.decode()):
                if len(form.content) >= DISTINCTIVE <= len(name) or form.how == DIGEST:
                    found.setdefault(form.content, form)
        plain = [name for name in short if FIELD.fullmatch(name)]
        numbers = np.array([int.from_bytes(name, "little") for name in plain], np.uint64)
        object.__setattr__(self, "_forms", found)
        object.__setattr__(self, "_certain", certain)
        object.__setattr__(self, "_patterns", Patterns.of(found))
        object.__setattr__(self, "_short", np.sort(numbers))
        object.__setattr__(self, "_odd", tuple(name for name in short if name not in set(plain)))

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
        """True if a piece holds anybody; `fields` where ids may lie."""
        return bool(self.count(piece, fields))

    def count(self, piece: Piece, fields: bool) -> Counter[str]:
        """How often a piece holds anybody, by the form in which it does.

        Text of two or four bytes a character is read as well, by leaving out its zero bytes. Where
        there are any, words can touch their neighbours, and an id counts anywhere.
        """
        seen, there = self._seen(piece, fields)
        found = Counter[str]()
        for content, times in seen.items():
            found[self._forms[content].how] += times
        if fields:
            found[TEXT] += self._short_in(piece)
        if b"\0" in piece.content:
            narrow, _ = self._seen(_without_zeros(piece), fields=False)
            for content, times in (narrow - seen).items():
                how = self._forms[content].how
                wide = WIDE if how in PLAIN else f"{WIDE} > {how}"
                found[how if content in there else wide] += times
        return +found

    def _seen(self, piece: Piece, fields: bool) -> tuple[Counter[bytes], set[bytes]]:
        """What counts, and what is there at all, be it as a part of a longer word."""
        found, there = Counter[bytes](), set[bytes]()
        for start, content in self._patterns.found_in(piece.content):
            there.add(content)
            if self._counts(self._forms[content], piece, start, fields):
                found[content] += 1
        return found, there

    def _counts(self, form: Form, piece: Piece, start: int, fields: bool) -> bool:
        content, inside = form.content, piece.content
        end = start + len(content)
        if not piece.is_new(end + _BEYOND if form.how in {HEX, BASE64} else end):
            return False
        if form.how == BASE64 and not is_this_name(form, inside, start):
            return False
        if content in self._certain or form.how == DIGEST:
            return True
        if form.how in {HEX, BASE64}:
            return not fields or stands_alone(form, inside, start)
        if not fields and (len(content) >= _CERTAIN or not _DIGITS.fullmatch(content)):
            return True
        return _is_word(piece, start, end)

    def _short_in(self, piece: Piece) -> int:
        found = 0
        for name in self._odd:
            for match in re.finditer(re.escape(name), piece.content):
                found += _is_word(piece, *match.span()) and piece.is_new(match.end())
        if len(self._short):
            for start, end in _fields_among(piece.content, self._short):
                found += piece.whole(start, end) and piece.is_new(end)
        return found


def _is_word(piece: Piece, start: int, end: int) -> bool:
    before, after = piece.content[max(start - 1, 0) : start], piece.content[end : end + 1]
    return piece.whole(start, end) and not (_WORD.match(before) or _WORD.match(after))


def _without_zeros(piece: Piece) -> Piece:
    narrow = piece.content.translate(None, b"\0")
    seen = piece.seen - piece.content.count(0, 0, piece.seen)
    return Piece(narrow, piece.first, piece.last, seen)


def _fields_among(content: bytes, known: Array) -> Iterable[tuple[int, int]]:
    """Where a field without the spaces around it is one of `known`: fewer than eight bytes each."""
    letters: Array = np.frombuffer(content, np.uint8)
    borders = np.flatnonzero(_BETWEEN[letters])
    starts, ends = np.append(0, borders + 1), np.append(borders, len(content))
    some = ends > starts
    starts, ends = starts[some], ends[some]
    _strip(letters, starts, ends)
    some = (ends > starts) & (ends - starts < DISTINCTIVE)
    starts, ends = starts[some], ends[some]
    numbers = words(content + bytes(DISTINCTIVE))[starts] & _MASKS[ends - starts]
    same = among(numbers, known)
    return zip(starts[same].tolist(), ends[same].tolist(), strict=True)


def _strip(letters: np.ndarray[Any, Any], starts: Array, ends: Array) -> None:
    """Move both ends of every field past its spaces."""
    for edges, step, look in ((starts, 1, 0), (ends, -1, -1)):
        left = np.arange(len(edges))
        while len(left):
            left = left[starts[left] < ends[left]]
            left = left[letters[edges[left] + look] == ord(" ")]
            edges[left] += step
