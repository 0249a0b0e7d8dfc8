"""An estate of a few nights whose pseudonym key is replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lethe.adapters.catalogue import Catalogue
from lethe.estate.search import Needles, search
from tests.fakes.living_estate import LivingEstate, name_of
from tests.fakes.looked_at import Seen

ANN, BOB, CARL, DORA, EVE = (f"customer-{number:04d}" for number in range(5))
MONTH = 31 * 86_400
MOST_CALLS = 60

Rows = dict[tuple[str, str, int], int]


@contextlib.contextmanager
def three_nights(root: Path) -> Iterator[LivingEstate]:
    """Three nights with people of two months; the newest version is champion."""
    made = LivingEstate(root, lambda *_: None)
    try:
        for day in range(2):
            land(made, ANN, BOB, CARL, day=day)
            assert night(made) == "promoted"
        yield made
    finally:
        made.end()


def land(estate: LivingEstate, *people: str, day: int = 0) -> None:
    now = estate.world.clock = estate.world.clock + 60
    estate.land([(raw, f"item-{day}", now - old) for raw in people for old in (0, MONTH)], None)


def night(estate: LivingEstate, verdict: str = "VERIFIED") -> str:
    return estate.night(verdict, lambda: None, None)


def champion(estate: LivingEstate) -> int:
    number = estate.world.versions.champion()
    assert number is not None
    return number


def people(rows: Rows) -> set[str]:
    return {user for user, *_ in rows}


def inner(*raw: str, epoch: int = 0) -> set[str]:
    return {name_of((one, epoch)) for one in raw}


def retained(estate: LivingEstate) -> list[Rows]:
    """The rows of every retained data version, by inner name; the oldest first."""
    return [
        Seen(estate).rows_of(one.digest) for one in Catalogue(estate.workspace.catalogue).list()
    ]


def bytes_outside_of_versions(estate: LivingEstate) -> set[str]:
    """Which former names are found anywhere but in solution versions and the vault."""
    names = sorted(inner(ANN, BOB, CARL))
    hits = search(estate.workspace, Needles.of(names, ()), before_closing=False)
    return set(hits.files_by_store)
