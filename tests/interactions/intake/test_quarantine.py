"""Quarantine keeps what was refused, once, and forgets a person in it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from lethe.interactions.intake.quarantine import Quarantine
from lethe.interactions.intake.verdicts import RefusedRow

SHA = "ab" * 32


def lines(folder: Path) -> list[str]:
    return [json.loads(line)["#line"] for line in (folder / f"{SHA[:12]}.jsonl").open()]


def kept(folder: Path, *texts: str) -> Quarantine:
    quarantine = Quarantine(folder)
    quarantine.rows(SHA, [RefusedRow(n, "user: blank id", text) for n, text in enumerate(texts, 1)])
    return quarantine


def test_rows_are_kept_once_and_counted_by_rule(tmp_path: Path) -> None:
    quarantine = kept(tmp_path, "a,b", "c,d")
    assert quarantine.rows(SHA, [RefusedRow(2, "r", "c,d"), RefusedRow(3, "r", None)]) == 1
    assert quarantine.counts().rows == {"r": 1, "user: blank id": 2}
    assert (tmp_path / f"{SHA[:12]}.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_crash_cut_off_is_written_anew(tmp_path: Path) -> None:
    quarantine = kept(tmp_path, "a,b", "c,d")
    path = tmp_path / f"{SHA[:12]}.jsonl"
    path.write_bytes(path.read_bytes()[:-4])
    assert quarantine.rows(SHA, [RefusedRow(1, "r", "a,b"), RefusedRow(2, "r", "c,d")]) == 1
    assert lines(tmp_path) == ["a,b", "c,d"]


def test_a_whole_file_moves_in_with_its_reason_and_replaces_its_rows(tmp_path: Path) -> None:
    landed = tmp_path / "landing" / "day.csv.gz"
    landed.parent.mkdir()
    landed.write_bytes(gzip.compress(b"x\n"))
    quarantine = Quarantine(tmp_path / "quarantine")
    target = quarantine.file(landed, "zero rows")
    assert not landed.exists()
    assert gzip.decompress(target.read_bytes()) == b"x\n"
    assert target.name.endswith(".csv.gz")
    assert quarantine.counts().files == {"zero rows": 1}


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("u12,i,1", "u12"),
        ('"u,12",i,1', "u,12"),
        ('"say ""u""",i', 'say "u"'),
        ("17850.0,i,1", "17850"),
        ("Anna,i", "anna"),
        ("u\u200b12,i", "u12"),
        ("Ren\u0065\u0301,i", "Ren\u00e9"),
        ('{"USER_ID":"a\\"b"}', 'a"b'),
        ("x;a.b@c.nl;y", "a.b@c.nl"),
    ],
)
def test_a_line_that_names_the_id_goes_and_the_others_stay(
    tmp_path: Path, text: str, id_: str
) -> None:
    quarantine = kept(tmp_path, "u1,i,12", text, "u123,i,1")
    assert quarantine.forget({id_}) == 1
    assert lines(tmp_path) == ["u1,i,12", "u123,i,1"]
    assert quarantine.forget({id_}) == 0


def test_row_numbers_and_rules_are_no_ids(tmp_path: Path) -> None:
    quarantine = kept(tmp_path, "a", "b")
    assert quarantine.forget({"1", "user", "row"}) == 0


ID = st.text(st.sampled_from("ab1-é. "), min_size=1, max_size=4).map(str.strip).filter(bool)


@given(st.lists(ID, min_size=1, max_size=8, unique=True), st.data())
@settings(max_examples=50, deadline=None)
def test_no_line_of_a_forgotten_person_stays(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("quarantine")
    quarantine = kept(folder, *(f"{id_},item,77" for id_ in ids))
    gone = data.draw(st.sets(st.sampled_from(ids)))
    quarantine.forget(gone)
    left = [text.split(",")[0] for text in lines(folder)]
    assert not gone & set(left)


def moved(folder: Path, name: str, content: bytes) -> tuple[Quarantine, Path]:
    landed = folder / name
    landed.write_bytes(content)
    quarantine = Quarantine(folder / "quarantine")
    return quarantine, quarantine.file(landed, "refused")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_whole_text_files_forget_line_by_line(tmp_path: Path, encoding: str) -> None:
    content = "USER_ID,ITEM\nZoë,1\nother,2\n".encode(encoding)
    quarantine, path = moved(tmp_path, "day.csv", content)
    assert quarantine.forget({"nobody"}) == 0
    assert path.read_bytes() == content
    assert quarantine.forget({"Zoë"}) == 1
    assert path.read_bytes() == b"USER_ID,ITEM\nother,2\n"


def test_a_damaged_gzip_forgets_what_can_be_decoded(tmp_path: Path) -> None:
    text = "".join(f"u{n * 7919 % 10007},{n}\n" for n in range(20_000)).encode()
    whole = gzip.compress(text)
    quarantine, path = moved(tmp_path, "day.csv.gz", whole[: len(whole) // 2])
    assert quarantine.forget({"u7919"}) == 1
    left = gzip.decompress(path.read_bytes())
    assert b"u7919," not in left
    assert b"u0,0\n" in left


def test_whole_parquet_files_forget_row_by_row(tmp_path: Path) -> None:
    landed = tmp_path / "day.parquet"
    table = pa.table({"u": pa.array(["ann", "bob"]).dictionary_encode(), "n": [1.5, 2.5]})
    parquet.write_table(table, landed)
    quarantine, path = moved(tmp_path, "day.parquet", landed.read_bytes())
    assert quarantine.forget({"ann"}) == 1
    assert parquet.read_table(path).to_pylist() == [{"u": "bob", "n": 2.5}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("day.parquet", b"PAR1 ann"),
        ("day.csv.gz", b"no gzip, ann"),
        ("day.csv", "USER\nann\n".encode("utf-16")),
    ],
)
def test_a_file_that_cannot_be_decoded_is_deleted_if_its_bytes_hold_the_id(
    tmp_path: Path, name: str, content: bytes
) -> None:
    quarantine, path = moved(tmp_path, name, content)
    assert quarantine.forget({"bob"}) == 0
    assert path.exists()
    assert quarantine.forget({"ann"}) == 1
    assert not list(path.parent.iterdir())


def test_nothing_shown_of_a_row_holds_an_id() -> None:
    assert "u12" not in repr(RefusedRow(1, "user: blank id", "u12,i"))


@pytest.mark.parametrize("name", ["export.jsonl", "x.reason.json", "day.csv.jsonl"])
def test_a_whole_file_named_like_our_own_records_is_kept_apart_from_them(
    tmp_path: Path, name: str
) -> None:
    landed = tmp_path / "landing" / name
    landed.parent.mkdir()
    landed.write_bytes(b'{"user": "u12"}\n{"user": "u13"}\n')
    quarantine = Quarantine(tmp_path / "quarantine")
    target = quarantine.file(landed, "no table")
    assert target.read_bytes() == b'{"user": "u12"}\n{"user": "u13"}\n'
    assert quarantine.counts().files == {"no table": 1}
    assert quarantine.counts().rows == {}
    assert quarantine.forget({"u12"}) == 1
    assert target.read_bytes() == b'{"user": "u13"}\n'
