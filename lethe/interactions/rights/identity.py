"""Who a row belongs to: the canonical id, its pseudonym, and its tombstone.

Canonical form, version 1: a string without leading and trailing U+0020, in Unicode NFC, not
case-folded unless configured, 1 to 256 bytes of UTF-8. Characters that cannot be seen, or that
another tool might silently drop, are refused rather than mended: an erasure request must spell
the id in the one way that intake did. The same functions serve intake, requests and tombstones.

A person who returns after an erasure starts a new *epoch* under a new pseudonym, so the erased
life and the new one cannot be joined by anybody without the key.

A pseudonym is an *inner name*, HMAC(k1, epoch, id), as long as no name key was ever made. From the
first replacement of the key on, what is stored is the inner name encrypted under the present name
key: AES-256 of one block, a permutation, so that no two names ever meet. A *generation* is the
fingerprint of the name key that names were made under, and empty before the first. Tombstones are
made from inner names, so none changes with the key (docs/decisions/0019).
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from lethe.errors import BadConfiguration, BadInput, WrongKey
from lethe.interactions.rights.standing import Standing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.modes import ECB

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
    """The pseudonym key, the tombstone key and the name keys: 32 bytes each, never shown.

    `names` is the present name key, empty before the first replacement; `former` are those under
    which a stored solution version may still be named.

    Raises:
        BadConfiguration: a key has another length, or two are the same.
    """

    pseudonym: bytes = field(repr=False)
    tombstone: bytes = field(repr=False)
    names: bytes = field(default=b"", repr=False)
    former: tuple[bytes, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        keys = [("pseudonym", self.pseudonym), ("tombstone", self.tombstone)]
        keys += [("name", key) for key in (self.names, *self.former) if key]
        for name, key in keys:
            if len(key) != KEY_BYTES:
                raise BadConfiguration(f"the {name} key has {len(key)} bytes, not {KEY_BYTES}")
        for number, (name, key) in enumerate(keys):
            for other, before in keys[:number]:
                if hmac.compare_digest(key, before):
                    raise BadConfiguration(f"the {other} key and the {name} key are the same")

    @property
    def generation(self) -> str:
        """The fingerprint of the present name key, empty before the first."""
        return key_fingerprint(self.names) if self.names else ""

    def of(self, generation: str) -> Keys:
        """These keys as they were in a generation that is still known.

        Raises:
            WrongKey: the name key of that generation is not here, or not any more.
        """
        for key in (self.names, *self.former, b""):
            if (key_fingerprint(key) if key else "") == generation:
                return replace(self, names=key, former=())
        raise WrongKey(f"the name key of generation {generation[:16]} is not here any more")

    def check(self, generation: str, what: str) -> None:
        """Refuse a store whose names are of another generation: read as ours, they are nobody's.

        Raises:
            WrongKey: names `what`.
        """
        if generation != self.generation:
            raise WrongKey(f"{what}: the names are not of the present pseudonym key")

    def name(self, canonical: str, epoch: int) -> str:
        """What one life of a canonical id is called in the stores of this generation."""
        return self.wrapped([pseudonym(self.pseudonym, canonical, epoch)])[0]

    def inner(self, names: Sequence[str]) -> list[str]:
        """The inner names of stored names of this generation, in order."""
        if not self.names:
            return list(names)
        return _blocks(self._cipher.decryptor().update(bytes.fromhex("".join(names))))

    def wrapped(self, inner: Sequence[str]) -> list[str]:
        """Inner names as they are stored in this generation, in order."""
        if not self.names:
            return list(inner)
        return _blocks(self._cipher.encryptor().update(bytes.fromhex("".join(inner))))

    def stone(self, name: str) -> str:
        """The tombstone of a stored name of this generation."""
        return tombstone(self.tombstone, self.inner((name,))[0])

    def stones(self, names: Sequence[str]) -> list[str]:
        """The tombstones of stored names of this generation, in order."""
        return [tombstone(self.tombstone, inner) for inner in self.inner(names)]

    def everywhere(self, names: Iterable[str]) -> list[str]:
        """Stored names of this generation, and what the same people are called in the others."""
        inner = self.inner(list(names))
        others = {key_fingerprint(key) if key else "" for key in (self.names, *self.former, b"")}
        return [name for one in sorted(others) for name in self.of(one).wrapped(inner)]

    @cached_property
    def _cipher(self) -> Cipher[ECB]:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        # Each block is a message of its own: a name must become the same name every time.
        return Cipher(algorithms.AES256(self.names), modes.ECB())  # noqa: S305


def _blocks(content: bytes) -> list[str]:
    text = content.hex()
    return [text[start : start + 32] for start in range(0, len(text), 32)]


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
        found = [self._resolve_one(canonical) for canonical in ids]
        if not self.keys.names:
            return found
        names = self.keys.wrapped([one.pseudonym for one in found])
        return [replace(one, pseudonym=name) for one, name in zip(found, names, strict=True)]

    def _resolve_one(self, canonical: str) -> Identity:
        """Under the inner name: all are wrapped at once."""
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
    names = [keys.name(canonical, 0)]
    while keys.stone(names[-1]) in standing.reconsented:
        names.append(keys.name(canonical, len(names)))
    return names
