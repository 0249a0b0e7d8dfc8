"""What the list of runs can sort and filter by: facts of each trial, and how each night ended."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from datetime import datetime
from typing import Any

import pytest

from lethe.durable import read_json
from tests.watched import Shop

pytestmark = pytest.mark.timeout(900)  # two nights come first

FACTS = {
    "tags": "SELECT key, value FROM tags WHERE run_uuid = ?",
    "params": "SELECT key, value FROM params WHERE run_uuid = ?",
    "metrics": "SELECT key, value FROM latest_metrics WHERE run_uuid = ?",
}


@pytest.fixture(scope="module")
def runs(second_night: Shop) -> list[dict[str, Any]]:
    """Every run as MLflow keeps it, the oldest first."""
    database = second_night.root / ".lethe" / "mlflow" / "mlflow.db"
    with closing(sqlite3.connect(database)) as link:
        found = link.execute("SELECT run_uuid, name, status FROM runs ORDER BY start_time")
        return [
            {"name": name, "status": status, "id": number}
            | {kind: dict(link.execute(query, (number,))) for kind, query in FACTS.items()}
            for number, name, status in found.fetchall()
        ]


def nested(runs: list[dict[str, Any]], parent: dict[str, Any]) -> list[dict[str, Any]]:
    return [run for run in runs if run["tags"].get("mlflow.parentRunId") == parent["id"]]


def nights(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [run for run in runs if run["name"].startswith("night ")]


def test_every_trial_tells_on_what_how_split_with_which_seed_how_long_and_how_it_ended(
    runs: list[dict[str, Any]], second_night: Shop
) -> None:
    for night in nights(runs):
        trials = nested(runs, night)
        assert len(trials) == 2
        for trial in trials:
            assert trial["tags"]["data_version"] == night["tags"]["data_version"]
            assert trial["tags"]["outcome"] in {"complete", "pruned", "failed"}
            assert trial["params"]["seed"] == night["params"]["seed"]
            assert trial["params"]["split"] == night["params"]["split"]
            assert trial["metrics"]["seconds"] > 0
            assert trial["metrics"]["iterations"] == 4
    cuts = read_json(second_night.root / "data" / "training" / "snapshot.json")["cuts"]
    told = nights(runs)[-1]["params"]["split"]
    moments = re.findall(r"(validation|test) from ([-0-9]+T[:0-9]+Z)", told)
    assert told.startswith("by time: ")
    seconds = {window: datetime.fromisoformat(moment).timestamp() for window, moment in moments}
    assert seconds == cuts


def test_a_refused_night_is_finished_and_says_that_it_was_refused(
    runs: list[dict[str, Any]],
) -> None:
    ended = [(run["status"], run["tags"]["outcome"]) for run in nights(runs)]

    assert ended == [("FINISHED", "promoted"), ("FINISHED", "refused")]


def test_no_run_holds_a_pseudonym(runs: list[dict[str, Any]], second_night: Shop) -> None:
    users = second_night.root.rglob("solution/users.txt")
    people = {name for path in users for name in path.read_text().split()}
    told = json.dumps(runs)

    assert len(people) > 40
    assert people & set(re.findall(r"[0-9a-f]{32}", told)) == set()
