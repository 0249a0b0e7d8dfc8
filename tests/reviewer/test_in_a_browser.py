"""What a reviewer finds in the MLflow UI without leaving it, in a real browser."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lethe.durable import read_json
from tests.browser import Page
from tests.listening import answers
from tests.watched import BIN, Shop, environment

pytestmark = pytest.mark.timeout(900)  # two nights come first

METRIC = "normalized_discounted_cumulative_gain_at_10"
WHY = "of its id list are"


@pytest.fixture(scope="module")
def listed(page: Page, second_night: Shop) -> Iterator[str]:
    """The address that `lethe ui` prints, with the server running."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [BIN / "lethe", "ui", "--port", str(port)], cwd=second_night.root,
        env=environment(second_night.connections), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found
        deadline = time.monotonic() + 120
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, "the MLflow UI ended by itself"
            assert time.monotonic() < deadline, "the MLflow UI did not start"
            time.sleep(0.2)
        yield found[0]
    finally:
        server.terminate()
        server.wait(30)


def nights(page: Page) -> dict[str, str]:
    """Addresses of the nights' runs in the list that is open, by name."""
    found = page.run(
        "[...document.querySelectorAll('a')].filter(a => a.innerText.startsWith('night '))"
        ".map(a => [a.innerText, a.href])"
    )
    return {str(name): str(address) for name, address in found}


def site(listed: str) -> str:
    return listed.split("#", maxsplit=1)[0]


def test_the_list_sorts_by_the_objective_and_shows_recipe_data_version_and_verdict(
    page: Page, listed: str, second_night: Shop, build: Path
) -> None:
    page.size(1900, 900)
    seen = page.open(listed, "promoted", "refused", "VERIFIED", "lightfm", f"Sort: {METRIC}")
    page.picture(build / "experiment-list.png")
    values = [float(text) for text in re.findall(r"^0\.\d{4,}$", seen, re.MULTILINE)]

    for column in ("recipe", "data_version", "verdict", "outcome"):
        assert re.search(rf"^{column}$", seen, re.MULTILINE), column
    for version in read_json(second_night.root / ".lethe" / "catalogue.json")["versions"]:
        assert version["digest"][:12] in seen
    assert values == sorted(values, reverse=True)
    assert len(values) == 6, "two nights of two trials each"
    assert len(nights(page)) == 2


def test_the_page_of_a_refused_night_tells_what_on_what_how_good_and_why_not(
    page: Page, listed: str, build: Path
) -> None:
    page.size(1500, 1500)
    page.open(listed, "promoted", "refused")
    runs = nights(page)
    run = runs[max(runs)]
    seen = page.open(run, "Night of", "Child runs", "lightfm 0", "lightfm 1")
    page.picture(build / "refused-night.png")
    for fact in ("Data version ", "purged at register position", "popular", METRIC, "champion",
                 "best of 2 trials", "Recorded as solution version 2 (lightfm)",
                 "Outcome: refused", "Verdict: VERIFIED", WHY, "data_version"):  # fmt: skip
        assert fact in seen, fact

    page.size(1500, 3000)  # a chart is drawn once it is in sight
    page.open(f"{run}/model-metrics", "validation")
    page.picture(build / "curves.png")
    page.size(1500, 1500)
    seen = page.open(f"{run}/artifacts/studies.html", "Search for the best settings")
    page.picture(build / "studies.png")
    assert "of each trial in order" in seen
    assert "certificate.json" in seen
    page.click("report.html")
    page.until("Training report", "Refused: version 2", WHY)
    page.picture(build / "report-in-mlflow.png")


@pytest.mark.parametrize(
    ("version", "alias", "facts"),
    [
        (1, "@ champion", ("Promotion: promoted by the night of", "the quality rule accepts it")),
        (2, "@ challenger", ("Promotion: refused by the night of", WHY)),
    ],
)
def test_the_page_of_a_version_tells_verdict_certificate_aliases_and_why(
    page: Page, listed: str, second_night: Shop, build: Path,
    version: int, alias: str, facts: tuple[str, ...],
) -> None:  # fmt: skip
    page.size(1500, 1400)
    address = f"{site(listed)}#/models/shop/versions/{version}"
    seen = page.open(address, f"Version {version}", alias, "Promotion: ")
    page.picture(build / f"version-{version}.png")
    told = [*facts, "Verdict: VERIFIED", "Trained on data version", "certificate_digest", "lightfm",
            "register_position", "95 % interval", "The quality rule"]  # fmt: skip
    for fact in told:
        assert fact in seen, fact
    found = re.search(r"certificate_digest\s+([0-9a-f]{64})", seen)
    assert found
    assert f"certificate {found[1][:16]}" in seen


def test_nothing_but_this_machine_was_asked_for_anything(page: Page, listed: str) -> None:
    assert any(address.startswith(site(listed)) for address in page.requests)
    assert page.elsewhere() == []
