"""Pictures are well formed and show the numbers they were given."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.reports import pictures
from lethe.reports.pictures import Curve, Interval, Step

finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(finite | st.none(), finite | st.none(), finite | st.none())), finite)
def test_pictures_are_well_formed_whatever_the_numbers(
    rows: list[tuple[float | None, float | None, float | None]], value: float
) -> None:
    marks = [Interval(f"<{place}>", *row) for place, row in enumerate(rows)]
    curves = [Curve("a&b", [(1, value), (2, -value)], best=True), Curve("none", [])]
    steps = [Step("read", value, "total"), Step("lost", 3, "loss"), Step("train", 2, "part")]
    for drawn in (
        pictures.intervals("a b", "<t>", marks),
        pictures.learning_curves("c", "t", curves),
        pictures.funnel("f", "t", steps),
    ):
        root = ElementTree.fromstring(drawn)  # noqa: S314
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for mark in root.iter("{http://www.w3.org/2000/svg}circle"):
            assert 0 <= float(mark.attrib["cx"]) <= width
            assert 0 <= float(mark.attrib["cy"]) <= height


def numbers(drawn: str, pattern: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, drawn)]


def test_dots_lie_in_the_order_of_the_means_and_inside_their_whiskers() -> None:
    rows = [Interval("a", 0.3, 0.25, 0.35, "winner"), Interval("b", 0.1, 0.05, 0.12)]
    drawn = pictures.intervals("board", "t", rows)
    dots = numbers(drawn, r'cx="([\d.]+)"')
    starts, ends = numbers(drawn, r'd="M([\d.]+) '), numbers(drawn, r"H([\d.]+)M")
    assert dots[0] > dots[1]
    for low, dot, high in zip(starts, dots, ends, strict=True):
        assert low < dot < high
    assert dots[0] - starts[0] == pytest.approx(ends[0] - dots[0], abs=0.11)


def test_what_is_lost_hangs_where_it_was_and_parts_fill_their_total() -> None:
    steps = [
        Step("read", 100, "total"),
        Step("refused", 20, "loss"),
        Step("kept", 80, "total"),
        Step("train", 60, "part"),
        Step("test", 20, "part"),
    ]
    drawn = pictures.funnel("f", "t", steps)
    bars = re.findall(r'class="bar \w+" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', drawn)
    read, refused, kept, train, test = [(float(x), float(x) + float(wide)) for x, wide in bars]
    assert refused == pytest.approx((kept[1], read[1]), abs=0.2)
    assert train == pytest.approx((kept[0], test[0]), abs=0.2)
    assert test[1] == pytest.approx(kept[1], abs=0.2)


def test_the_best_trial_is_drawn_last_and_named() -> None:
    drawn = pictures.learning_curves(
        "c", "t", [Curve("trial 1", [(1, 0.1), (2, 0.3)], best=True), Curve("trial 0", [(1, 0.2)])]
    )
    assert drawn.index('class="dot trial"') < drawn.index('class="curve best"')
    assert ">trial 1</text>" in drawn
    assert ">trial 0</text>" not in drawn
