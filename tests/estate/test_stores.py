"""Whatever a night writes lies in a declared store, and what lies elsewhere is told."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

from lethe.estate.search import Needles, search
from lethe.estate.stores import STORES, files_of, links_of, undeclared
from lethe.estate.workspace import Workspace
from tests.opened import lines, strays
from tests.watched import Shop, opened, run

BESIDE = {"params.yaml", "dvc.yaml", "dvc.lock", ".dvcignore", ".gitignore"}


def test_every_file_that_a_night_writes_is_declared(small_night: Shop) -> None:
    workspace = Workspace(small_night.root)
    assert undeclared(workspace) == ()
    assert not [link for store in STORES for link in links_of(workspace, store)]
    top = {path.name for path in small_night.root.iterdir() if path.is_file()}
    assert top <= BESIDE
    folders = {path.name for path in small_night.root.iterdir() if path.is_dir()}
    assert folders == {"data", ".dvc", ".lethe"}


def test_nothing_is_opened_for_writing_where_no_store_is_declared(small_night: Shop) -> None:
    written = set(lines(small_night.opened, "write"))
    assert len(written) > 300
    # Arrow and SQLite write without Python's knowing, and children write too.
    for part in ("/data/interactions/", "/.lethe/mlflow/", "/.dvc/cache/", "/.lethe/prefect/"):
        assert any(f"{small_night.root}{part}" in path for path in written)
    assert strays(small_night.opened, Workspace(small_night.root)) == []


def test_whoever_opens_a_file_elsewhere_is_told(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = """if True:
        import os, pathlib, sqlite3, sys, tempfile
        import numpy, pyarrow, pyarrow.parquet
        folder = pathlib.Path(sys.argv[1])
        (folder / "by-python").write_text("x")
        sqlite3.connect(folder / "by-sqlite").execute("CREATE TABLE people (id)")
        pyarrow.parquet.write_table(pyarrow.table({"id": [1]}), folder / "by-arrow")
        numpy.save(folder / "by-numpy.npy", numpy.zeros(1))
        os.close(tempfile.mkstemp(dir=folder, prefix="by-mkstemp")[0])
        os.rename(folder / "by-python", folder / "by-rename")
        os.system("echo x > " + str(folder / "by-a-child"))
        os.chdir(folder); open("by-a-relative-name", "w")
    """
    done = run((sys.executable, "-c", code, str(elsewhere)), tmp_path, tmp_path / "connections")
    assert done.returncode == 0, done.stderr
    told = strays(opened(tmp_path / "connections"), Workspace(tmp_path / "shop"))
    ways = {path.name for path in elsewhere.iterdir()} | {"by-python"}
    assert {Path(path).name for path in told} >= ways
    assert len(ways) > 7


def test_the_search_can_decode_all_that_a_night_writes(small_night: Shop) -> None:
    found = search(
        Workspace(small_night.root), Needles.of(["0" * 31 + "1"], []), before_closing=False
    )
    assert found.undecoded_by_store == {}
    assert found.total == 0
    assert found.files_searched > 50


def test_nobody_else_can_read_what_a_night_writes(small_night: Shop) -> None:
    opened = [
        str(path.relative_to(small_night.root))
        for path in (small_night.root / ".lethe").iterdir()
        if path.name not in {"certificates"} and path.stat().st_mode & 0o077
    ]
    assert opened == []


def test_no_place_lies_in_two_stores() -> None:
    places = [place for store in STORES for place in store.places]
    assert Counter(places).most_common(1)[0][1] == 1
    for one, other in combinations(places, 2):
        assert not Path(one).is_relative_to(other)
        assert not Path(other).is_relative_to(one)


def test_every_store_says_what_it_may_hold_and_how_it_forgets() -> None:
    assert all(store.name and store.may_hold and store.forgets for store in STORES)
    assert [store.name for store in STORES if store.kept_until_closed] == ["vault"]


def test_a_file_outside_every_store_is_told(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    strays = ("data/notes.csv", ".lethe/vault.db.bak", ".dvc/plots.json", ".lethe/new/a.txt")
    for name in (*strays, "data/landing/day.csv", "data/.gitkeep", ".lethe/tmp/anything"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert set(undeclared(workspace)) == set(strays)


def test_a_link_inside_a_store_is_no_file_of_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.reports.mkdir(parents=True)
    (workspace.reports / "page.html").write_text("x")
    (workspace.reports / "link.html").symlink_to("page.html")
    [reports] = [store for store in STORES if store.name == "reports"]
    assert [path.name for path in files_of(workspace, reports)] == ["page.html"]
    assert [path.name for path in links_of(workspace, reports)] == ["link.html"]
    assert undeclared(workspace) == (".lethe/reports/link.html",)
