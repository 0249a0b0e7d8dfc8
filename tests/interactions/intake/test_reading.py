"""Files as they land: nothing changes silently, and nothing is lost."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import BadConfiguration, BadFile
from lethe.interactions.columns import canonical_ids
from lethe.interactions.intake.reading import read_attributes, read_interactions, survey
from lethe.interactions.intake.rules import IntakeRules, LandedFile
from lethe.interactions.intake.verdicts import Verdicts
from lethe.interactions.rights.identity import canonical_id, id_fault
from tests.interactions.intake.landed import DATA, GOOD, HEADER, land, lenient, only, read, refusal


def test_a_personalize_export_loads_without_configuration(tmp_path: Path) -> None:
    land(tmp_path, HEADER + GOOD + "u2,i2,1001,,,\n")
    table, dropped, refused = read(tmp_path)
    assert table.to_pylist()[1] == {
        "user": "u2",
        "item": "i2",
        "timestamp": 1001,
        "event_type": "interaction",
        "event_value": None,
        "impressions": None,
        "event_id": None,
    }
    assert not dropped
    assert not refused


@pytest.mark.parametrize(
    "text", ["00123", "1e5", "NA", "null", "None", "1234567890123456789", "-0"]
)
def test_an_id_stays_the_text_that_it_is(tmp_path: Path, text: str) -> None:
    land(tmp_path, HEADER + f"{text},{text},1000,view,1,\n,i,1000,view,1,\n")
    table, _, refused = read(tmp_path)
    assert table.column("user").to_pylist() == [text]
    assert table.column("item").to_pylist() == [text]
    assert refused == {2: "user: blank id"}


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (",i,1000,view,1,e", "user: blank id"),
        ("u,  ,1000,view,1,e", "item: blank id"),
        ("u,i,,view,1,e", "timestamp: blank"),
        ("u,i,soon,view,1,e", "timestamp: not a whole number of seconds"),
        ("u,i,12.5,view,1,e", "timestamp: not a whole number of seconds"),
        ("u,i,-5,view,1,e", "timestamp: negative"),
        ("u,i,1700000000000,view,1,e", "timestamp: from 2100 on, probably milliseconds"),
        ("u,i,99999999999999999999999,view,1,e", "timestamp: not a whole number of seconds"),
        ("u,i,1000,view,NaN,e", "event value: not finite"),
        ("u,i,1000,view,-inf,e", "event value: not finite"),
        ("u,i,1000,view,1e999,e", "event value: not finite"),
        ("u,i,1000,view,many,e", "event value: not a number"),
        ("u\u200b,i,1000,view,1,e", "user: a zero-width or format character in the id"),
        ("u,i\x07,1000,view,1,e", "item: a control character in the id"),
        ("u" * 257 + ",i,1000,view,1,e", "user: an id of more than 256 bytes"),
        ("ü" * 129 + ",i,1000,view,1,e", "user: an id of more than 256 bytes"),
        ("u,i,1000,view,1,e\u200b", "event id: control or zero-width character"),
        ("u,i,1000,view,1,e,more", "7 fields where the header has 6"),
        ("u,i,1000", "3 fields where the header has 6"),
        ('u,"i,1000,view,1,e', "a quote is not closed on its line"),
        ("u,i,10\r00,view,1,e", "a carriage return inside a line"),
    ],
)
def test_a_faulty_row_is_refused_by_name_and_its_neighbours_stay(
    tmp_path: Path, line: str, rule: str
) -> None:
    land(tmp_path, HEADER + GOOD + line + "\n" + 'u3,i3,1002,view,2,"e3"\n')
    table, _, refused = read(tmp_path)
    assert refused == {2: rule}
    assert table.column("user").to_pylist() == ["u1", "u3"]
    batch = next(read_interactions(only(tmp_path), IntakeRules()))
    assert batch.refused[0].line == line
    assert line not in repr(batch)


def test_two_unclosed_quotes_do_not_swallow_the_rows_between_them(tmp_path: Path) -> None:
    land(tmp_path, HEADER + GOOD + 'u2,"i2,1,view,1,e\n' + GOOD + 'u3,"i3,1,view,1,e\n' + GOOD)
    table, _, refused = read(tmp_path)
    assert table.num_rows == 3
    assert sorted(refused) == [2, 4]


def test_quotes_that_close_may_hold_delimiters_and_quotes(tmp_path: Path) -> None:
    land(tmp_path, HEADER + '"u,1","i ""x""",1000,view,1,\nu2,7" disc,1000,view,1,\n')
    table, _, refused = read(tmp_path)
    assert table.column("user").to_pylist() == ["u,1", "u2"]
    assert table.column("item").to_pylist() == ['i "x"', '7" disc']
    assert not refused


def test_blank_lines_are_counted_and_crlf_is_a_line_end(tmp_path: Path) -> None:
    land(tmp_path, HEADER + GOOD.replace("\n", "\r\n") + "\n\n,i,1,view,1,\n" + GOOD.rstrip("\n"))
    table, dropped, refused = read(tmp_path)
    assert dropped == {"blank line": 2}
    assert sorted(refused) == [4]
    assert table.num_rows == 2


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "zero bytes"),
        (HEADER.replace("EVENT_ID", "EVENT_TYPE").encode() + b"\n", "names a column twice"),
        (b"USER_ID,ITEM_ID\nu,i\n", "interactions: column TIMESTAMP is missing"),
        (b"USER_ID,ITEM_ID\nu,i\n", "items: column USER_ID does not belong in it"),
        (b"a,,c\n", "blank or unprintable name"),
        (HEADER.encode("utf-16"), "it is not utf-8 text"),
    ],
)
def test_a_faulty_header_refuses_the_file(tmp_path: Path, content: bytes, rule: str) -> None:
    land(tmp_path, content)
    assert rule in refusal(tmp_path)


def test_a_file_with_users_and_items_never_becomes_an_attribute_table(tmp_path: Path) -> None:
    """The mutant without this rule put raw user ids into items.parquet."""
    land(tmp_path, "ITEM_ID,USER_ID,COLOUR\ni1,u1,red\n", "items.csv")
    assert "does not belong in it" in refusal(tmp_path)


def test_a_truncated_gzip_is_refused_whole(tmp_path: Path) -> None:
    lines = "".join(f"u{i * 7919 % 99991},i{i},{i},view,,\n" for i in range(20_000))
    whole = gzip.compress((HEADER + lines).encode())
    land(tmp_path, whole[: len(whole) // 2], "day.csv.gz")
    with pytest.raises(BadFile, match=r"day\.csv\.gz: its gzip stream is cut short"):
        read(tmp_path)
    land(tmp_path, whole, "day.csv.gz")
    assert read(tmp_path)[0].num_rows == 20_000


def test_a_gzip_of_nothing_and_a_file_that_is_no_gzip_are_refused(tmp_path: Path) -> None:
    land(tmp_path, gzip.compress(b""), "day.csv.gz")
    assert refusal(tmp_path) == "zero bytes"
    land(tmp_path, b"USER_ID,ITEM_ID,TIMESTAMP\n", "day.csv.gz")
    assert "gzip" in refusal(tmp_path)


def test_wrong_encoding_refuses_the_file_and_the_right_one_reads_it(tmp_path: Path) -> None:
    land(tmp_path, (HEADER + GOOD * 4_000 + "Zoë,i,1000,view,1,\n").encode("latin-1"))
    with pytest.raises(BadFile, match="it is not utf-8 text"):
        read(tmp_path)
    rules = IntakeRules.model_validate({"interactions": {"encoding": "latin-1"}})
    table, _, _ = read(tmp_path, rules)
    assert table.column("user").to_pylist()[-1] == "Zoë"
    land(tmp_path, (HEADER + "Zoë,i,1000,view,1,\n").encode("latin-1"))
    assert refusal(tmp_path) == "it is not utf-8 text"


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    land(tmp_path, (HEADER + GOOD).encode("utf-8-sig"))
    assert read(tmp_path)[0].num_rows == 1


def test_a_header_alone_is_zero_rows(tmp_path: Path) -> None:
    land(tmp_path, HEADER)
    table, dropped, refused = read(tmp_path)
    assert (table.num_rows, dropped, refused) == (0, {}, {})


def test_the_caps_hold_while_decompressing(tmp_path: Path) -> None:
    land(tmp_path, gzip.compress((HEADER + GOOD * 400_000).encode()), "bomb.csv.gz")
    with pytest.raises(BadFile, match="more than 6000000 bytes when decompressed"):
        read(tmp_path, IntakeRules(maximum_file_bytes=6_000_000))
    with pytest.raises(BadFile, match="more than 1000 rows"):
        read(tmp_path, IntakeRules(maximum_rows=1000))
    land(tmp_path, HEADER.encode() + b"x" * (9 << 20), "bomb.csv.gz").rename(tmp_path / "long.csv")
    with pytest.raises(BadFile, match="a line of more than"):
        read(tmp_path)


def test_a_file_with_too_many_refused_rows_is_refused_whole(tmp_path: Path) -> None:
    land(tmp_path, HEADER + GOOD + ",i,1,view,1,\n" * 2)
    with pytest.raises(BadFile, match="2 of 3 rows refused"):
        read(tmp_path)
    assert len(read(tmp_path, lenient())[2]) == 2


def test_a_side_car_must_state_the_digest(tmp_path: Path) -> None:
    path = land(tmp_path, HEADER + GOOD)
    land(tmp_path, hashlib.sha256(path.read_bytes()).hexdigest() + "  day.csv\n", "day.csv.sha256")
    assert only(tmp_path).kind == "interactions"
    path.write_text(HEADER)  # a copy that was cut off at a line end
    assert refusal(tmp_path) == "its digest is not the one in its .sha256 file"


def test_survey_sorts_by_name_and_leaves_unfinished_files_alone(tmp_path: Path) -> None:
    land(tmp_path, HEADER, "b.csv")
    land(tmp_path, "ITEM_ID,GENRE\n1,a|b\n", "a.csv")
    land(tmp_path, "USER_ID,AGE\n1,20\n", "c.tsv".replace("tsv", "csv"))
    land(tmp_path, "USER_ID\tAGE\n1\t20\n", "d.tsv")
    for name in (".hidden.csv", "late.csv.part", "x.sha256"):
        land(tmp_path, HEADER, name)
    (tmp_path / "folder.csv").mkdir()
    land(tmp_path, "notes", "notes.txt")
    found = survey(tmp_path, IntakeRules())
    assert [(f.name, getattr(f, "kind", None)) for f in found] == [
        ("a.csv", "items"),
        ("b.csv", "interactions"),
        ("c.csv", "users"),
        ("d.tsv", "users"),
        ("notes.txt", None),
    ]
    with pytest.raises(BadConfiguration, match="missing"):
        survey(tmp_path / "nowhere", IntakeRules())


def test_a_file_without_a_header_line_is_read_by_the_configured_one(tmp_path: Path) -> None:
    rules = IntakeRules.model_validate(
        {
            "interactions": {
                "files": ["*.data"],
                "header": ["USER_ID", "ITEM_ID", "V", "TIMESTAMP"],
            }
            | {"delimiter": "\t"},
            "items": {"files": ["*.item"], "header": ["ITEM_ID", "title"], "delimiter": "|"}
            | {"encoding": "latin-1"},
        }
    )
    land(tmp_path, "196\t242\t3\t881250949\n", "u.data")
    assert read(tmp_path, rules)[0].num_rows == 1
    (tmp_path / "u.data").unlink()
    land(tmp_path, "1|Café\n".encode("latin-1"), "u.item")
    table = read_attributes(only(tmp_path, rules), rules, "items")
    assert table.to_pylist() == [{"item": "1", "title": "Café"}]


@given(
    st.lists(st.text(max_size=12) | st.text(" aZé\u200b\u0301\x07", max_size=300), max_size=8),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_the_short_way_to_a_canonical_id_is_the_long_one(texts: list[str], fold: bool) -> None:
    verdicts = Verdicts(len(texts))
    found = canonical_ids(pa.array(texts, pa.string()), verdicts, case_fold=fold).to_pylist()
    good = [id_fault(text, fold) is None for text in texts]
    assert verdicts.kept().tolist() == good
    for text, id_, usable in zip(texts, found, good, strict=True):
        assert not usable or id_ == canonical_id(text, fold)


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=6)


@given(st.lists(st.tuples(CELL, CELL, CELL), max_size=12))
@settings(max_examples=60, deadline=None)
def test_no_row_of_any_text_is_lost_or_split(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("landing")
    lines = [",".join(cells) for cells in rows]
    land(folder, "USER_ID,ITEM_ID,TIMESTAMP\n" + "".join(f"{line}\n" for line in lines))
    batches = list(read_interactions(only(folder), lenient()))
    assert sum(batch.rows_read for batch in batches) == len(rows)
    for batch in batches:
        for row in batch.refused:
            assert row.line == lines[row.row - 1]


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
def test_the_real_exports_load() -> None:
    rules = IntakeRules()
    counts = {}
    for file in survey(DATA / "personalize-sample", rules):
        assert isinstance(file, LandedFile)
        if file.kind == "interactions":
            counts[file.name] = sum(b.table.num_rows for b in read_interactions(file, rules))
        else:
            counts[file.name] = read_attributes(file, rules, "items").num_rows
    assert counts["interactions.csv"] == 158_371
    assert counts["item-meta.csv"] > 9_000
