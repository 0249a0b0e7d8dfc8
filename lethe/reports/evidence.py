"""The evidence of one batch of closed requests, as one page for whoever must answer for it.

What was asked and when, what was removed where, what was searched, and which certificate stands for
the rest. Named facts only: positions, dates, counts and digests; no id, raw or pseudonymous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lethe.estate.stores import STORES
from lethe.estate.workspace import Workspace
from lethe.reports.page import environment
from lethe.reports.wording import count, number, plural

_MEGABYTE: Final = 1e6
_REMOVED: Final = (
    ("rows", "Rows of interactions removed", "the interactions, the newest data version"),
    ("late_rows", "Late rows dropped on arrival", "files that landed"),
    ("data_versions_rewritten", "Older data versions rewritten without the people", "DVC"),
    ("data_versions_destroyed", "Older data versions destroyed", "DVC"),
    ("objects", "Stored files deleted and seen to be gone", "DVC's cache and every remote"),
    ("versions", "Trained models destroyed that held somebody", "MLflow"),
    ("quarantine_lines", "Lines removed", "quarantine, where unreadable rows are kept"),
    ("vault_rows", "People forgotten", "the vault, the one place that knew id and pseudonym"),
)


def render(facts: Mapping[str, Any]) -> str:
    """The page, one self-contained HTML document; the same facts give the same text.

    `facts` are those of `lethe.nights.forgetting.testifying`; what is missing is told as missing.
    """
    nights = list(facts["nights"])
    return (
        environment()
        .get_template("evidence.html")
        .render(
            facts=facts,
            requests=list(map(_asked, facts["requests"])),
            title=_title(facts["requests"]),
            lines=list(_lines(facts)),
            removed=_removed(nights),
            nights=nights,
            interrupted=[one["night"] for one in nights if (number(one.get("attempts")) or 1) > 1],
            unrecorded=[one["night"] for one in nights if "removed" not in one],
            stores=_stores(facts["search"] or {}),
            megabyte=_MEGABYTE,
        )
    )


def _asked(request: Mapping[str, Any]) -> dict[str, Any]:
    late = str(request["closed"]) > str(request["due"])
    return {**request, "tone": "bad" if late else "good", "when": "late" if late else "yes"}


def _title(requests: Sequence[Mapping[str, Any]]) -> str:
    return f"{plural(len(requests), 'request', 'requests')} closed"


def _lines(facts: Mapping[str, Any]) -> list[str]:
    """The answer in a few sentences, before any table."""
    requests, search = facts["requests"], facts["search"]
    unknown = sum(one["state"] == "not_found" for one in requests)
    late = sum(str(one["closed"]) > str(one["due"]) for one in requests)
    lines = []
    if unknown:
        lines.append(
            f"{plural(unknown, 'erasure was', 'erasures were')} of somebody never known here; "
            "they are kept out from now on all the same."
        )
    if search:
        found = sum(search["files_by_store"].values())
        lines.append(
            f"A search through {plural(search['files_searched'], 'file', 'files')} for the people "
            f"to be erased found {'nobody' if not found else plural(found, 'file', 'files')}."
        )
    lines.append(
        "All were closed in time."
        if not late
        else f"{plural(late, 'request was', 'requests were')} closed after the due date."
    )
    return lines


def _removed(nights: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What went over all nights; where some night did not count it, at least so much."""
    rows = []
    for name, what, where in _REMOVED:
        known = [number((one.get("removed") or {}).get(name)) for one in nights]
        counts = [value for value in known if value is not None]
        told = count(sum(counts) if counts else None)
        least = "at least " if counts and len(counts) < len(known) else ""
        rows.append({"what": what, "where": where, "count": least + told})
    return rows


def _stores(search: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every store that was searched: what it may hold, how much was looked at, what was found."""
    looked = search.get("searched_by_store") or {}
    unread, found = search.get("undecoded_by_store") or {}, search.get("files_by_store") or {}
    return [
        {
            "name": store.name,
            "may_hold": store.may_hold,
            "files": looked[store.name][0] if store.name in looked else 0,
            "bytes": looked[store.name][1] if store.name in looked else 0,
            "found": found.get(store.name, 0),
            "unread": unread.get(store.name, 0),
            "later": store.kept_until_closed,
        }
        for store in STORES
        if looked
    ]


def headline(page: Mapping[str, Any]) -> str:
    """What a night says of its page.

    >>> headline({"requests": 1, "page": "night-2026-03-03-020000.html"})
    'evidence of 1 closed request: night-2026-03-03-020000.html'
    """
    closed = "closed request" if page["requests"] == 1 else "closed requests"
    return f"evidence of {count(page['requests'])} {closed}: {page['page']}"


def newest_page(workspace: Workspace) -> str | None:
    """Where the page of the last night lies that closed requests."""
    found = sorted(workspace.evidence.glob("night-*.html"))
    return str(found[-1]) if found else None
