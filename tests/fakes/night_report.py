"""The facts of a night as the report gets them, and a page as a reader takes it in."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from typing import Any

from lethe.gate.proof.als.presence import BARRED, MEMBERS, UNSEEN
from lethe.gate.proof.report import required_layers

NDCG = "normalized_discounted_cumulative_gain_at_10"
DATA, ARTIFACT, CERTIFICATE = "d" * 32 + ".dir", "a" * 64, "c" * 64
FIGURES = ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (2e-7, 1e-5), (1e-4, 0.03), (0.012, 0.25))
CLAIM = "Version aaaa is exactly the output of recipe als on matrix mmmm"


def night() -> dict[str, Any]:
    """The facts of a night that ended well."""
    board = [("als", 0.1423), ("champion", 0.1398), ("item_knn", 0.1102), ("popular", 0.0713)]
    return {
        "night": {
            "name": "night 2026-05-04 02:00:00",
            "started": 1777860000,
            "ended": 1777860431,
            "outcome": "promoted",
            "reasons": [],
            "version": 2,
            "champion": 1,
        },
        "data": {
            "digest": DATA,
            "rows": 112412,
            "users": 2011,
            "items": 798,
            "register_position": 14,
        },
        "intake": {
            "files_new": 3,
            "files_repeated": 1,
            "files_refused": {"zero bytes": 1},
            "rows_read": 4211,
            "rows_new": 3902,
            "rows_duplicate": 161,
            "rows_erased": 62,
            "dropped": {"cancelled": 31},
            "refused": {"blank id": 44, "negative timestamp": 11},
        },
        "purge": {
            "asked": 12,
            "found": 11,
            "not_found": 1,
            "users": 7,
            "rows": 403,
            "shards_rewritten": 22,
        },
        "split": {
            "rows": 110102,
            "users": 1984,
            "items": 791,
            "excluded_users": 9,
            "dropped": {"excluded": 1210, "event_weight": 1100},
            "windows": {"train": 88081, "validation": 11010, "test": 11011},
            "cold_users": {"validation": 41, "test": 38},
            "cold_items": {"validation": 12, "test": 9},
            "features": {"item": 42, "user": 11},
            "insights": {
                "first": 1735689600,
                "last": 1777852800,
                "kinds": 3,
                "many_kinds": False,
                "events": [{"name": "view", "rows": 90000}, {"name": "purchase", "rows": 22000}],
                "other_events": 412,
                "columns": [
                    {
                        "table": table,
                        "name": name,
                        "complete": complete,
                        "texts": texts,
                        "sparse": complete < 0.7,
                        "many": (texts or 0) > 30,
                    }
                    for table, name, complete, texts in (
                        ("interactions", "event_value", 0.2, None),
                        ("items", "category", 1.0, 12),
                        ("items", "brand", 0.98, 311),
                    )
                ],
            },
        },
        "metric": NDCG,
        "leaderboard": [
            {
                "place": place,
                "name": name,
                "users": 1402,
                "mean": mean,
                "low": mean - 0.006,
                "high": mean + 0.006,
                "means": {
                    NDCG: mean,
                    "precision_at_10": mean / 2,
                    "coverage": 0.5,
                    "popularity_of_lists": 0.2,
                },
            }
            for place, (name, mean) in enumerate(board, start=1)
        ],
        "comparisons": {
            "popular": {"difference": 0.071, "low": 0.0646, "high": 0.0775, "p_worse": 1.0},
            "champion": {"difference": 0.0025, "low": -0.0012, "high": 0.0063, "p_worse": 0.21},
        },
        "quality": {"accepted": True, "reasons": []},
        "winner": {"recipe": "als", "hyperparameters": {"factors": 64, "alpha": 12.4}, "seed": 17},
        "trials": [
            {
                "recipe": recipe,
                "number": number,
                "value": value,
                "state": state,
                "seconds": 8.25,
                "params": {"factors": 32},
                "steps": [[4, 0.08], [8, 0.1], [16, value or math.nan]],
            }
            for recipe, number, value, state in [
                ("als", 0, 0.1311, "complete"),
                ("als", 1, 0.1401, "complete"),
                ("lightfm", 0, 0.1201, "complete"),
                ("lightfm", 1, None, "failed"),
            ]
        ],
        "importances": {"als": {"factors": 0.8, "alpha": 0.2}},
        "certificate": {
            "digest": CERTIFICATE,
            "verdict": "VERIFIED",
            "recipe": "als",
            "artifact_digest": ARTIFACT,
            "matrix_digest": "b" * 64,
            "data_version": DATA,
            "register_position": 14,
            "claim": CLAIM,
            "issued": 1777860390,
            "users": 1984,
            "items": 791,
            "layers": [
                {
                    "layer": layer,
                    "question": f"Does {layer} hold?",
                    "threshold": "0 differences",
                    "value": f"{layer} found 0",
                    "passed": True,
                    "conclusive": True,
                    "findings": [],
                    "measured": measured,
                    "limit": limit,
                    "power": "398 of 400 members found" if layer == "contribution" else "",
                    "false_alarms": "1 of 400 never seen named" if layer == "contribution" else "",
                }
                for layer, (measured, limit) in zip(required_layers("als"), FIGURES, strict=True)
            ],
            "clouds": [
                {"name": BARRED, "bins": [[-1, 3], [0, 8]], "silent": 1},
                {"name": UNSEEN, "bins": [[-1, 190], [0, 209], [5, 1]], "silent": 0},
                {"name": MEMBERS, "bins": [[4, 2], [19, 201], [20, 197]], "silent": 0},
            ],
        },
        "retired": {
            "versions": 1,
            "data_versions": 1,
            "rewritten": 2,
            "objects": 143,
            "closed": 8,
            "not_found": 1,
            "searched_files": 612,
            "hits": 0,
            "champion_holds_erased": False,
        },
        "requests": {
            "open": 2,
            "due": 1,
            "overdue": 0,
            "closed": 12,
            "rows": [
                {
                    "position": 14,
                    "action": "ERASE",
                    "received": 1777500000,
                    "due": "2026-05-30",
                    "state": "verified",
                    "rows_removed": 18,
                    "overdue": False,
                }
            ],
        },
        "environment": {"python": "3.11.2", "blas kernel": "Haswell"},
        "timings": {"tune": 210.4, "verify": 38.8},
    }


class Page(HTMLParser):
    """What the tests ask of a page: its elements, its text, and what lies in which element."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.parents: list[tuple[str, ...]] = []
        self.words: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.parents.append(tuple(self._open))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.parents.append(tuple(self._open))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.words.setdefault(tag, []).append(data)

    def text(self, tag: str = "body") -> str:
        return " ".join(" ".join(self.words.get(tag, [])).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def tone(self, kind: str) -> str:
        found = [a["class"].split() for _, a in self.elements if kind in a.get("class", "").split()]
        return next(iter(set(found[0]) - {kind})) if found else ""
