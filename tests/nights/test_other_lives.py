"""The other half of the lives: see `test_life.py`."""

from __future__ import annotations

import pytest

from tests.nights.test_life import ON_DEMAND, live

pytestmark = [
    pytest.mark.skipif(ON_DEMAND is not None, reason="LETHE_LIVES lives them in test_life.py"),
    pytest.mark.timeout(900),
]


def test_nobody_erased_stays_and_nobody_retained_is_lost_in_other_orders_of_events() -> None:
    live(1)
