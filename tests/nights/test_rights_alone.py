"""Where nothing came but requests of rights, the champion's setting is trained anew, unsearched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lethe.durable import read_json, write_json
from lethe.estate.workspace import Workspace
from lethe.nights import steps
from lethe.nights.frame import Night
from lethe.nights.learning.tuning import Tuned
from lethe.nights.memory import last_night
from lethe.stages import opening
from tests.fakes.night_desk import PARAMS
from tests.nights import shop
from tests.nights.conftest import Saved

TRIALS = """
SELECT count(*) FROM tags t JOIN runs r ON r.run_uuid = t.value
WHERE t.key = 'mlflow.parentRunId' AND r.name LIKE 'night %'"""
MADE = ("recipe", "hyperparameters", "seed", "definition")


@pytest.mark.timeout(300)
def test_an_erasure_is_closed_by_a_night_without_a_search_and_new_rows_are_searched_again(
    first_night: Saved,
) -> None:
    place = first_night.restore()
    assert place.users(1) >= {place.first_life(shop.ERASED)}
    before = place.mlflow(TRIALS)
    old, best = place.manifest(1), read_json(place.state / "last-night.json")["best"]
    place.ask("erase", shop.ERASED)
    said = place.run("night")
    assert "nothing new but requests: the champion's setting was trained anew" in said
    told, new = place.told(), place.manifest(2)
    assert {name: new[name] for name in MADE} == {name: old[name] for name in MADE}
    assert new["matrix_digest"] != old["matrix_digest"]
    assert place.alias("champion") == 2
    assert place.first_life(shop.ERASED) not in place.users(2)
    assert [state.state for state in place.register().requests()] == ["closed"]
    assert told["certificate"]["verdict"] == "VERIFIED"
    assert (told["quality"]["searched"], told["trials"]) == (False, [])
    assert {row["name"] for row in told["leaderboard"]} == {"champion", "popular", "item_knn"}
    assert place.mlflow(TRIALS) == before
    assert read_json(place.state / "last-night.json")["best"] == best
    assert "nothing new since version 2" in place.run("night")

    place.ask("erase", shop.HASTY)
    shop.export(place.landing / "2025-03-31.csv.gz", shop.bought(30, 1, 1.0, seed=2))
    place.run("night")
    assert place.told()["quality"]["searched"]
    assert place.mlflow(TRIALS) > before


@pytest.fixture
def shop_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A workspace whose version 3 came of a search; what the night finds can be changed."""
    room = Workspace(tmp_path)
    room.interactions.mkdir(parents=True)
    room.state.mkdir()
    found: dict[str, Any] = {"taken": ["a"], "shards": {}, "register_position": 1}
    found |= {"register_head": "c" * 64, "champion": 3, "params": PARAMS}
    monkeypatch.setattr(opening, "open_params", lambda *_: found["params"])
    monkeypatch.setattr(
        steps, "_desk", lambda _: SimpleNamespace(champion=lambda: found["champion"])
    )
    monkeypatch.setattr(steps, "say", lambda *_: None)

    def night(**changes: Any) -> Night:
        found.update(changes)
        write_json(room.interactions / "manifest.json", {**found, "params": None})
        write_json(room.journal, {})
        return Night(str(tmp_path), "of a day", 0, resumed=False)

    return night


def promoted(night: Night, *tuned: Tuned) -> None:
    best = {one.recipe: one.hyperparameters for one in tuned}
    last_night.remember(night.workspace, night.params(), 3, best)


ALS = Tuned("als", "a study", {"factors": 8}, 0.2, 4, 0, 0)


def test_the_first_night_and_one_after_an_older_lethe_search(shop_of: Callable[..., Night]) -> None:
    night = shop_of()
    assert steps.must_search(night)
    write_json(night.workspace.last_night, {"key": "k", "champion": 3, "best": {}})
    assert steps.must_search(night)


@pytest.mark.parametrize(
    ("changes", "searches"),
    [
        ({"register_position": 9, "register_head": "d" * 64, "shards": {"b0": 1}}, False),
        ({"taken": ["a", "b"]}, True),
        ({"champion": 2}, True),
        ({"champion": None}, True),
        ({"params": PARAMS.model_copy(update={"seed": 1})}, True),
    ],
    ids=["requests", "rows", "another champion", "no champion", "settings"],
)
def test_only_requests_alone_need_no_search(
    changes: dict[str, Any], searches: bool, shop_of: Callable[..., Night]
) -> None:
    promoted(shop_of(), ALS)
    assert steps.must_search(shop_of(**changes)) is searches


def test_a_killed_night_goes_on_as_it_began_and_a_refused_one_is_followed_by_a_search(
    shop_of: Callable[..., Night],
) -> None:
    promoted(shop_of(), ALS)
    night = shop_of()
    assert not steps.must_search(night)
    assert not steps.must_search(night), "the journal of a killed night is still there"
    assert steps.must_search(shop_of()), "the journal went, and nothing was promoted"
    promoted(night, ALS)
    assert not steps.must_search(shop_of())


def test_rows_that_land_while_a_killed_night_waits_are_searched(
    shop_of: Callable[..., Night],
) -> None:
    promoted(shop_of(), ALS)
    night = shop_of()
    assert not steps.must_search(night)
    journal = read_json(night.workspace.journal)
    later = shop_of(taken=["a", "b"])
    write_json(later.workspace.journal, journal)
    assert steps.must_search(later)


def test_a_night_without_a_search_keeps_what_the_searches_before_it_found_best(
    shop_of: Callable[..., Night],
) -> None:
    night = shop_of()
    promoted(night, ALS)
    promoted(night)
    assert last_night.best(night.workspace, "als") == {"factors": 8}
