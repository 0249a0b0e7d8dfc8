"""The report is one offline page that everybody can read."""

from __future__ import annotations

import itertools
import re
from importlib import resources
from typing import Any

import pytest

from lethe.reports.page import render
from tests.fakes.night_report import Page, night


def test_the_page_refers_to_nothing_outside_itself() -> None:
    html = render(night())
    page = Page(html)
    assert set(re.findall(r"https?://[^\s\"']+", html)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"url\(|@import|javascript:|<(script|link|img|iframe|object|form)\b", html)
    names = {name for _, attributes in page.elements for name in attributes}
    assert not names & {"src", "srcset", "action", "data", "style"}
    assert not any(name.startswith("on") for name in names)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in page.all("a")} <= {f"#{name}" for name in ids}
    labels = [a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a]
    assert set(itertools.chain(*(label.split() for label in labels))) <= set(ids)


@pytest.mark.parametrize("facts", [night(), {}], ids=["full", "empty"])
def test_the_page_can_be_read_without_seeing_it(facts: dict[str, Any]) -> None:
    html = render(facts)
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert page.all("html") == [{"lang": "en"}]
    assert page.text("title")
    for landmark in ("h1", "main", "header", "nav", "footer"):
        assert len(page.all(landmark)) == 1
    headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(deeper - higher <= 1 for higher, deeper in itertools.pairwise(headings))
    captions = [
        parents
        for (tag, _), parents in zip(page.elements, page.parents, strict=True)
        if tag == "caption"
    ]
    assert len(captions) == len(page.all("table"))
    assert all(parents[-1] == "table" for parents in captions)
    assert all(heading["scope"] in ("row", "col") for heading in page.all("th"))
    assert all(picture["role"] == "img" for picture in page.all("svg"))
    for drawing in re.findall(r"<svg.*?</svg>", html, re.S):
        assert re.match(r"<svg[^>]*><title id=\"[^\"]+\">[^<]+</title><desc", drawing)


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb as WCAG 2 defines it."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_stands_out_from_its_ground(scheme: int) -> None:
    style = (resources.files("lethe.reports") / "templates/report_style.html").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.S)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[scheme]))
    pairs = [(text, ground) for text in ("ink", "quiet", "accent") for ground in ("page", "panel")]
    for tone in ("good", "bad", "warn", "idle"):
        pairs += [(tone, f"{tone}-soft"), (tone, "panel"), ("ink", f"{tone}-soft")]
    for text, ground in [*pairs, ("erased", "panel")]:
        light, dark = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)
