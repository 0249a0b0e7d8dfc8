"""Until when a request must be answered: calendar months from its receipt (GDPR Art. 12(3))."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime
from typing import Final

EXTENDED_MONTHS: Final = 3  # the month that everybody has, and two more


def due_date(received: int, months: int = 1) -> int:
    """One calendar month later, or more, same time of day in UTC (GDPR Art. 12(3)).

    A month without that day ends on its last day (Regulation 1182/71, Art. 3(2)(c)).

    >>> datetime.fromtimestamp(due_date(1706700000), UTC).isoformat()  # from 2024-01-31
    '2024-02-29T11:20:00+00:00'
    """
    start = datetime.fromtimestamp(received, UTC)
    later = start.month - 1 + months
    year, month = start.year + later // 12, later % 12 + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return int(start.replace(year=year, month=month, day=day).timestamp())
