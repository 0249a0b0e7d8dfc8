"""Killed with SIGKILL at each of its steps and started again, a night ends as an undisturbed one.

The night that is killed is a workspace's second: it takes in late and new rows, refuses a file,
erases two people, keeps another out of training, has a blocked erasure to leave alone, and replaces
the champion. The whole process group is killed, so nothing can tidy up, as soon as a step says that
it begins; and once more in the middle of each step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lethe.durable import read_json
from lethe.nights.saying.events import STEPS
from lethe.solutions.factors import artifact_digest
from tests.nights import shop
from tests.nights.conftest import Place, Saved
from tests.nights.warm import Warm

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("nothing_runs_on")]

RUNS = """
SELECT status, count(*) FROM runs r WHERE lifecycle_stage = 'active' AND {} EXISTS
(SELECT 1 FROM tags t WHERE t.run_uuid = r.run_uuid AND t.key = 'mlflow.parentRunId')
GROUP BY status"""
TAGS = "SELECT key, value FROM model_version_tags WHERE version = 2 AND key <> 'night'"
REFUSED_A_FILE = 2


@pytest.fixture(scope="module")
def eve(first_night: Saved) -> Saved:
    """The eve of the second night: requests entered, a new day landed."""
    place = first_night.restore()
    place.ask("erase", shop.ERASED, shop.HASTY)
    place.ask("object", shop.OBJECTING)
    place.ask("restrict", shop.HELD)
    place.ask("erase", shop.HELD)
    rows = shop.bought(30, 1, 1.0, seed=2)
    broken = (shop.ERASED, "item-001", -5)
    shop.export(place.landing / "2025-03-31.csv.gz", [*rows, broken])
    cut_off = shop.export(place.landing / "cut-off.csv.gz", shop.rows_of(shop.ERASED, 30))
    cut_off.write_bytes(cut_off.read_bytes()[:-9])
    shop.catalogue(place.landing)
    return first_night.keep("eve-of-the-second-night")


@pytest.fixture(scope="module")
def undisturbed(eve: Saved, warm: Warm) -> dict[str, Any]:
    """What the second night comes to when nobody kills it."""
    place = eve.restore()
    night = warm.start(place.root, "night")
    assert night.exit_status() == REFUSED_A_FILE, night.progress()
    facts = outcome(place)
    assert facts["champion"] == 2
    assert facts["runs"]["nights"] == [("FINISHED", 2)]
    assert facts["removed"][0] > 0
    assert facts["told"]["intake"]["rows_new"] > 0
    assert facts["told"]["purge"]["rows"] == facts["removed"][0] + facts["removed"][1]
    assert facts["requests"] == [
        ("ERASE", "closed"), ("ERASE", "closed"), ("OBJECT", "closed"),
        ("RESTRICT", "closed"), ("ERASE", "blocked"),
    ]  # fmt: skip
    return {**facts, "timings": place.told()["timings"]}


def outcome(place: Place) -> dict[str, Any]:
    """All that must not depend on a kill: what was learned, kept, removed, promoted and told."""
    register, told, champion = place.register(), place.told(), place.alias("champion")
    assert champion is not None
    requests = register.requests()
    catalogue = read_json(place.state / "catalogue.json")["versions"]
    runs = {
        kind: sorted(place.mlflow(RUNS.format(word)))
        for kind, word in (("nights", "NOT"), ("trials", ""))
    }
    return {
        "champion": champion,
        "challenger": place.alias("challenger"),
        "artifact": artifact_digest(place.solution(champion)),
        "manifest": place.manifest(champion),
        "versions": place.versions(),
        "logged models": place.mlflow("SELECT count(*) FROM logged_models"),
        "promotions": [
            (p.intent.version, p.intent.previous_champion, p.state) for p in register.promotions()
        ],
        # MLflow's own file beside the solution holds the time and a random name.
        "tags": {
            k: v
            for k, v in place.mlflow(TAGS)
            if k not in {"certificate_digest", "artifact_digest"}
        },
        "requests": [(str(state.entry.action), state.state) for state in requests],
        "removed": [state.rows_removed for state in requests],
        "evidence": sorted(path.name for path in place.state.glob("evidence/request-*")),
        "told on evidence pages": [
            (record["closed"], [record["removed"][name] for name in ("rows", "versions")])
            for record in map(read_json, place.state.glob("evidence/night-*.json"))
        ],
        "catalogue": [entry["digest"] for entry in catalogue],
        "held": sorted(path.name for path in place.root.glob(".dvc/cache/files/md5/*/*")),
        "pushed": sorted(path.name for path in place.root.glob(".lethe/remote/files/md5/*/*")),
        "last night": read_json(place.state / "last-night.json"),
        "runs": runs,
        "vault": place.vault().count(),
        "quarantine": sorted(path.name for path in (place.root / "data/quarantine").iterdir()),
        "told": {key: told[key] for key in ("intake", "winner", "quality", "comparisons")}
        | {"purge": {k: v for k, v in told["purge"].items() if k != "shards_rewritten"}}
        | {"data": {k: v for k, v in told["data"].items() if k != "created"}}
        | {"split": {k: v for k, v in told["split"].items() if k != "changed"}}
        | {"outcome": told["night"]["outcome"], "was": told["night"]["champion"]}
        | {"trials": [(t["recipe"], t["number"], t["value"]) for t in told["trials"]]}
        | {"board": [(row["name"], row["mean"]) for row in told["leaderboard"]]},
        "pages": sorted(path.name for path in place.state.glob("reports/version-*.html")),
    }


def leavings(place: Place) -> list[str]:
    """What a night must not leave behind: half-written files, private folders, notes, locks."""
    left = [path for path in place.root.rglob("*") if path.name.endswith(".part")]
    left += (place.state / "tmp").iterdir()
    left += (path for path in place.landing.iterdir())
    left += (path for path in (place.state / "experiments").glob("*") if path.is_dir())
    notes = ("night.json", "stage-error.json")
    left += (place.state / name for name in notes if (place.state / name).exists())
    locks = place.root / ".dvc" / "tmp" / "rwlock"
    if locks.exists() and any(read_json(locks).values()):
        left.append(locks)
    return [path.relative_to(place.root).as_posix() for path in left]


def check(place: Place, undisturbed: dict[str, Any]) -> None:
    """One fact after the other, so that a failure names what a kill changed."""
    found = outcome(place)
    for name, value in found.items():
        assert value == undisturbed[name], name
    assert leavings(place) == []


def begins(number: int) -> str:
    """What a night says when it comes to a step."""
    return f"{number}/{len(STEPS)} {STEPS[number - 1]:<8} begins"


def end(place: Place, warm: Warm, undisturbed: dict[str, Any]) -> None:
    """Start the night again and compare."""
    again = warm.start(place.root, "night")
    assert again.exit_status() == REFUSED_A_FILE, again.progress()
    assert "taken up again" in again.progress()
    check(place, undisturbed)


@pytest.mark.parametrize("number", range(1, len(STEPS) + 1))
def test_a_night_killed_as_a_step_begins_ends_as_an_undisturbed_one(
    number: int, eve: Saved, undisturbed: dict[str, Any], warm: Warm
) -> None:
    place = eve.restore()
    night = warm.start(place.root, "night")
    night.wait_for(begins(number))
    night.kill()
    end(place, warm, undisturbed)


@pytest.mark.parametrize("seed", [1])
def test_a_night_killed_in_the_middle_of_every_step_ends_as_an_undisturbed_one(
    seed: int, eve: Saved, undisturbed: dict[str, Any], warm: Warm
) -> None:
    """One night, killed ten times: at a random moment of each step but the report, in order."""
    draw = np.random.default_rng(seed)
    place = eve.restore()
    for number, step in enumerate(STEPS[:-1], start=1):
        night = warm.start(place.root, "night")
        night.wait_for(begins(number))
        night.live(draw.uniform(0.1, 0.9) * undisturbed["timings"][step], begins(number + 1))
        night.kill()
    end(place, warm, undisturbed)


def test_a_night_whose_data_stage_outlives_it_ends_as_an_undisturbed_one(
    eve: Saved, undisturbed: dict[str, Any], warm: Warm
) -> None:
    """Only the night's own process dies, as when memory runs out: what it started runs on."""
    place = eve.restore()
    night = warm.start(place.root, "night")
    night.wait_for(begins(2))
    night.live(0.5 * undisturbed["timings"]["purge"], begins(3))
    night.kill(alone=True)
    end(place, warm, undisturbed)
