"""Tables of recommendations: whole rows or none, and an id is looked for where ids stand."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import ArtifactCorrupt
from lethe.estate.outward import batches, tables
from lethe.estate.outward.batches import Facts, Table
from lethe.estate.outward.tables import SCHEMA, Form, fits, rows_of, users_in, without, writer
from lethe.estate.search import Needles, search
from lethe.estate.workspace import Workspace

FORMS: tuple[Form, ...] = get_args(Form)
FACTS = Facts(3, "d" * 32, "d" * 32, 7, 10, "drop", 1_770_000_000, 0, 0)
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Cn")),
    min_size=1,
    max_size=9,
) | st.sampled_from(['"', ",", "a,b", '"a"', "NULL", "7", "1e3", " x"])
LISTS = st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=4), max_size=8)

Given = dict[str, list[str]]


def table_of(lists: Given) -> pa.Table:
    rows = [
        {"USER_ID": user, "ITEM_ID": item, "RANK": rank, "SCORE": 1 / rank}
        for user, items in lists.items()
        for rank, item in enumerate(items, start=1)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def write(path: Path, form: Form, *parts: Given) -> Path:
    with writer(path, form) as out:
        for part in parts:
            out.write_table(table_of(part))
    return path


@settings(max_examples=60, deadline=None)
@given(st.lists(LISTS, max_size=3), st.sets(NAMES, max_size=3), st.integers(1, 40), st.data())
def test_whoever_is_taken_out_is_gone_and_nobody_else_loses_or_changes_a_row(
    parts: list[Given], others: set[str], block: int, data: st.DataObject
) -> None:
    known = list(dict.fromkeys(user for part in parts for user in part))
    people = others | set(data.draw(st.lists(st.sampled_from(known)) if known else st.just([])))
    kept = [{user: items for user, items in part.items() if user not in people} for part in parts]
    for form in FORMS:
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            whole = write(Path(folder) / "whole", form, *parts)
            wanted = write(Path(folder) / "wanted", form, *kept)
            patch.setattr(tables, "_copy", small(block))
            users, rows = without(whole, form, Path(folder) / "found", people)
            found = Path(folder) / "found"
            assert users_in(whole, form) == known
            assert users_in(found, form) == [user for user in known if user not in people]
            assert list(rows_of(found, form, known)) == list(rows_of(wanted, form, known))
            assert (users, rows) == (len(set(known) - people), sum(map(rows_in, kept)))
            if form == "csv":
                assert found.read_bytes() == wanted.read_bytes()


def small(block: int) -> Any:
    """Copying in small blocks."""

    def copy(source: Any, out: Any, left: int) -> None:
        while left and (chunk := source.read(min(block, left))):
            out.write(chunk)
            left -= len(chunk)

    return copy


def rows_in(lists: Given) -> int:
    return sum(map(len, lists.values()))


def test_places_of_lines_are_found_across_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a\nbc\n\ndef\ng")
    for block in range(1, 13):
        monkeypatch.setattr(tables, "_BLOCK", block)
        assert tables._offsets(path, [1, 2, 2, 3, 4, 9]) == [2, 5, 5, 6, 10, 11]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_such_table_or_not_whole_is_refused(form: Form, tmp_path: Path) -> None:
    path = write(tmp_path / "table", form, {"ann": ["a", "b"]})
    content = path.read_bytes()
    for number, spoiled in enumerate(
        (b"", b"x", content[:-1], content[:-6], content[3:], b"ITEM_ID\n7\n")
    ):
        (broken := tmp_path / f"broken-{number}").write_bytes(spoiled)
        with pytest.raises(ArtifactCorrupt):
            users_in(broken, form)


def test_a_line_break_in_an_id_needs_parquet() -> None:
    assert fits(["a", "b,c"], "csv")
    assert not fits(["a", "b\nc"], "csv")
    assert fits(["a", "b\nc"], "parquet")


# --- the search ---------------------------------------------------------------------------------


def published(folder: Path, form: Form, lists: Given, people: set[str] = frozenset()) -> Table:  # type: ignore[assignment]
    table = Table.of(folder, 3, form)
    folder.mkdir(parents=True, exist_ok=True)
    draft = write(folder / "draft", form, lists)
    batches.publish(draft, table, FACTS, table_of({"": ["7", "hats"]}), people)
    draft.unlink()
    return table


@pytest.mark.parametrize("form", FORMS)
def test_an_id_is_found_among_the_users_and_not_among_items_ranks_and_counts(
    form: Form, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path)
    lists = {"7": ["1", "3"], "customer-12": ["customer-00000001", "7"], "a,b": ["2"]}
    published(workspace.recommendations, form, lists)

    def found(*ids: str) -> int:
        return search(workspace, Needles.of([], ids), before_closing=True).total

    assert [found(one) for one in lists] == [1, 1, 1]
    assert [found(one) for one in ("1", "2", "3", "10", "customer-1", "hats", "drop", "b")] == [
        0
    ] * 8
    assert search(workspace, Needles.of(["0" * 32], []), before_closing=True).total == 0


def test_whatever_else_lies_there_is_searched_whole(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    table = published(workspace.recommendations, "csv", {"7": ["1"]})
    assert search(workspace, Needles.of([], ["1"]), before_closing=True).total == 0
    table.path.with_name("theirs.csv").write_text("ID,ITEM\n7,1\n")
    table.path.with_name("version-3.json").write_text(json.dumps({"format": "another", "n": 1}))
    assert search(workspace, Needles.of([], ["1"]), before_closing=True).total == 2
    pseudonym = "0123456789abcdef0123456789abcde7"
    with table.path.open("a") as stream:
        stream.write(f'"{pseudonym}","x",1,1\n')
    assert search(workspace, Needles.of([pseudonym], []), before_closing=True).total == 1


# --- what stands beside a table -----------------------------------------------------------------


def test_facts_are_those_of_the_table_that_lies_there(tmp_path: Path) -> None:
    table = published(tmp_path / "out", "csv", {"ann": ["a", "b"], "bob": ["c"]}, {"bob"})
    facts = table.facts()
    assert facts is not None
    assert (facts.users, facts.rows, facts.bytes) == (1, 2, table.path.stat().st_size)
    assert [one.path for one in batches.tables(tmp_path / "out")] == [table.path]
    again = batches.take_out(table, facts, {"ann"})
    assert (again.users, again.rows, table.facts()) == (0, 0, again)
    batches.discard(table)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_has_no_table_goes_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    csv = published(tmp_path, "csv", {"ann": ["a"]})
    parquet = published(tmp_path, "parquet", {"ann": ["a"]})
    (tmp_path / "notes.txt").write_text("x")
    csv.path.unlink()
    batches.tidy(tmp_path)
    left = {parquet.path.name, parquet.popular.name, parquet.beside.name, "notes.txt"}
    assert {path.name for path in tmp_path.iterdir()} == left
