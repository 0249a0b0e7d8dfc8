"""`lethe audit` through the door: a page and a run's artifact, nobody named, nothing changed."""

from __future__ import annotations

from pathlib import Path

from lethe.durable import locked, read_json
from lethe.estate.stores import undeclared
from lethe.estate.workspace import Workspace
from tests.nights.conftest import Saved
from tests.nights.shop import CUSTOMERS, OBJECTING, customer


def test_an_audit_beside_a_night_reports_names_nobody_and_changes_nothing(
    first_night: Saved,
) -> None:
    place = first_night.restore()
    place.ask("object", OBJECTING)
    before = (place.alias("champion"), place.versions(), place.register().head())
    with locked(place.state / "night.lock", wait_seconds=0.0):
        said = place.run("audit", "--shadows", "4", "--targets", "60")

    assert "shadow model 4/4" in said
    assert "a report, not a gate" in said
    assert (place.alias("champion"), place.versions(), place.register().head()) == before
    pages = sorted(place.state.glob("reports/audit-*.html"))
    facts = read_json(pages[0].with_suffix(".json"))
    assert (facts["people"], facts["targets"]) == (CUSTOMERS - 1, 60)
    logged = list(Path(place.state / "mlflow").rglob("audit-*.html"))
    assert [page.read_text() for page in logged] == [pages[0].read_text()]
    told = said + "".join(path.read_text() for path in place.state.glob("reports/audit-*"))
    people = [customer(number) for number in range(CUSTOMERS)]
    champion = before[0]
    assert champion is not None
    assert not any(name in told for name in (*people, *place.users(champion)))
    assert undeclared(Workspace(place.root)) == ()
    assert [path for path in (place.state / "experiments").iterdir() if path.is_dir()] == []
