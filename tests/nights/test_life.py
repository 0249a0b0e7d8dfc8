"""The whole life of an estate, in any order: nobody erased stays, nobody retained is lost.

The test run has room for 60 lives of seven nights, always the same ones. `LETHE_LIVES=10000
.venv/bin/python -m pytest tests/nights/test_life.py` lives as many as wanted, other ones each time:
about half a second of one core a life.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.nights.life import DAYS, Life

LIVES = 60
ON_DEMAND = os.environ.get("LETHE_LIVES")


@pytest.mark.timeout(0 if ON_DEMAND else 300)
def test_nobody_erased_stays_and_nobody_retained_is_lost_in_any_order_of_events() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=int(ON_DEMAND or LIVES),
            stateful_step_count=DAYS,
            deadline=None,
            derandomize=not ON_DEMAND,
            suppress_health_check=list(HealthCheck),
        ),
    )
