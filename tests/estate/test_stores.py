"""Whatever a night writes lies in a declared store, and what lies elsewhere is told."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

from lethe.estate.search import Needles, search
from lethe.estate.stores import STORES, files_of, links_of, undeclared
from lethe.estate.workspace import Workspace
from tests.watched import Shop

BESIDE = {"params.yaml", "dvc.yaml", "dvc.lock", ".dvcignore", ".gitignore"}


def test_every_file_that_a_night_writes_is_declared(small_night: Shop) -> None:
    workspace = Workspace(small_night.root)
    assert undeclared(workspace) == ()
    assert not [link for store in STORES for link in links_of(workspace, store)]
    top = {path.name for path in small_night.root.iterdir() if path.is_file()}
    assert top <= BESIDE
    folders = {path.name for path in small_night.root.iterdir() if path.is_dir()}
    assert folders == {"data", ".dvc", ".lethe"}


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
