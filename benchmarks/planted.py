"""The twenty encodings in which an id was seen to survive, to plant one in each."""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import html
import io
import json
import lzma
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def archive_of(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", content)
        with archive.open("users.npy", "w") as member:
            np.save(member, np.array([content.decode()]))
    return out.getvalue()


def table_of(text: str) -> bytes:
    out = io.BytesIO()
    users = pa.array([text, *(f"nobody {n}" for n in range(2_000))])
    pq.write_table(pa.table({"user": users}), out, compression="zstd", write_statistics=False)
    return out.getvalue()


def sixty_four(name: str, before: int) -> bytes:
    return base64.b64encode(b"-" * before + name.encode() + b" and so on")


TWENTY: dict[str, Callable[[str], bytes]] = {
    "utf-8": lambda name: name.encode(),
    "utf-16": lambda name: name.encode("utf-16"),
    "utf-32": lambda name: name.encode("utf-32"),
    "latin-1": lambda name: name.encode("latin-1"),
    "NFC": lambda name: unicodedata.normalize("NFC", name).encode(),
    "NFD": lambda name: unicodedata.normalize("NFD", name).encode(),
    "JSON escapes": lambda name: json.dumps({"user": name}).encode(),
    "URL": lambda name: f"?user={quote(name)}&page=2".encode(),
    "HTML": lambda name: html.escape(name).encode("ascii", "xmlcharrefreplace"),
    "hex": lambda name: name.encode().hex().encode(),
    "base64 at 0": lambda name: sixty_four(name, 0),
    "base64 at 1": lambda name: sixty_four(name, 1),
    "base64 at 2": lambda name: sixty_four(name, 2),
    "sha256": lambda name: hashlib.sha256(name.encode()).hexdigest().encode(),
    "gzip": lambda name: gzip.compress(name.encode()),
    "zlib": lambda name: zlib.compress(name.encode()),
    "bz2": lambda name: bz2.compress(name.encode()),
    "xz": lambda name: lzma.compress(name.encode()),
    "zip and npz": lambda name: archive_of(name.encode()),
    "parquet": table_of,
}
