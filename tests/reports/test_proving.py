"""The proof in plain words and in pictures says what the certificate says, and no more."""

from __future__ import annotations

import copy
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.gate.proof.als.presence import BARRED
from lethe.reports.page import render
from lethe.reports.proving import layers, pictures
from lethe.reports.proving.pictures import Cloud, Ruler
from tests.fakes.night_report import Page, night

RULER = Ruler(-1.0, 2.0, 0.05, 0.25, "copies")
BINS = st.dictionaries(st.integers(-20, 39), st.integers(1, 400), max_size=60)
RECT = "{http://www.w3.org/2000/svg}rect"


def changed(layer: int, **facts: Any) -> dict[str, Any]:
    made = copy.deepcopy(night())
    made["certificate"]["layers"][layer] |= facts
    return made


@settings(max_examples=60, deadline=None)
@given(st.lists(BINS, min_size=1, max_size=3))
def test_every_bin_is_drawn_and_every_person_is_counted(found: list[dict[int, int]]) -> None:
    groups = [
        Cloud(f"<{place}>", "barred", [(k * 0.05, bins[k]) for k in sorted(bins)])
        for place, bins in enumerate(found)
    ]
    root = ElementTree.fromstring(pictures.clouds("c", "t", groups, RULER))  # noqa: S314
    bars = root.findall(RECT)
    assert len(bars) == sum(map(len, found))
    wrong = [bar for bar in bars if "wrong" in bar.attrib["class"]]
    assert len(wrong) == sum(k >= 5 for bins in found for k in bins)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for bar in bars:
        x, y, wide, high = (float(bar.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x >= 0 <= y
        assert x + wide <= width
        assert y + high <= height
    told = root[1].text or ""
    for bins in found:
        over = sum(people for k, people in bins.items() if k >= 5)
        assert f"{over:,} at or above the limit" in told if bins else "nobody" in told


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1e3), st.floats(1e-9, 1))
def test_the_pointer_stands_right_of_the_limit_only_if_the_number_does(
    measured: float, limit: float
) -> None:
    drawn = pictures.gauge("g", "t", measured, limit, [("others", 1e-7, 6e-7)])
    ElementTree.fromstring(drawn)  # noqa: S314
    pointer = float(re.findall(r'd="M([\d.]+) 66', drawn)[0])
    line = float(re.findall(r'class="limit" x1="([\d.]+)"', drawn)[0])
    assert ("pointer wrong" in drawn) == (measured > limit)
    assert pointer <= line + 0.1 if measured <= limit else pointer >= line - 0.1
    assert f"Measured {measured:.1e}, limit {limit:.0e}." in drawn


def test_the_page_tells_each_layer_in_plain_words_with_number_and_limit() -> None:
    text = Page(render(night())).text()
    for told in (
        "Does the version list exactly the people who may be in it, and nobody else? Yes",
        "0 differences none allowed",
        "2.0e-07, 50 times smaller than the limit 1e-05",
        "at most 0.012 of anybody's history below 0.25 of a history",
        "398 of 400 members found; 1 of 400 never seen named",
    ):
        assert told in text, told


def test_both_pictures_are_in_the_page_and_say_their_numbers_in_words() -> None:
    html = render(night())
    told = re.findall(r"<desc[^>]*>([^<]*)</desc>", html)
    assert any("Must not be there: 11 people" in one and "1 not measurable" in one for one in told)
    assert any("Members, left out to test: 400 people" in one for one in told)
    assert any(one.startswith("Measured 2.0e-07, limit 1e-05.") for one in told)


@pytest.mark.parametrize(
    ("layer", "facts", "tone", "answer"),
    [
        (0, {"passed": False, "measured": 2.0}, "bad", "No"),
        (3, {"passed": False, "measured": 2e-3}, "bad", "No"),
        (3, {"passed": None}, "bad", "No"),
        (4, {"conclusive": False, "passed": False}, "warn", "No answer"),
        (5, {"measured": None}, "idle", "Nobody to test"),
        (5, {}, "good", "Yes"),
    ],
)
def test_only_a_layer_that_answered_and_passed_is_told_as_yes(
    layer: int, facts: dict[str, Any], tone: str, answer: str
) -> None:
    line = layers.plain(changed(layer, **facts))[layer]
    assert (line["tone"], line["answer"]) == (tone, answer)


def test_a_certificate_without_numbers_is_told_in_its_own_words() -> None:
    line = layers.plain(changed(3, measured=None, limit=None))[3]
    assert (line["number"], line["limit"]) == ("normal_equations found 0", "0 differences")
    assert layers.residual(changed(3, measured=None)) is None


def test_somebody_over_the_limit_is_drawn_as_wrong() -> None:
    made = night()
    cloud = next(one for one in made["certificate"]["clouds"] if one["name"] == BARRED)
    assert "cloud wrong" not in str(layers.scores(made))
    cloud["bins"].append([19, 1])
    assert str(layers.scores(made)).count("cloud wrong") == 1


@pytest.mark.parametrize("clouds", [None, [], [{"name": BARRED, "bins": [[99, 3], [1], "?"]}], 7])
def test_without_a_cloud_there_is_no_picture(clouds: Any) -> None:
    made = night()
    made["certificate"]["clouds"] = clouds
    assert layers.scores(made) is None
