"""The forms in which a name can stand in a file without being compressed."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from html.entities import codepoint2name
from urllib.parse import quote, quote_plus

TEXT, WIDE, HEX, BASE64, DIGEST, RAW = "plain", "utf-16/32", "hex", "base64", "sha256", "bytes"
LATIN, DECOMPOSED, JSON, URL, HTML = "latin-1", "NFD", "json escapes", "url", "html"
PLAIN = frozenset({TEXT, LATIN, DECOMPOSED, WIDE, JSON, URL, HTML})
"""Forms in which the neighbouring bytes are the neighbouring letters."""

_LATER_BYTES = bytes(range(0x80, 0xC0))  # of a letter in UTF-8
_WORD = re.compile(rb"[0-9A-Za-z_\x80-\xff]")
_VARIED = 8  # different bytes of 16: one digest in 10**12 has fewer, and so have padded counts
_LEAD = (0, 2, 3)  # base64 digits that the bytes before a name have a part in, by their number
_ESCAPE = re.compile(rb"\\u[0-9a-f]{4}")
_FOR_ADDRESSES = bytes.maketrans(b"+/", b"-_")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_BASE64 = re.compile(rb"[0-9A-Za-z+/_-]*")
_PERCENT = re.compile(r"%[0-9A-F]{2}")


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a name; for base64, `before` says where in a group of three bytes it starts."""

    how: str
    content: bytes
    name: bytes = b""
    before: int = 0


def forms(name: str) -> Iterator[Form]:
    """The forms of an id or a pseudonym; some can have the same bytes.

    Text of two or four bytes a character is given without its zero bytes, as `WIDE` says.
    """
    plain = unicodedata.normalize("NFC", name)
    content = plain.encode()
    yield Form(TEXT, content)
    yield from _spelled(plain)
    yield from _escaped(plain)
    yield Form(HEX, content.hex().encode(), content)
    yield Form(HEX, content.hex().upper().encode(), content)
    for before in range(3):
        standard = _digits(content, before)
        yield Form(BASE64, standard, content, before)
        yield Form(BASE64, standard.translate(_FOR_ADDRESSES), content, before)
    digest = hashlib.sha256(content)
    yield Form(DIGEST, digest.hexdigest().encode())
    yield Form(DIGEST, digest.hexdigest().upper().encode())
    yield Form(DIGEST, digest.digest())


def pseudonym_forms(name: str) -> Iterator[Form]:
    """The forms of 32 hexadecimal digits: those of a name, its capitals and its 16 bytes."""
    yield from forms(name)
    yield Form(TEXT, name.upper().encode())
    packed = bytes.fromhex(name)
    if len(set(packed)) >= _VARIED:
        yield Form(RAW, packed)


def _spelled(plain: str) -> Iterator[Form]:
    apart = unicodedata.normalize("NFD", plain)
    yield Form(DECOMPOSED, apart.encode())
    with contextlib.suppress(UnicodeEncodeError):  # with other letters it cannot stand anywhere
        yield Form(LATIN, plain.encode("latin-1"))
    for text in (plain, apart):
        for code in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            yield Form(WIDE, text.encode(code).replace(b"\0", b""))


def _escaped(plain: str) -> Iterator[Form]:
    for text in {plain, unicodedata.normalize("NFD", plain)}:
        escaped = json.dumps(text)[1:-1].encode()
        yield Form(JSON, escaped)
        yield Form(JSON, _ESCAPE.sub(lambda found: b"\\u" + found.group()[2:].upper(), escaped))
        yield Form(JSON, json.dumps(text, ensure_ascii=False)[1:-1].encode())
        for written in (quote(text), quote(text, safe=""), quote_plus(text)):
            yield Form(URL, written.encode())
            yield Form(URL, _PERCENT.sub(lambda found: found.group().lower(), written).encode())
        kept = html.escape(text)
        yield Form(HTML, kept.encode())
        yield Form(HTML, html.escape(text, quote=False).encode())
        yield Form(HTML, "".join(_named(letter) for letter in text).encode())
        yield Form(HTML, kept.encode("ascii", "xmlcharrefreplace"))
        for pattern in ("&#x{:x};", "&#x{:X};"):
            yield Form(HTML, _referred(kept, pattern).encode())


def _named(letter: str) -> str:
    known = codepoint2name.get(ord(letter))
    if known is not None:
        return f"&{known};"
    return letter if letter.isascii() else f"&#{ord(letter)};"


def _referred(text: str, pattern: str) -> str:
    return "".join(letter if letter.isascii() else pattern.format(ord(letter)) for letter in text)


def _digits(content: bytes, before: int) -> bytes:
    """The base64 digits that depend on `content` alone, with so many bytes before it, modulo 3."""
    whole = base64.b64encode(bytes(before) + content)
    return whole[_LEAD[before] : (before + len(content)) * 8 // 6]


def stands_alone(form: Form, content: bytes, start: int) -> bool:
    """Whether hexadecimal or base64 digits hold exactly this name, and not a part of a longer one.

    Read as far as the digits go: next to other text there is nothing before or after the name.
    """
    if form.how == HEX:
        end = start + len(form.content)
        before, after = (
            _from_hex(content[max(start - 2, 0) : start]),
            _from_hex(content[end : end + 2]),
        )
    else:
        at, size = start - _LEAD[form.before], form.before + len(form.name)
        if at < 0:
            return False
        end = at + -(-size // 3) * 4
        held = _from_base64(content[at:end])
        if held[form.before : size] != form.name:  # its last bits are no part of the digits sought
            return False
        group = _from_base64(content[max(at - 4, 0) : at])
        if len(group) < 3 or not _is_text(group):  # noqa: PLR2004 - three bytes in four digits
            group = b""  # what stands before the digits, such as a folder, is no part of them
        before = (group + held[: form.before])[-1:]
        after = (held[size:] + _from_base64(content[end : end + 4]))[:1]
    return not (_WORD.match(before) or _WORD.match(after))


def is_this_name(form: Form, content: bytes, start: int) -> bool:
    """Whether base64 digits go on as this name does: the last can hold bits of a neighbour."""
    at, size = start - _LEAD[form.before], form.before + len(form.name)
    held = _from_base64(content[max(at, 0) : at + -(-size // 3) * 4])
    return held[form.before : size] == form.name


def _from_base64(digits: bytes) -> bytes:
    """What whole groups of four hold, and a last one without its padding; nothing if it is none."""
    found = _BASE64.match(digits)
    whole = found.group().translate(_TO_STANDARD) if found else b""
    whole = whole[: len(whole) - (len(whole) % 4 == 1)]
    return base64.b64decode(whole + b"=" * (-len(whole) % 4))


def _is_text(part: bytes) -> bool:
    """Whether bytes can be the end of a text; the first may belong to a letter before them."""
    try:
        return part.lstrip(_LATER_BYTES).decode().isprintable()
    except UnicodeDecodeError:
        return False


def _from_hex(two: bytes) -> bytes:
    try:
        return bytes.fromhex(two.decode("ascii"))
    except ValueError:
        return b""
