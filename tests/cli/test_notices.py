"""At once after a request: nobody serves the person, and recipients must be told."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.door import Door, Ended
from tests.watched import Shop


@pytest.fixture(scope="module")
def shop(shop: Shop) -> Shop:
    """A shop that gives its people's data to a printer and to a mailer."""
    params = shop.root / "params.yaml"
    text = params.read_text()
    params.write_text(re.sub("(?m)^recipients:.*$", "recipients: [A printer, The mailer]", text))
    assert params.read_text() != text
    return shop


@pytest.fixture(scope="module")
def people(shop: Shop) -> list[tuple[str, str]]:
    """Ids and pseudonyms of shoppers whom the champion was trained on."""
    [users] = (shop.root / ".lethe" / "mlflow").rglob("solution/users.txt")
    with closing(sqlite3.connect(shop.root / ".lethe" / "vault.db")) as link:
        known = dict(link.execute("SELECT pseudonym, id FROM people"))
    return [(known[name], name) for name in users.read_text().split() if name in known]


def lethe(door: Door, shop: Shop, *arguments: str, text: str = "") -> Ended:
    return door("--workspace", str(shop.root), *arguments, text=text)


def test_somebody_erased_is_served_as_a_stranger_at_once(
    shop: Shop, door: Door, people: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    import mlflow
    import pandas as pd

    (raw, name), (_, other) = people[:2]
    stranger = "0" * 32
    mlflow.set_tracking_uri(f"sqlite:///{shop.root}/.lethe/mlflow/mlflow.db")
    model = mlflow.pyfunc.load_model("models:/shop@champion")
    asked = lethe(door, shop, "--json", "erase", text=raw)
    status = lethe(door, shop, "--json", "status").json
    listed = status["suppressed"]
    assert (asked.json["suppressed"], status["notices_waiting"]) == (1, 2)
    assert listed == {
        "people": 1, "position": asked.json["register_position"], "fault": None,
        "file": str(shop.root / ".lethe" / "suppressed"),
    }  # fmt: skip
    monkeypatch.setenv("LETHE_SUPPRESSED", listed["file"])
    found = model.predict(pd.DataFrame({"user": [name, stranger, other]}))
    rows = [found[found.user == user].drop(columns="user") for user in (name, stranger, other)]
    answers = [one.to_json(orient="values") for one in rows]
    assert answers[0] == answers[1] != answers[2]

    [request] = lethe(door, shop, "--json", "requests").json["requests"]
    assert request["state"] == "suppressed"
    out = tmp_path / "answer.zip"
    assert lethe(door, shop, "access", "--out", str(out), text=raw).code == 0
    assert told(out)["suppressed"] is True
    assert [entry["item"] for entry in told(out)["recommendations"]] == rows[0]["item"].tolist()


def told(archive: Path) -> dict[str, Any]:
    import json
    import zipfile

    with zipfile.ZipFile(archive) as opened:
        return dict(json.loads(opened.read("person-0001.json")))


def test_notices_are_listed_and_recorded_as_delivered_without_an_id(
    shop: Shop, door: Door, people: list[tuple[str, str]], tmp_path: Path
) -> None:
    raw = people[0][0]
    plain, listed = lethe(door, shop, "notices"), lethe(door, shop, "--json", "notices")
    first = listed.json["notices"][0]["file"]
    assert plain.code == listed.code == 0
    assert first in plain.out
    assert "A printer" in plain.out
    scanned = lethe(door, shop, "--json", "scan", text=raw)
    assert {p["store"] for p in scanned.json["places"]} >= {"outbox", "vault"}

    refusals = [
        lethe(door, shop, "notices", "sent"),
        lethe(door, shop, "notices", "sent", first, "--all"),
        lethe(door, shop, "notices", "sent", first, "notice-9-nobody.json"),
    ]
    assert [ended.code for ended in refusals] == [2, 2, 2]
    one = lethe(door, shop, "--json", "notices", "sent", first)
    assert (one.json["delivered"], one.json["waiting"]) == (1, 1)
    assert "1 notices wait in the outbox" in lethe(door, shop, "status").out
    assert lethe(door, shop, "notices", "sent", "--all").code == 0
    assert lethe(door, shop, "notices", "sent", "--all").code == 2
    assert lethe(door, shop, "notices").out == "no notice waits in the outbox\n"
    after = lethe(door, shop, "--json", "scan", text=raw)
    assert "outbox" not in {place["store"] for place in after.json["places"]}
    for ended in (plain, listed, one, *refusals):
        assert raw not in ended.out + ended.err

    out = tmp_path / "answer.zip"
    assert lethe(door, shop, "access", "--out", str(out), text=raw).code == 0
    [request] = told(out)["requests"]
    assert re.fullmatch(
        r"A printer on \d{4}-\d\d-\d\d; The mailer on \d{4}-\d\d-\d\d",
        str(request["recipients_told"]),
    )


def test_a_spoiled_list_is_told_and_the_next_request_makes_it_anew(
    shop: Shop, door: Door, people: list[tuple[str, str]]
) -> None:
    path = shop.root / ".lethe" / "suppressed"
    path.write_text("spoiled")
    assert "suppressed is not a whole list" in lethe(door, shop, "status").out
    assert lethe(door, shop, "erase", text=people[0][0]).code == 0
    assert f"suppressed: 1 people, by {path}" in lethe(door, shop, "status").out
