"""The facts of a good night with one change."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.fakes.night_report import night


def with_change(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    facts = copy.deepcopy(night())
    change(facts)
    return facts
