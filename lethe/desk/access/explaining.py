"""What a champion learned about a person, in words and numbers for that person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lethe.solutions.factors import Solution

SHOWN = 10
_MEANING = (
    "These numbers were learned from your interactions. Alone they mean nothing: together with the "
    "numbers of an item they give the score by which items are ranked for you. They place you near "
    "the items listed under nearest_items."
)


def explained(solution: Solution, rows: Sequence[int]) -> dict[str, Any]:
    """What was learned under a person's own name, then under those that were merged with it."""
    told = _of_one(solution, rows[-1] if rows else None)
    for row in rows[:-1]:
        further = _of_one(solution, row)
        for name in ("factors", "nearest_items", "recommendations"):
            told[name] += [{**entry, "learned_for": solution.users[row]} for entry in further[name]]
    return told


def _of_one(solution: Solution, row: int | None) -> dict[str, Any]:
    """What the numbers of one user mean, and the items that are recommended now."""
    if row is None:
        best = solution.popular[:SHOWN]
        return {"recommendations": _ranked(solution, best, None)}
    factors = solution.factors
    own, items = factors.user_factors[row], factors.item_factors
    lengths = np.linalg.norm(items, axis=1) * np.linalg.norm(own)
    near = np.divide(items @ own, lengths, out=np.zeros(len(items), np.float32), where=lengths > 0)
    scores = factors.scores(np.array([row]))[0]
    bias = [] if factors.user_biases is None else [float(factors.user_biases[row])]
    return {
        "factors_meaning": _MEANING,
        "factors": [
            *({"name": f"factor {n}", "value": float(v)} for n, v in enumerate(own, start=1)),
            *({"name": "bias", "value": value} for value in bias),
        ],
        "nearest_items": [
            {"item": solution.items[i], "likeness": round(float(near[i]), 4)}
            for i in np.argsort(-near, kind="stable")[:SHOWN]
        ],
        "recommendations": _ranked(solution, np.argsort(-scores, kind="stable")[:SHOWN], scores),
    }


def as_a_stranger(solution: Solution) -> dict[str, Any]:
    """What a champion recommends to somebody who is suppressed, though it has factors of theirs."""
    return {
        "suppressed": True,
        "recommendations": _ranked(solution, solution.popular[:SHOWN], None),
    }


def _ranked(solution: Solution, best: Any, scores: Any) -> list[dict[str, Any]]:
    return [
        {
            "rank": rank,
            "item": solution.items[i],
            "score": None if scores is None else float(scores[i]),
            "because": "popular with everybody" if scores is None else "your factors",
        }
        for rank, i in enumerate(best, start=1)
    ]
