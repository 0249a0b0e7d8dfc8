"""The search looks into every store, in whatever form an id comes, and tells what it missed."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import StoreUnavailable
from lethe.estate.search import Needles, fields_of, holds, search
from lethe.estate.search.pieces import Piece
from lethe.estate.stores import STORES, Store
from lethe.estate.workspace import Workspace
from lethe.interactions.intake.quarantine import Quarantine
from lethe.interactions.intake.verdicts import RefusedRow

PSEUDONYM = "0123456789abcdef0123456789abcde7"
ID = "customer-000123"
BOTH = Needles.of([PSEUDONYM], [ID])
NOISE = "\n".join(f"{n:032x},item-{n},{n}" for n in range(400))


def text_with(name: str) -> bytes:
    return f"{NOISE}\n{name},item-7,3\n{NOISE}\n".encode()


TRUNCATED = gzip.compress(text_with("nobody"))[:-40]


# --- ids as the shop writes them ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "id_", "found"),
    [
        ("7,item,3", "7", True),
        ("x;7\n", "7", True),
        ('{"line":"7,item"}', "7", True),
        ("17,item,37", "7", False),
        ("7.5,item", "7", False),
        ('"a,b",item', "a,b", True),
        ("a,b,item", "a|b", False),
        ("xa,b,item", "a,b", False),
        ("customer12345,item", "customer1234", False),
        ("customer1234,item", "customer1234", True),
        ("José Müller,item", "José Müller", True),
    ],
)
def test_where_ids_may_lie_whole_words_and_fields_count(
    text: str, id_: str, found: bool, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    assert holds(path, Needles.of([], [id_]), fields=True)[0] is found


@pytest.mark.parametrize(
    ("text", "id_", "found"),
    [
        ("7", "7", False),  # cannot be told from a count
        ("epoch 1772366400", "17723664", False),  # nor a few digits from a part of a time
        ("sum 17723664.", "17723664", True),
        ("9f17723664123456781", "1772366412345678", True),  # so many are no accident
        ("xcustomer-1y", "customer-1", True),
        ("customer-", "customer-1", False),
    ],
)
def test_elsewhere_only_distinctive_ids_count_and_those_anywhere(
    text: str, id_: str, found: bool, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    assert holds(path, Needles.of([], [id_]), fields=False)[0] is found


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Cn")),
    min_size=1,
    max_size=12,
).filter(lambda text: text == text.strip() and text)


# Among them what stands in a record of ours: numbers of rows, and our own words.
IDS = NAMES | st.sampled_from(["0", "1", "2", "#1", "row", "rule", "line", "null", "#rule"])


@settings(max_examples=60, deadline=None)
@given(ids=st.lists(IDS, min_size=1, max_size=4), picked=st.integers(0, 3), plain=st.booleans())
def test_what_quarantine_forgot_the_search_does_not_find(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], picked: int, plain: bool
) -> None:
    """Otherwise a request could never be closed: nothing else removes a row from there."""
    folder = tmp_path_factory.mktemp("quarantine")
    lines = [f"{name},item,{n}" for n, name in enumerate(ids)] + [f'"{ids[0]}x",item,9']
    if plain:
        (folder / "abc.csv").write_text("\n".join(lines) + "\n")
    else:
        rows = [RefusedRow(n, "user: blank id", line) for n, line in enumerate(lines)]
        Quarantine(folder).rows("ab" * 32, rows)
    gone = ids[picked % len(ids)]
    Quarantine(folder).forget({gone})
    needles = Needles.of([], [gone])
    for path in folder.iterdir():
        assert not holds(path, needles, fields=True)[0]


# --- the whole estate ---------------------------------------------------------------------------


def planted(workspace: Workspace, store: Store, content: bytes, place: int = 0) -> Path:
    path = workspace.root / store.places[place]
    if not path.suffix and path.name != "config":
        path = path / "deep" / "file"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


PLACES = [(store, place) for store in STORES for place in range(len(store.places))]


@pytest.mark.parametrize(
    ("store", "place"), PLACES, ids=[f"{store.name} {place}" for store, place in PLACES]
)
def test_a_person_is_found_in_every_place_of_every_store(
    store: Store, place: int, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path)
    path = planted(workspace, store, gzip.compress(text_with(PSEUDONYM)), place)
    found = search(workspace, BOTH, before_closing=False)
    assert found.files_by_store == {store.name: 1}
    assert (found.total, found.undecoded, found.files_searched) == (1, 0, 1)
    assert found.bytes_searched == path.stat().st_size
    before = search(workspace, BOTH, before_closing=True)
    assert before.total == (0 if store.kept_until_closed else 1)
    path.write_bytes(text_with("7"))
    short = search(workspace, Needles.of([], ["7"]), before_closing=False)
    assert short.total == int(store.raw_ids)
    assert short.short_ids == 1


def test_nothing_is_found_where_nobody_was_planted(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for store, place in PLACES:
        planted(workspace, store, gzip.compress(NOISE.encode()), place)
    found = search(workspace, BOTH, before_closing=False)
    assert (found.files_by_store, found.undecoded_by_store) == ({}, {})
    assert found.files_searched == len(PLACES)
    assert search(Workspace(tmp_path / "none"), BOTH, before_closing=True).files_searched == 0


def test_names_of_files_are_searched(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for name in (f"{PSEUDONYM}.txt", f"of {ID}.txt"):
        path = workspace.mlflow / "artifacts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert search(workspace, BOTH, before_closing=True).total == 2


def test_undecoded_files_and_links_are_told_by_store(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.quarantine.mkdir(parents=True)
    (workspace.quarantine / "abc.csv.gz").write_bytes(TRUNCATED)
    workspace.reports.mkdir(parents=True)
    outside = tmp_path / "outside.txt"
    outside.write_text(PSEUDONYM)
    (workspace.reports / "link.html").symlink_to(outside)
    found = search(workspace, BOTH, before_closing=True)
    assert found.total == 0
    assert found.undecoded == 2
    assert found.undecoded_by_store == {"quarantine": 1, "reports": 1}


def test_a_place_that_the_operator_moved_elsewhere_is_searched(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    workspace = Workspace(tmp_path)
    disk = tmp_path_factory.mktemp("disk")
    (disk / "object").write_text(PSEUDONYM)
    (disk / "optuna.db").write_text(PSEUDONYM)
    workspace.state.mkdir()
    (workspace.state / "remote").symlink_to(disk)
    workspace.studies.symlink_to(disk / "optuna.db")
    found = search(workspace, BOTH, before_closing=True)
    assert found.files_by_store == {"DVC remote": 2, "studies": 1}


def test_a_file_that_cannot_be_read_stops_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    workspace.reports.mkdir(parents=True)
    (workspace.reports / "page.html").write_text("x")

    def denied(path: Path, mode: str = "r") -> io.BufferedReader:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(StoreUnavailable, match=r"store reports .* Permission denied"):
        search(workspace, BOTH, before_closing=True)


def test_a_file_that_a_tool_removes_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    workspace.reports.mkdir(parents=True)
    (workspace.reports / "page.html").write_text("x")

    def gone(path: Path, mode: str = "r") -> io.BufferedReader:
        raise FileNotFoundError(2, "No such file")

    monkeypatch.setattr(Path, "open", gone)
    assert search(workspace, BOTH, before_closing=True).files_searched == 0


def test_needles_show_nobody_when_printed() -> None:
    assert repr(BOTH) == "Needles(1 pseudonyms, 1 ids)"
    assert not Needles.of([], [])
    assert BOTH.found_in(Piece(ID.encode()), fields=True)


def test_the_fields_of_a_file_are_those_that_could_be_ids(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress('17850,"José",item 7\n'.encode() + b"x" * 300))
    found = fields_of(path)
    assert {"17850", "José", "item 7"} <= found
    assert not any(len(text.encode()) > 300 for text in found)
