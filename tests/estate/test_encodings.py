"""Twenty encodings in which an id survives, many ids at once, and how often each was seen."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planted import TWENTY, sixty_four
from lethe.estate.search import Needles, holds
from lethe.estate.search import pieces as decoding
from lethe.estate.search.looking import counted
from lethe.estate.search.windows import Patterns

NAME = "Zoë-Müller 00123"
PSEUDONYM = "0123456789abcdef0123456789abcde7"
PART_OF_IT = Needles.of(["f" * 31 + "e"], ["Zoë-Müller 0012", "Zoë-Müller 00122", "üller 00123"])


@pytest.mark.parametrize("fields", [True, False], ids=["where ids may lie", "elsewhere"])
@pytest.mark.parametrize("encoding", TWENTY)
def test_an_id_and_a_pseudonym_are_found_in_each_of_the_twenty_encodings(
    encoding: str, fields: bool, tmp_path: Path
) -> None:
    assert len(TWENTY) == 20
    both = Needles.of([PSEUDONYM], [NAME])
    path = tmp_path / "file"
    for name in (NAME, PSEUDONYM):
        path.write_bytes(TWENTY[encoding](name))
        assert holds(path, both, fields)[0], "the file holds nothing else"
        path.write_bytes(b"user: " + TWENTY[encoding](name) + b"\n")
        if encoding in list(TWENTY)[:14]:
            assert holds(path, both, fields)[0], "in the middle of other text"
    path.write_bytes(TWENTY[encoding]("somebody Élse"))
    assert holds(path, both, fields) == (False, True)


TOUCHING = {"utf-16", "utf-32", "zip and npz", "xz"}  # without zero bytes, words can touch


@pytest.mark.parametrize("encoding", [name for name in TWENTY if name not in TOUCHING])
def test_where_ids_may_lie_a_part_of_a_longer_one_is_no_hit(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (TWENTY[encoding](NAME), b"user=" + TWENTY[encoding](NAME)):
        path.write_bytes(content)
        assert not holds(path, PART_OF_IT, fields=True)[0]


OTHERS: dict[str, tuple[Callable[[str], bytes], str]] = {
    "utf-16, big end first": (lambda name: name.encode("utf-16-be"), "utf-16/32"),
    "hex in capitals": (lambda name: name.encode().hex().upper().encode(), "hex"),
    "base64 for addresses": (
        lambda name: base64.urlsafe_b64encode(b"~~?" + name.encode()).rstrip(b"="), "base64"),
    "bytes of a digest": (lambda name: hashlib.sha256(name.encode()).digest(), "sha256"),
    "JSON in capitals": (
        lambda name: json.dumps(name).replace("eb", "EB").replace("fc", "FC").encode(),
        "json escapes"),
    "URL in small letters": (lambda name: quote(name).lower().replace(
        "zo", "Zo").replace("m", "M").encode(), "url"),
    "HTML by name": (lambda name: name.replace("ë", "&euml;").replace("ü", "&uuml;").encode(),
                     "html"),
    "HTML in hex": (lambda name: name.replace("ë", "&#xEB;").replace("ü", "&#xFC;").encode(),
                    "html"),
    "hex in utf-16": (lambda name: name.encode().hex().encode("utf-16"), "utf-16/32 > hex"),
    "base64 in gzip": (lambda name: gzip.compress(sixty_four(name, 1)), "gzip > base64"),
    "zstandard": (lambda name: pa.compress(name.encode(), "zstd", asbytes=True), "zstd > plain"),
    "zlib in gzip": (lambda name: gzip.compress(zlib.compress(name.encode())),
                     "gzip > zlib > plain"),
}  # fmt: skip


@pytest.mark.parametrize("encoding", OTHERS)
def test_it_is_told_how_an_id_was_wrapped(encoding: str, tmp_path: Path) -> None:
    make, how = OTHERS[encoding]
    path = tmp_path / "file"
    path.write_bytes(make(NAME))
    assert counted(path, Needles.of([], [NAME]), fields=True)[0][how] == 1


def test_the_sixteen_bytes_of_a_pseudonym_are_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" + bytes.fromhex(PSEUDONYM) + b"x" + PSEUDONYM.upper().encode())
    found, _ = counted(path, Needles.of([PSEUDONYM], []), fields=False)
    assert found == {"bytes": 1, "plain": 1}


# --- containers -----------------------------------------------------------------------------------


def tar_of(content: bytes, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("a/member.gz")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def test_members_of_a_tar_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for mode, outside in (("w", ""), ("w:gz", "gzip > "), ("w:xz", "xz > ")):
        path.write_bytes(tar_of(gzip.compress(NAME.encode()), mode))
        found, whole = counted(path, Needles.of([], [NAME]), fields=False)
        assert (found, whole) == ({f"{outside}tar > gzip > plain": 1}, True)


@pytest.mark.parametrize("schema", [True, False])
def test_a_category_that_no_row_has_any_more_is_found(schema: bool, tmp_path: Path) -> None:
    values = pa.DictionaryArray.from_arrays(pa.array([0, 0, 1]), pa.array(["a", "b", NAME]))
    path = tmp_path / "file"
    pq.write_table(
        pa.table({"user": values}), path,
        compression="zstd", store_schema=schema, write_statistics=False,
    )  # fmt: skip
    assert counted(path, Needles.of([], [NAME]), fields=False)[0]["parquet > plain"] == 1
    with pa.ipc.new_file(
        path, pa.schema({"user": values.type}), options=pa.ipc.IpcWriteOptions(compression="zstd")
    ) as out:
        out.write_batch(pa.record_batch({"user": values}))
    assert holds(path, Needles.of([], [NAME]), fields=False) == (True, True)


def test_a_database_in_an_archive_and_a_compressed_cell_are_read(tmp_path: Path) -> None:
    import sqlite3

    made = sqlite3.connect(tmp_path / "made")
    made.execute("PRAGMA journal_mode = WAL")
    made.execute("CREATE TABLE results (value BLOB)")
    made.execute("INSERT INTO results VALUES (?)", (gzip.compress(NAME.encode()),))
    made.commit()
    wal = (tmp_path / "made-wal").read_bytes()
    needles = Needles.of([], [NAME])
    assert counted(tmp_path / "made", needles, fields=False)[0] == {"database > gzip > plain": 1}
    made.close()
    path = tmp_path / "backup.gz"
    path.write_bytes(gzip.compress((tmp_path / "made").read_bytes()))
    assert counted(path, needles, fields=False) == ({"gzip > database > gzip > plain": 1}, True)
    assert wal


def test_rows_that_only_the_write_ahead_log_holds_are_found(tmp_path: Path) -> None:
    import sqlite3

    made = sqlite3.connect(tmp_path / "made")
    made.execute("PRAGMA journal_mode = WAL")
    made.execute("CREATE TABLE results (value TEXT)")
    made.execute("INSERT INTO results VALUES (?)", (NAME,))
    made.commit()
    assert NAME.encode() not in (tmp_path / "made").read_bytes()
    assert holds(tmp_path / "made-wal", Needles.of([], [NAME]), fields=False)[0]
    made.close()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_loose_and_packed_objects_of_git_are_read(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.invalid")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)  # noqa: S607

    git("init", "-q")
    for day in range(4):
        rows = [f"nobody {n},{n * day}" for n in range(300)]
        (tmp_path / "rows.csv").write_text("\n".join([*rows, NAME if day > 1 else "x"]))
        git("add", "rows.csv")
        git("commit", "-qm", "rows")
    objects = tmp_path / ".git" / "objects"
    needles = Needles.of([], [NAME])

    def files() -> Counter[str]:
        found = Counter[str]()
        for path in sorted(objects.rglob("*")):
            if path.is_file():
                places, whole = counted(path, needles, fields=True)
                assert whole, path.name
                found.update(places.keys())
        return found

    assert files() == {"zlib > plain": 2}
    git("gc", "-q", "--aggressive", "--prune=now")
    assert list(objects.glob("pack/*.pack"))
    assert files() == {"git pack > plain": 1}


# --- many at once, and counts --------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_every_place_of_every_pattern_is_told_once(data: st.DataObject) -> None:
    letters = st.sampled_from(b"ab")
    size = data.draw(st.sampled_from([8, 9, 11, 15, 40]))
    patterns = data.draw(
        st.sets(st.lists(letters, min_size=size, max_size=size + 9).map(bytes), min_size=1)
    )
    content = bytes(data.draw(st.lists(letters, max_size=200)))
    for pattern in sorted(patterns)[:3]:
        at = data.draw(st.integers(0, len(content)))
        content = content[:at] + pattern + content[at:]
    expected = Counter(
        (at, pattern)
        for pattern in patterns
        for at in range(len(content))
        if content.startswith(pattern, at)
    )
    assert Counter(Patterns.of(patterns).found_in(content)) == expected


def test_a_pattern_of_fewer_than_eight_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="eight bytes"):
        Patterns.of([b"1234567"])


def test_thousands_of_people_are_looked_for_at_once(tmp_path: Path) -> None:
    ids = [f"customer-{n:06}" for n in range(3_000)]
    path = tmp_path / "file"
    path.write_text("\n".join(f"customer-{n:06},item" for n in range(2_900, 9_000)))
    assert counted(path, Needles.of([], ids), fields=True)[0] == {"plain": 100}
    short = Needles.of([], [f"{n}" for n in range(3_000)])
    path.write_text(",".join(f" {n} " for n in range(2_900, 9_000)))
    assert counted(path, short, fields=True)[0] == {"plain": 100}
    assert counted(path, short, fields=False)[0] == {}


@settings(max_examples=60, deadline=None)
@given(gaps=st.lists(st.integers(0, 30), min_size=1, max_size=12), chunk=st.integers(80, 130))
def test_each_place_counts_once_wherever_a_large_file_is_cut(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[int], chunk: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut"
    encoded = sixty_four(NAME, 1)
    many = [PSEUDONYM.encode(), NAME.encode(), b"u-7", encoded]
    path.write_bytes(b"".join(b"," + b"-," * gap + b",".join(many) + b"," for gap in gaps))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_CHUNK", chunk)
        patch.setattr(decoding, "_OVERLAP", 64)
        found, _ = counted(path, Needles.of([PSEUDONYM], [NAME, "u-7"]), fields=True)
    assert found == {"plain": 3 * len(gaps), "base64": len(gaps)}
