"""The whole life of an estate, in any order: nobody erased stays, nobody retained is lost.

The test run lives 240 of seven nights each, always the same ones: half of them here, the others in
`test_other_lives.py`, so that two workers share them. `LETHE_LIVES=10000 .venv/bin/python -m pytest
tests/nights/test_life.py` lives as many as wanted, other ones each time: about half a second of one
core a life.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.nights.life import Life
from tests.nights.troubles import DAYS

LIVES = 120
ON_DEMAND = os.environ.get("LETHE_LIVES")


def live(number: int) -> None:
    """The lives that begin with this number."""
    run_state_machine_as_test(
        Life if ON_DEMAND else seed(number)(Life),
        settings=settings(
            max_examples=int(ON_DEMAND or LIVES),
            stateful_step_count=DAYS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(0 if ON_DEMAND else 900)
def test_nobody_erased_stays_and_nobody_retained_is_lost_in_any_order_of_events() -> None:
    live(0)
