"""Facts in plain words: numbers, moments, digests, and the names of metrics, recipes and states.

Every function takes what a JSON file may hold and answers text for a reader. What is missing,
NaN or of another kind becomes `ABSENT`: a page never shows a number that nobody recorded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

ABSENT: Final = "not recorded"
MINUS: Final = "\N{MINUS SIGN}"

_METRICS: Final = (
    (r"normalized_discounted_cumulative_gain_at_(\d+)", r"NDCG@\1"),
    (r"precision_at_(\d+)", r"Precision@\1"),
    (r"recall_at_(\d+)", r"Recall@\1"),
    (r"map_at_(\d+)", r"MAP@\1"),
    (r"mean_reciprocal_rank_at_(\d+)", r"MRR@\1"),
    (r"coverage", "Coverage"),
    (r"popularity_of_lists", "Popularity"),
)
_SOLUTIONS: Final = {
    "als": "ALS (matrix factorisation)",
    "lightfm": "LightFM (hybrid factors)",
    "champion": "Champion before tonight",
    "popular": "Most popular items (baseline)",
    "item_knn": "Similar items (baseline)",
}
_ACTIONS: Final = {
    "ERASE": "Erase (Art. 17)",
    "OBJECT": "Object to training (Art. 21)",
    "WITHDRAW_OBJECTION": "Withdraw the objection",
    "RESTRICT": "Restrict, legal hold (Art. 18)",
    "RELEASE": "Release the restriction",
    "RECONSENT": "Return with new consent",
}
_STATES: Final = {
    "received": "received, not carried out yet",
    "suppressed": "served no more, not carried out yet",
    "purged": "rows removed, not verified yet",
    "verified": "verified, old copies not destroyed yet",
    "closed": "closed",
    "not_found": "closed, nothing was found",
    "blocked": "blocked by a legal hold",
}
_RULES: Final = {
    "excluded": "person may not be trained on (erased, objecting or restricted)",
    "event_weight": "event type has weight 0",
    "event_value": "event value below the minimum",
    "item_users": "item with too few users",
    "user_items": "user with too few items",
}


def number(value: Any) -> float | None:
    """A finite number as float, None for anything else.

    >>> number(3), number(float("nan")), number(True), number("3")
    (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def count(value: Any) -> str:
    """How many, grouped by thousands; of a list, its length.

    >>> count(1204332), count([4, 7]), count(None)
    ('1,204,332', '2', 'not recorded')
    """
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str):
        return f"{len(value):,}"
    known = number(value)
    return ABSENT if known is None else f"{known:,.0f}"


def decimal(value: Any, places: int = 4, signed: bool = False) -> str:
    """A fraction with a fixed number of decimals.

    >>> decimal(0.14234), decimal(0.0031, signed=True), decimal(None)
    ('0.1423', '+0.0031', 'not recorded')
    """
    known = number(value)
    if known is None:
        return ABSENT
    return f"{known:{'+' if signed else ''}.{places}f}".replace("-", MINUS)


def setting(value: Any) -> str:
    """A hyper-parameter, short enough for a table cell.

    >>> setting(12.3456789), setting(64), setting(True), setting(2e-6)
    ('12.35', '64', 'yes', '2e-06')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return ABSENT if number(value) is None else f"{value:.4g}"
    return ABSENT if value is None else str(value) or ABSENT


def settings(values: Any) -> str:
    """Hyper-parameters in one line.

    >>> settings({"factors": 64, "alpha": 12.3456})
    'factors 64, alpha 12.35'
    """
    if not isinstance(values, Mapping) or not values:
        return ABSENT
    return ", ".join(f"{key} {setting(value)}" for key, value in values.items())


def moment(value: Any) -> str:
    """Unix seconds as a date and time in UTC.

    >>> moment(1772503200)
    '3 March 2026, 02:00 UTC'
    """
    known = _moment(value)
    return ABSENT if known is None else f"{known.day} {known:%B %Y, %H:%M} UTC"


def day(value: Any) -> str:
    """Unix seconds, or a date that is text already, as a date.

    >>> day(1772503200), day("2026-03-03"), day(None)
    ('2026-03-03', '2026-03-03', 'not recorded')
    """
    if isinstance(value, str) and value:
        return value
    known = _moment(value)
    return ABSENT if known is None else f"{known:%Y-%m-%d}"


def _moment(value: Any) -> datetime | None:
    known = number(value)
    try:
        return None if known is None else datetime.fromtimestamp(known, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def duration(value: Any) -> str:
    """Seconds as a reader says them.

    >>> duration(0.42), duration(75), duration(4020), duration(None)
    ('0.4 s', '1 min 15 s', '1 h 07 min', 'not recorded')
    """
    known = number(value)
    if known is None or known < 0:
        return ABSENT
    if known < 59.95:  # noqa: PLR2004
        return f"{known:.1f} s"
    whole = round(known)
    if whole < 3600:  # noqa: PLR2004
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def digest(value: Any, length: int | None = None) -> str:
    """A digest, or its first characters.

    >>> digest("3f2a9c0d11", 4), digest("")
    ('3f2a…', 'not recorded')
    """
    if not isinstance(value, str) or not value:
        return ABSENT
    return value if length is None or len(value) <= length else f"{value[:length]}…"


def metric(name: Any) -> str:
    """The name that a metric has in papers; an unknown one keeps its own.

    >>> metric("normalized_discounted_cumulative_gain_at_10"), metric("coverage"), metric(None)
    ('NDCG@10', 'Coverage', 'score')
    """
    if not isinstance(name, str) or not name:
        return "score"
    for pattern, short in _METRICS:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, short, name)
    return name.replace("_", " ")


def sentence(text: Any) -> str:
    """A sentence with the long names of metrics made short.

    >>> sentence("precision_at_10 fell from 0.2 to 0.1")
    'Precision@10 fell from 0.2 to 0.1'
    """
    told = str(text)
    for pattern, short in _METRICS[:-2]:
        told = re.sub(rf"\b{pattern}\b", short, told)
    return told


def plural(value: Any, one: str, many: str) -> str:
    """A count with its noun.

    >>> plural(1, "request is", "requests are"), plural(2, "request is", "requests are")
    ('1 request is', '2 requests are')
    """
    return f"{count(value)} {one if number(value) == 1 else many}"


def chance(p: Any) -> str:
    """A p-value as a number of tries out of 100 or 1,000.

    >>> chance(0.62), chance(0.004), chance(0.0002), chance(None)
    ('62 of 100 tries', '4 of 1,000 tries', 'fewer than 1 of 1,000 tries', 'not recorded')
    """
    known = number(p)
    if known is None or not 0 <= known <= 1:
        return ABSENT
    if known < 0.001:  # noqa: PLR2004
        return "fewer than 1 of 1,000 tries"
    if known < 0.01:  # noqa: PLR2004
        return f"{known * 1000:.0f} of 1,000 tries"
    return f"{known * 100:.0f} of 100 tries"


def solution(name: Any) -> str:
    """A recipe, baseline or the champion, as a lay reader is told it.

    >>> solution("als"), solution("svd")
    ('ALS (matrix factorisation)', 'svd')
    """
    return _word(_SOLUTIONS, name)


def action(name: Any) -> str:
    """A request of rights, with its article."""
    return _word(_ACTIONS, name)


def state(name: Any) -> str:
    """How far a request has come."""
    return _word(_STATES, name)


def rule(name: Any) -> str:
    """Why a row was left out."""
    return _word(_RULES, name)


def _word(words: Mapping[str, str], name: Any) -> str:
    told = "" if name is None else str(name)
    return words.get(told, told) or ABSENT
