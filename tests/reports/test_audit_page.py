"""The page of an audit stands alone, tells its numbers, and calls itself no gate."""

from __future__ import annotations

import copy
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.gate.audit.membership import MEMBERS, NEVER, NEVER_ALIKE, OUTSIDERS, SCORE_TEST
from lethe.reports.audit import pictures
from lethe.reports.audit.page import render
from lethe.reports.audit.pictures import Curve
from tests.fakes.night_report import DATA, Page


def facts(tested: bool = True) -> dict[str, Any]:
    """An audit's facts as the desk makes them."""
    areas = {"one model, cosine": 0.71, "LiRA, cosine": 0.84, "LiRA, fold-in fit": 0.9}
    areas |= {SCORE_TEST: 1.0} if tested else {}
    return {
        "version": 3, "recipe": "als" if tested else "lightfm", "hyperparameters": {"factors": 8},
        "seed": 5, "data_version": DATA, "register_position": 14, "started": 1777860000,
        "seconds": 61.5, "models": 16, "people": 1984, "targets": 1000, "outsiders": 12,
        "sharpest": SCORE_TEST if tested else "LiRA, fold-in fit",
        "attacks": [
            {"name": name, "auc": auc, "found": auc / 2, "lowest": auc - 0.1, "highest": auc,
             "curve": [[0.001, 0.1], [0.01, auc / 2], [0.1, auc], [1.0, 1.0]],
             "lengths": [[2, 5, 100, auc - 0.2, 0.1], [61, None, 40, auc, None]]}
            for name, auc in areas.items()
        ],
        "champion": [
            {"name": "LiRA, cosine", "group": OUTSIDERS, "people": 12, "auc": 0.482,
             "low": 0.31, "high": 0.65},
        ],
        "clouds": [
            {"name": name, "bins": [[place, 9]], "silent": 0}
            for name, place in ((MEMBERS, 19), (OUTSIDERS, 0), (NEVER, 0), (NEVER_ALIKE, -1))
        ],
    }  # fmt: skip


@pytest.mark.parametrize("tested", [True, False])
def test_the_page_tells_what_was_measured_and_that_it_is_no_gate(tested: bool) -> None:
    page = Page(render(facts(tested)))
    text = page.text()
    for told in (
        "This is a report and not a gate",
        "Sharpest outside attack: AUC 0.900, 45 % found",
        "0.5 is guessing, 1 is certain",
        "0.482 0.310 to 0.650",
        "16, each on about half of 1,984 people",
        "61 and more",
        DATA,
    ):
        assert told in text, told
    assert page.tone("verdict") == "idle"
    assert "anonymous" not in text
    assert ("score test" in text) is tested


def test_the_page_refers_to_nothing_outside_itself_and_can_be_read_without_seeing_it() -> None:
    html = render(facts())
    page = Page(html)
    assert set(re.findall(r"https?://[^\s\"']+", html)) == {"http://www.w3.org/2000/svg"}
    assert not page.all("script")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in page.all("a")} <= {f"#{name}" for name in ids}
    assert len(page.all("svg")) == 3
    told = re.findall(r"<desc[^>]*>([^<]*)</desc>", html)
    assert "LiRA, fold-in fit: 10% found at 0.1%, 45% found at 1.0%, 90% found at 10.0%" in told[0]
    assert "Kept out: 9 people from 0.00 to 0.05" in told[2]


def test_text_from_outside_is_escaped() -> None:
    made = copy.deepcopy(facts())
    made["hyperparameters"] = {"<script>": "<b>"}
    assert not Page(render(made)).all("script")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=8))
def test_a_curve_stays_inside_its_picture(points: list[tuple[float, float]]) -> None:
    root = ElementTree.fromstring(  # noqa: S314
        pictures.rates("r", "t", [Curve("<a>", points, 1)])
    )
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
        for pair in line.attrib["points"].split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
