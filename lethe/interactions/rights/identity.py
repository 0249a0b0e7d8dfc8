"""Who a row belongs to: the canonical id, its pseudonym, and its tombstone.

Canonical form, version 1: a string without leading and trailing U+0020, in Unicode NFC, not
case-folded unless configured, 1 to 256 bytes of UTF-8. Characters that cannot be seen, or that
another tool might silently drop, are refused rather than mended: an erasure request must spell
the id in the one way that intake did. The same functions serve intake, requests and tombstones.

A person who returns after an erasure starts a new *epoch* under a new pseudonym, so the erased
life and the new one cannot be joined by anybody without the key.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lethe.errors import BadConfiguration, BadInput
from lethe.interactions.rights.standing import Standing

MAXIMUM_ID_BYTES: Final = 256
KEY_BYTES: Final = 32

_PSEUDONYM: Final = b"lethe pseudonym 1\x00"
_TOMBSTONE: Final = b"lethe tombstone 1\x00"
_FINGERPRINT: Final = b"lethe key fingerprint 1\x00"

_REFUSED_CATEGORIES: Final = {
    "Cc": "a control character in the id",
    "Cf": "a zero-width or format character in the id",
    "Cn": "a character unknown to Unicode in the id",
    "Cs": "half a surrogate pair in the id",
    "Zl": "a line separator in the id",
    "Zp": "a paragraph separator in the id",
    "Zs": "a space other than U+0020 in the id",
}

# Default_Ignorable_Code_Point (Unicode DerivedCoreProperties) outside the categories above:
# letters and marks that take no room on a screen.
_INVISIBLE: Final = frozenset({0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0}).union(
    range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)
)


def _fold(text: str, case_fold: bool) -> str:
    text = unicodedata.normalize("NFC", text.strip(" "))
    # Composing can make a letter that folds again (U+0345), hence until nothing changes.
    while case_fold and (folded := unicodedata.normalize("NFC", text.casefold())) != text:
        text = folded
    return text


def id_fault(text: str, case_fold: bool = False) -> str | None:
    """Name the rule that an id breaks, or None. The text itself is never in the answer.

    >>> id_fault("00123"), id_fault("   ")
    (None, 'blank id')
    >>> id_fault("a\\u200bb")
    'a zero-width or format character in the id'
    """
    stripped = text.strip(" ")
    if not stripped:
        return "blank id"
    if stripped.isascii():
        if not stripped.isprintable():
            return _REFUSED_CATEGORIES["Cc"]
        return None if len(stripped) <= MAXIMUM_ID_BYTES else _too_long()
    for character in stripped:
        fault = _REFUSED_CATEGORIES.get(unicodedata.category(character))
        if fault is not None and character != " ":
            return fault
        if ord(character) in _INVISIBLE:
            return "an invisible character in the id"
    return None if len(_fold(text, case_fold).encode()) <= MAXIMUM_ID_BYTES else _too_long()


def _too_long() -> str:
    return f"an id of more than {MAXIMUM_ID_BYTES} bytes"


def canonical_id(text: str, case_fold: bool = False) -> str:
    """The one spelling of a user id; applying it twice changes nothing.

    >>> canonical_id(" 00123 "), canonical_id("Andre\\u0301") == canonical_id("Andr\\u00e9")
    ('00123', True)

    Raises:
        BadInput: the id breaks a rule of `id_fault`.
    """
    fault = id_fault(text, case_fold)
    if fault is not None:
        raise BadInput(f"an id cannot be used: {fault}")
    if text.isascii() and not case_fold:
        return text.strip(" ")
    return _fold(text, case_fold)


@dataclass(frozen=True)
class Keys:
    """The pseudonym key and the tombstone key: 32 bytes each, different, never shown.

    Raises:
        BadConfiguration: a key has another length, or both are the same.
    """

    pseudonym: bytes = field(repr=False)
    tombstone: bytes = field(repr=False)

    def __post_init__(self) -> None:
        for name, key in (("pseudonym", self.pseudonym), ("tombstone", self.tombstone)):
            if len(key) != KEY_BYTES:
                raise BadConfiguration(f"the {name} key has {len(key)} bytes, not {KEY_BYTES}")
        if hmac.compare_digest(self.pseudonym, self.tombstone):
            raise BadConfiguration("the pseudonym key and the tombstone key are the same")


def key_fingerprint(key: bytes) -> str:
    """16 hex characters that tell one key from another and say nothing about it.

    >>> key_fingerprint(bytes(32))
    '18306303ab6b35cc'
    """
    return hashlib.sha256(_FINGERPRINT + key).hexdigest()[:16]


def pseudonym(key: bytes, canonical: str, epoch: int) -> str:
    """HMAC-SHA256 of (epoch, canonical id), cut to 128 bits: 32 lower-case hex characters.

    The epoch takes exactly eight bytes before the id, so no two pairs share an encoding.

    >>> pseudonym(bytes(32), "00123", 0) != pseudonym(bytes(32), "00123", 1)
    True
    """
    message = _PSEUDONYM + epoch.to_bytes(8, "big") + canonical.encode()
    return hmac.digest(key, message, "sha256")[:16].hex()


def tombstone(key: bytes, pseudonym: str) -> str:
    """HMAC-SHA256 of a pseudonym under the tombstone key: 64 lower-case hex characters.

    >>> len(tombstone(bytes(32), pseudonym(bytes(32), "00123", 0)))
    64
    """
    return hmac.digest(key, _TOMBSTONE + bytes.fromhex(pseudonym), "sha256").hex()


@dataclass(frozen=True, slots=True)
class Identity:
    """What one canonical id is called below intake, at one position of the register.

    `erased`: the present life is erased, its rows are dropped. `not_before` (Unix seconds): rows
    with an earlier timestamp belong to an erased life and are dropped too; 0 in the first life.
    """

    pseudonym: str = field(repr=False)
    tombstone: str = field(repr=False)
    erased: bool
    not_before: int


@dataclass(frozen=True)
class Identities:
    """Canonical ids -> identities, under the keys and the standing of one register position."""

    keys: Keys
    standing: Standing

    def resolve(self, ids: Sequence[str]) -> list[Identity]:
        """One identity for each canonical id, in the order given."""
        return [self._resolve_one(canonical) for canonical in ids]

    def _resolve_one(self, canonical: str) -> Identity:
        epoch, not_before = 0, 0
        while True:
            name = pseudonym(self.keys.pseudonym, canonical, epoch)
            stone = tombstone(self.keys.tombstone, name)
            returned = self.standing.reconsented.get(stone)
            if returned is None:
                return Identity(name, stone, stone in self.standing.erased, not_before)
            epoch, not_before = epoch + 1, max(not_before, returned)


def every_pseudonym(keys: Keys, standing: Standing, canonical: str) -> list[str]:
    """What one id is and was called below intake: a name for each life."""
    names = [pseudonym(keys.pseudonym, canonical, 0)]
    while tombstone(keys.tombstone, names[-1]) in standing.reconsented:
        names.append(pseudonym(keys.pseudonym, canonical, len(names)))
    return names
