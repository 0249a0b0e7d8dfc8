"""A person is found in every wrapping of a file, and a file that cannot be decoded is told."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.estate.search import Needles, holds
from lethe.estate.search import pieces as decoding

PSEUDONYM = "0123456789abcdef0123456789abcde7"
ID = "customer-000123"
BOTH = Needles.of([PSEUDONYM], [ID])
NOISE = "\n".join(f"{n:032x},item-{n},{n}" for n in range(400))


def text_with(name: str) -> bytes:
    return f"{NOISE}\n{name},item-7,3\n{NOISE}\n".encode()


def parquet_with(name: str, **options: object) -> bytes:
    users = [f"{n:032x}" for n in range(3_000)] + [name] * 5
    out = io.BytesIO()
    pq.write_table(pa.table({"user": users, "n": list(range(len(users)))}), out, **options)
    return out.getvalue()


def column_with(values: pa.Array) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"other": values}), out, compression="zstd")
    return out.getvalue()


def zip_with(name: str, how: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as archive:
        archive.writestr("a/first.txt", NOISE)
        archive.writestr("b.txt", text_with(name))
    return out.getvalue()


def arrays_with(name: str) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, users=np.array(["x" * 32, name]), n=np.arange(9.0))
    return out.getvalue()


def database_with(name: str, path: Path, *, freed: bool) -> bytes:
    """Rows whose text columns touch each other; `freed`: deleted, and their page is free."""
    with closing(sqlite3.connect(path)) as link:
        link.execute("PRAGMA secure_delete = OFF")
        link.execute("CREATE TABLE runs (hexed TEXT, value TEXT, again TEXT)")
        link.executemany("INSERT INTO runs VALUES (?, ?, ?)", [("abc", name, "def")] * 200)
        link.commit()
        if freed:
            link.execute("DELETE FROM runs")
            link.commit()
            assert link.execute("PRAGMA freelist_count").fetchone()[0] > 0
    return path.read_bytes()


def long_cell_with(name: str, path: Path) -> bytes:
    """One long text that a database spreads over pages: the name is cut in the file's bytes."""
    with closing(sqlite3.connect(path)) as link:
        link.execute("PRAGMA page_size = 512")
        link.execute('CREATE TABLE "odd ""name" (value TEXT)')
        # The last page takes the last 508 bytes: 500 of the padding and 8 of the name.
        link.execute('INSERT INTO "odd ""name" VALUES (?)', ("-" * 800 + name + "-" * 500,))
        link.commit()
    assert name.encode() not in path.read_bytes()
    return path.read_bytes()


WRAPPINGS: dict[str, Callable[[str, Path], bytes]] = {
    "plain": lambda name, _: text_with(name),
    "utf-16": lambda name, _: text_with(name).decode().encode("utf-16"),
    "gzip": lambda name, _: gzip.compress(text_with(name)),
    "gzip twice": lambda name, _: gzip.compress(gzip.compress(text_with(name))),
    "two gzip members": lambda name, _: gzip.compress(b"first\n") + gzip.compress(text_with(name)),
    "bzip2": lambda name, _: bz2.compress(text_with(name)),
    "xz": lambda name, _: lzma.compress(text_with(name)),
    "zip": lambda name, _: zip_with(name),
    "stored zip": lambda name, _: zip_with(name, zipfile.ZIP_STORED),
    "zip in gzip": lambda name, _: gzip.compress(zip_with(name)),
    "npz": lambda name, _: arrays_with(name),
    "parquet": lambda name, _: parquet_with(name, compression="zstd", use_dictionary=False),
    "parquet with a dictionary": lambda name, _: parquet_with(name, compression="snappy"),
    "parquet in gzip": lambda name, _: gzip.compress(parquet_with(name, compression="gzip")),
    "parquet, large text": lambda name, _: column_with(pa.array([name], pa.large_string())),
    "parquet, bytes": lambda name, _: column_with(pa.array([name.encode()], pa.binary())),
    "parquet, categories": lambda name, _: column_with(pa.array([name]).dictionary_encode()),
    "parquet, lists": lambda name, _: column_with(pa.array([["x", name], None])),
    "database": lambda name, path: database_with(name, path, freed=False),
    "database, freed page": lambda name, path: database_with(name, path, freed=True),
    "database, long text": long_cell_with,
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("name", [PSEUDONYM, ID], ids=["pseudonym", "id"])
def test_a_person_is_found_in_every_wrapping(wrapping: str, name: str, tmp_path: Path) -> None:
    made = WRAPPINGS[wrapping](name, tmp_path / "made")
    path = tmp_path / "file"
    path.write_bytes(made)
    for fields in (True, False):
        assert holds(path, BOTH, fields)[0], f"where ids may lie: {fields}"
    other = Needles.of(["f" * 31 + "e"], ["customer-000124"])
    assert holds(path, other, fields=True) == (False, True)


@pytest.mark.parametrize("glued", ["ab", "0", "f" * 5, "0" * 32, "abcdef" * 9])
def test_a_pseudonym_is_found_behind_other_hex_digits(glued: str, tmp_path: Path) -> None:
    """Text columns of a database stand side by side without a separator."""
    path = tmp_path / "file"
    path.write_text(f"x{glued}{PSEUDONYM}{glued}x")
    assert holds(path, BOTH, fields=False)[0]


@settings(max_examples=60, deadline=None)
@given(
    before=st.integers(0, 70),
    name=st.sampled_from([PSEUDONYM, ID, "u-7"]),
    chunk=st.integers(40, 64),
)
def test_a_person_is_found_on_every_border_of_two_pieces(
    tmp_path_factory: pytest.TempPathFactory, before: int, name: str, chunk: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "border"
    path.write_text("-" * before + f",{name}," + "-" * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_CHUNK", chunk)
        patch.setattr(decoding, "_OVERLAP", 40)
        assert holds(path, Needles.of([PSEUDONYM], [ID, "u-7"]), fields=True)[0]


@settings(max_examples=60, deadline=None)
@given(before=st.integers(0, 70), chunk=st.integers(40, 64))
def test_a_longer_id_is_no_hit_wherever_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, before: int, chunk: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "longer"
    path.write_text("-" * before + ",912377,xcustomer-0001239," + "-" * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_CHUNK", chunk)
        patch.setattr(decoding, "_OVERLAP", 40)
        needles = Needles.of([], ["7", "77", "9", "91", "customer-000123", "1237"])
        assert holds(path, needles, fields=True) == (False, True)


# --- what cannot be decoded ---------------------------------------------------------------------


def broken_parquet(name: str) -> bytes:
    content = parquet_with(name, compression="zstd", use_dictionary=False)
    return content[:200] + b"\0" * 50 + content[250:]


UNDECODABLE: dict[str, bytes] = {
    "truncated gzip": gzip.compress(text_with("nobody"))[:-40],
    "gzip with a wrong sum": gzip.compress(b"x" * 99)[:-8] + b"\0" * 8,
    "no gzip after all": b"\x1f\x8b and then something else",
    "truncated parquet": parquet_with("nobody")[:-40],
    "broken parquet": broken_parquet("nobody"),
    "truncated zip": zip_with("nobody")[:-40],
    "zstandard": b"\x28\xb5\x2f\xfd" + b"x" * 40,
    "7z": b"7z\xbc\xaf\x27\x1c" + b"x" * 40,
    "a broken database": b"SQLite format 3\0" + b"x" * 4_000,
    "a nest of archives": gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"x")))),
}


@pytest.mark.parametrize("wrapping", UNDECODABLE)
def test_a_file_that_cannot_be_decoded_is_told(wrapping: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(UNDECODABLE[wrapping])
    assert holds(path, BOTH, fields=True) == (False, False)
    path.write_bytes(UNDECODABLE[wrapping] + PSEUDONYM.encode())
    assert holds(path, BOTH, fields=True)[0], "its bytes are searched all the same"


def test_an_encrypted_archive_is_told(tmp_path: Path) -> None:
    content = bytearray(zip_with(ID))
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):  # the flag stands in both lists of files
        place = content.index(mark) + (6 if mark == b"PK\x03\x04" else 8)
        content[place] |= 1
    path = tmp_path / "file"
    path.write_bytes(content)
    assert holds(path, Needles.of([PSEUDONYM], []), fields=True) == (False, False)
    assert holds(path, BOTH, fields=True)[0], "its other members are searched"


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_a_cut_off_file_still_shows_its_beginning(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    digits = np.random.default_rng(1).integers(0, 10, 90_000)
    rows = f"{ID},item\n" * 9 + "".join(map(str, digits.tolist()))
    path = tmp_path / "file"
    path.write_bytes(compress(rows.encode())[:20_000])
    assert holds(path, BOTH, fields=True)[0]
    assert holds(path, Needles.of([PSEUDONYM], []), fields=True) == (False, False)


def test_decoding_without_end_is_given_up_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_CHUNK", 1 << 16)
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(b"\n" * (1 << 23)))
    effort = decoding.Effort(left=1 << 20)
    sizes = [len(piece.content) for piece in decoding.pieces(path, effort)]
    assert effort.fault
    assert sum(sizes) < 1 << 21
    assert max(sizes) < 1 << 17
