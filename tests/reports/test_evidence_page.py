"""The page of closed requests stands alone, is plain, and says what it does not know."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from lethe.reports.evidence import render
from tests.fakes.night_report import CERTIFICATE, Page

DIGEST = "e" * 64
REMOVED = {
    "rows": 1204, "people": 2, "shards": 6, "late_rows": 3, "versions": 1, "objects": 41,
    "data_versions_rewritten": 4, "data_versions_destroyed": 0, "quarantine_lines": 5,
    "vault_rows": 2,
}  # fmt: skip


def asked(position: int, **told: Any) -> dict[str, Any]:
    return {
        "position": position, "action": "ERASE", "received": "2026-02-20", "due": "2026-03-20",
        "extended": None, "overdue": False, "state": "closed", "rows_removed": 602,
        "closed": "2026-03-03", "evidence": DIGEST, **told,
    }  # fmt: skip


def facts(**other: Any) -> dict[str, Any]:
    """A batch's facts as the night makes them."""
    night = {"night": "2026-03-03 02:00:00", "attempts": 1, "removed": REMOVED, "closed": [4, 5]}
    return {
        **night,
        "shop": "books & more",
        "requests": [asked(4), asked(5, state="not_found", rows_removed=0)],
        "written": 1772503200,
        "search": {
            "files_searched": 390, "bytes_searched": 5_400_000, "files_by_store": {},
            "undecoded": 1, "undecoded_by_store": {"quarantine": 1}, "short_ids": 0,
            "searched_by_store": {"interactions": [24, 4_000_000], "quarantine": [2, 1_400_000]},
        },
        "certificates": [CERTIFICATE],
        "champion": 2,
        "register": {"position": 9, "digest": "f" * 64},
        "signing_key": "0123456789abcdef",
        "waiting": 0,
        "nights": [night],
        "recipients": [
            {"recipient": "a printer", "asked": "erasure", "requests": 2, "delivered": 1772300000,
             "notice": "b" * 64},
        ],
        **other,
    }  # fmt: skip


def test_the_page_tells_what_was_asked_removed_searched_and_what_proves_it() -> None:
    text = Page(render(facts())).text()
    for told in (
        "2 requests closed",
        "Evidence of closed requests · books & more",
        "A search through 390 files for the people to be erased found nobody",
        "4 Erase (Art. 17) 2026-02-20 2026-03-20 2026-03-03 yes closed 602",
        "closed, nothing was found 0",
        "Rows of interactions removed the interactions, the newest data version 1,204",
        "Stored files deleted and seen to be gone DVC's cache and every remote 41",
        "pseudonymous rows and attributes 24 4.0 0 0",
        "2 1.4 0 1",
        CERTIFICATE,
        "0123456789abcdef",
        "position 9",
        DIGEST,
        "carried out in one night",
        "emptied of the people right after it",
        f"a printer erasure 2 2026-02-28 {'b' * 64}",
    ):
        assert told in text, told
    assert "anonymous" not in text
    assert "interrupted" not in text


def test_the_page_refers_to_nothing_outside_itself_and_can_be_read_without_seeing_it() -> None:
    html = render(facts())
    page = Page(html)
    assert not re.findall(r"https?://[^\s\"']+", html)
    assert not re.search(r"url\(|@import|javascript:|<(script|link|img|iframe|object|form)\b", html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in page.all("a")} <= {f"#{name}" for name in ids}
    headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(deeper - higher <= 1 for higher, deeper in itertools.pairwise(headings))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(heading["scope"] in ("row", "col") for heading in page.all("th"))


def test_text_from_outside_is_escaped() -> None:
    html = render(facts(shop="<script>alert(1)</script>"))
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_lateness_an_interruption_and_what_nobody_recorded_are_said() -> None:
    late = asked(4, due="2026-03-01", extended="many-requests")
    nights = [
        {"night": "2026-03-02 02:00:00", "closed": [], "attempts": 2,
         "removed": {**REMOVED, "objects": None}},
        {"night": "2026-03-03 02:00:00", "closed": [4]},
    ]  # fmt: skip
    html = render(facts(requests=[late], nights=nights, search=None, recipients=[]))
    text = Page(html).text()
    for told in (
        "1 request closed",
        "1 request was closed after the due date.",
        "extended: many-requests",
        "late closed 602",
        "carried out in 2 nights",
        "The night of 2026-03-02 02:00:00 was interrupted and taken up again",
        "The night of 2026-03-03 02:00:00 ended before it could write down what it removed",
        "DVC's cache and every remote not recorded",
        "Trained models destroyed that held somebody MLflow at least 1",
        "there was nobody to search for",
        "no recipient had to be told",
    ):
        assert told in text, told


@pytest.mark.parametrize("missing", ["champion", "signing_key"])
def test_what_is_not_there_is_told_as_not_there(missing: str) -> None:
    text = Page(render(facts(**{missing: None}))).text()
    assert "none" in text or "not recorded" in text
