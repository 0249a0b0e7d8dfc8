"""axe finds nothing to object to on the pages that Lethe writes, in light and in dark."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from lethe.reports import evidence
from lethe.reports import page as nights
from lethe.reports.audit import page as audits
from lethe.reports.studies import page as studies
from tests.browser import Page
from tests.fakes.night_report import night
from tests.reports import test_audit_page, test_evidence_page
from tests.watched import Shop

pytestmark = pytest.mark.timeout(900)  # two nights come first

ASK = """axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.map(
one => [one.id, one.impact, one.help, one.nodes.map(node => node.html.slice(0, 300))]))"""
PAGES = {
    "night": nights.render(night()),
    "empty": nights.render({}),
    "evidence": evidence.render(test_evidence_page.facts()),
    "audit": audits.render(test_audit_page.facts()),
    "studies": studies.render(night(), "Studies of a night"),
}


@pytest.fixture(scope="module")
def axe() -> str:
    """The checker, as it is installed."""
    file = resources.files("axe_core_python") / "axe.min.js"
    return file.read_text(encoding="utf-8")


def objections(page: Page, axe: str, file: Path, scheme: str) -> list[Any]:
    page.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    page.open(file.as_uri(), "Written by Lethe")
    page.run(f"{axe}; typeof axe")
    return list(page.run(ASK))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", sorted(PAGES))
def test_axe_objects_to_nothing(
    page: Page, axe: str, build: Path, tmp_path: Path, name: str, scheme: str
) -> None:
    file = tmp_path / f"{name}.html"
    file.write_text(PAGES[name], encoding="utf-8")
    found = objections(page, axe, file, scheme)
    page.picture(build / f"{name}-{scheme}.png", whole=True)

    assert found == []


def test_axe_objects_to_nothing_on_the_page_of_a_real_night(
    page: Page, axe: str, build: Path, second_night: Shop
) -> None:
    file = max((second_night.root / ".lethe" / "reports").glob("????-*.html"))
    found = objections(page, axe, file, "light")
    page.picture(build / "real-night.png", whole=True)

    assert found == []


def test_axe_would_object(page: Page, axe: str, tmp_path: Path) -> None:
    """The same page with a faint text, a table without heads and no language."""
    broken = PAGES["night"].replace('lang="en"', "").replace("--quiet: #515c6b", "--quiet: #c9ced6")
    file = tmp_path / "broken.html"
    file.write_text(broken.replace("<main>", "<div>").replace("</main>", "</div>"), "utf-8")
    found = {one[0] for one in objections(page, axe, file, "light")}

    assert {"html-has-lang", "color-contrast", "landmark-one-main"} <= found
