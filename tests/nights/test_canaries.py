"""Canaries in real nights: a night that nobody asked anything of is proved all the same."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
import yaml

from lethe.durable import read_json
from lethe.estate.canaries import planting
from lethe.estate.canaries.roll import Canaries, Plan
from lethe.estate.workspace import Workspace
from lethe.stages import opening, reproducing
from tests.nights import shop
from tests.nights.conftest import Place, Saved

pytestmark = pytest.mark.timeout(300)


def canaries(place: Place) -> Canaries:
    return Canaries(place.state / "canaries.json", place.keys())


def planned(place: Place) -> Plan:
    workspace = Workspace(place.root)
    return reproducing.plan_canaries(workspace, opening.open_params(workspace), due=False)


def carry_out(place: Place, plan: Plan) -> None:
    workspace = Workspace(place.root)
    reproducing.carry_out(workspace, opening.open_params(workspace), plan)


def als_alone(place: Place) -> None:
    path = place.root / "params.yaml"
    settings = yaml.safe_load(path.read_text())
    del settings["tuning"]["recipes"]["lightfm"]
    path.write_text(yaml.safe_dump(settings))


@pytest.fixture(scope="module")
def second(first_night: Saved) -> dict[str, Any]:
    """A second night after a day on which nobody asked for anything, and what it left."""
    place = first_night.restore()
    first = place.told()
    als_alone(place)
    shop.export(place.landing / "2025-03-31.csv.gz", shop.bought(30, 1, 1.0, seed=2))
    said = place.run("night")
    status = place.json("status")
    return {
        "said": said,
        "first": first,
        "told": place.told(),
        "champion": place.alias("champion"),
        "users": place.users(2),
        "counters": canaries(place).counters(),
        "names": canaries(place).pseudonyms(),
        "ids": canaries(place).ids(0, 3),
        "closed": place.register().canaries(),
        "listed": place.json("requests")["requests"],
        "status": status,
        "vault": place.vault().by_tombstone(canaries(place).tombstones(0, 3)),
        "evidence": list((place.state / "evidence").glob("*")),
        "landing": list(place.landing.iterdir()),
        "manifest": read_json(place.root / "data/interactions/manifest.json"),
        "versions": place.versions(),
    }


def layer(told: dict[str, Any], name: str) -> dict[str, Any]:
    return next(found for found in told["certificate"]["layers"] if found["layer"] == name)


def test_a_night_that_nobody_asked_anything_of_is_proved_by_erased_canaries(
    second: dict[str, Any],
) -> None:
    assert second["champion"] == 2
    assert second["counters"] == (3, 1)
    found = layer(second["told"], "contribution")
    assert found["passed"]
    assert found["value"].startswith("1 canary: a ")
    control = {entry["name"]: entry for entry in found["controls"]}
    assert control["living canaries pretended erased, a above 0.5"]["found"].startswith("2 of 2")
    assert len(second["users"] & second["names"]) == 2


def test_their_erasures_are_carried_out_and_closed_and_nobody_is_told(
    second: dict[str, Any],
) -> None:
    [state] = second["closed"]
    assert (state.state, state.rows_removed) == ("closed", 15)
    assert state.evidence == second["told"]["certificate"]["digest"]
    assert second["listed"] == second["evidence"] == second["landing"] == []
    assert second["told"]["requests"]["rows"] == []
    counts = second["status"]["requests"]
    assert set(counts.values()) == {0}
    retired = second["told"]["retired"]
    assert (retired["closed"], retired["not_found"], retired["waiting"]) == (0, 0, 0)
    assert len(second["vault"]) == 2, "the vault forgot the one that left"


def test_older_copies_that_hold_only_erased_canaries_stay(second: dict[str, Any]) -> None:
    assert second["versions"] == [1, 2]
    assert len(second["status"]["data_versions"]) == 2
    assert second["told"]["retired"]["champion_holds_erased"] is False


def test_no_count_and_no_metric_knows_of_them(second: dict[str, Any]) -> None:
    history, day = set(shop.history()), set(shop.bought(30, 1, 1.0, seed=2))
    for told, rows in ((second["first"], history), (second["told"], history | day)):
        assert (told["data"]["users"], told["data"]["rows"]) == (100, len(rows))
        assert (told["split"]["users"], told["split"]["rows"]) == (100, len(rows))
        assert sum(told["split"]["windows"].values()) == len(rows)
        assert told["split"]["canaries"] == 2
        assert told["certificate"]["users"] == 100
    intake, purge = second["told"]["intake"], second["told"]["purge"]
    assert (intake["files_new"], intake["rows_read"], intake["rows_new"]) == (1, len(day), len(day))
    assert (purge["asked"], purge["users"], purge["rows"]) == (0, 0, 0)
    assert (second["manifest"]["users"], second["manifest"]["rows"]) == (100, len(history | day))


def test_no_canary_is_in_what_a_night_says(second: dict[str, Any]) -> None:
    said = second["said"] + str(second["told"])
    assert not [name for name in {*second["names"], *second["ids"]} if name in said]


def test_canaries_alone_make_no_new_night(first_night: Saved) -> None:
    place = first_night.restore()
    assert planned(place) == Plan()
    again = gzip.compress(gzip.decompress(_export(place, "again", shop.history())), 1)
    (place.landing / "again.csv.gz").write_bytes(again)
    assert planned(place) == Plan(), "rows that are there already are nothing new"
    _export(place, "day", shop.rows_of(shop.BYSTANDER, 30.5))
    assert planned(place).leaving == (0, 1)
    place.ask("erase", shop.LATE)
    (place.landing / "day.csv.gz").unlink()
    assert planned(place).leaving == (0, 1), "a request alone makes a new night"


def _export(place: Place, name: str, rows: list[shop.Row]) -> bytes:
    return shop.export(place.landing / f"{name}.csv.gz", rows).read_bytes()


def test_a_kill_between_register_and_landing_changes_nothing_in_the_end(
    first_night: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for killed in (None, "land", "note"):
        place = first_night.restore()
        _export(place, "day", shop.bought(30, 1, 1.0, seed=2))
        plan = planned(place)
        if killed:
            with monkeypatch.context() as patch:
                owner: Any = planting if killed == "land" else Canaries
                patch.setattr(owner, killed, _die)
                with pytest.raises(KeyboardInterrupt):
                    carry_out(place, plan)
            assert place.register().head().position == 1
        for _ in range(2):
            carry_out(place, plan)
        landed = (place.landing / "day.canaries.csv.gz").read_bytes()
        ends.append((place.register().head(), canaries(place).counters(), landed))
    assert ends[0] == ends[1] == ends[2]
    assert ends[0][1] == (3, 1)


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_request_for_the_reason_of_canaries_is_refused(first_night: Saved) -> None:
    place = first_night.restore()
    said = place.run("erase", "--reason", "canary", ids=f"{shop.LATE}\n", exits=2)
    assert "kept for canaries" in said
    assert shop.LATE not in said
    assert place.register().head().position == 0


def test_switched_off_all_of_them_leave(first_night: Saved) -> None:
    place = first_night.restore()
    document = yaml.safe_load((place.root / "params.yaml").read_text())
    document["canaries"] = {"share": 0}
    (place.root / "params.yaml").write_text(yaml.safe_dump(document))
    _export(place, "day", shop.bought(30, 1, 1.0, seed=2))
    assert planned(place) == Plan((0, 2), (2, 2))
