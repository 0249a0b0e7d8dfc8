"""The promotion race over every interleaving of a small world: see `promotion_race`."""

from __future__ import annotations

import pytest

from tests.gate.promotion_race import explore
from tests.gate.race_world import EVENTS, LETHE, RESTORE, VARIANTS


def test_no_interleaving_promotes_an_erased_user_or_an_unverified_artifact() -> None:
    found = explore(LETHE)
    assert found.breaches.total() == 0
    assert found.states > 10_000
    assert found.promotions > 1_000
    assert found.aborted > 100


def test_a_remembered_head_stops_a_register_restored_from_backup() -> None:
    found = explore(LETHE, RESTORE)
    assert found.breaches.total() == 0
    assert found.promotions > 1_000


@pytest.mark.parametrize(
    ("name", "breach"),
    [
        ("verified against the register at the start", "erased"),
        ("verified against the register at verify time", "erased"),
        ("and every snapshot filtered", "erased"),
        ("and every snapshot filtered", "unverified"),
        ("and the register checked again at the commit point", "unverified"),
        ("the register restored from the data's backup", "erased"),
        ("everything but the lock", "erased"),
        ("the INTENT lost in the crash", "stray alias"),
    ],
)
def test_the_checker_catches_every_broken_variant(name: str, breach: str) -> None:
    events = RESTORE if "restored" in name else EVENTS
    found = explore(VARIANTS[name], events, enough=lambda found: found.breaches[breach] > 0)
    assert found.breaches[breach] > 0
