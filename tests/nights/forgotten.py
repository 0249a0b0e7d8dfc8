"""A small shop whose last step of a night forgets people, and what is left of it afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lethe.adapters.catalogue import Catalogue
from lethe.durable import read_json, sha256_json
from lethe.estate.vault import Vault
from lethe.interactions.intake.quarantine import Quarantine
from lethe.interactions.intake.verdicts import RefusedRow
from lethe.interactions.rights.register import Action, Register
from lethe.nights.forgetting import retiring
from lethe.nights.forgetting.retiring import retire
from lethe.stages import opening
from tests.fakes.data_versions import FakeDataVersions
from tests.fakes.night_desk import World
from tests.fakes.solution_versions import FakeSolutionVersions
from tests.kills import dying_at

PEOPLE = [f"customer-{number:04d}" for number in range(6)]
ANN, BOB, CAT, DAN, EVE, FAY = PEOPLE


def retired(world: World, night: str = "tonight") -> retiring.Retired:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "open_data", lambda _: world.data)
        patch.setattr(opening, "now", lambda: world.clock)
        return retire(world.desk, night)


def after_one_night(root: Path) -> World:
    """Everybody has rows, and version 1 was made from all of them."""
    world = World(root, PEOPLE)
    world.take_in(*PEOPLE)
    world.night()
    retired(world, "first")
    return world


def states(world: World) -> dict[int, str]:
    return {s.entry.position: s.state for s in world.desk.register.requests()}


MOST_CALLS = 36
DURABLE: list[tuple[Any, str]] = [
    (FakeSolutionVersions, "destroy"),
    (FakeSolutionVersions, "sweep"),
    (FakeDataVersions, "destroy"),
    (FakeDataVersions, "sweep"),
    (FakeDataVersions, "copy_in"),
    (FakeDataVersions, "put_version"),
    (Catalogue, "_write"),
    (Quarantine, "forget"),
    (Vault, "forget"),
    (Register, "close"),
    (retiring, "write_json"),
    (shutil, "rmtree"),
    (Path, "unlink"),
]


def in_need(root: Path) -> World:
    """A night before its last step: two erasures, an objection, a hold, a stranger, loose rows."""
    world = after_one_night(root)
    world.ask(Action.ERASE, ANN, BOB, "stranger-1")
    world.ask(Action.OBJECT, CAT)
    world.ask(Action.RESTRICT, DAN)
    world.ask(Action.ERASE, DAN)
    rows = [RefusedRow(1, "r", f"{ANN},i"), RefusedRow(2, "r", f"{EVE},i")]
    Quarantine(world.workspace.quarantine).rows("ab" * 32, rows)
    world.night()
    return world


def whole_or_absent(*arguments: Any) -> bool:
    """`durable.replacing` leaves a file whole or not there: its own steps do not count."""
    return not (arguments and str(arguments[0]).endswith(".part"))


def killing(world: World, at: int | None) -> int:
    """Retire, and die right before the durable call number `at`; how many calls came."""
    return dying_at(at, DURABLE, lambda: retired(world), whole_or_absent)


def ends_as(world: World) -> dict[str, Any]:
    requests = world.desk.register.requests()
    evidence = sorted(world.workspace.evidence.iterdir())
    return {
        "requests": [(s.entry.position, s.state, s.rows_removed) for s in requests],
        "closed by": {
            s.entry.position: s.evidence
            == sha256_json(read_json(world.workspace.evidence / f"request-{s.entry.position}.json"))
            for s in requests
            if not s.open
        },
        "evidence": {path.name: _uncounted(read_json(path)) for path in evidence},
        "versions": [info.version for info in world.versions.versions()],
        "data": (world.data.held(), set(world.data.content.keys())),
        "catalogue": [v.digest for v in Catalogue(world.workspace.catalogue).list()],
        "vault": world.vault.count(),
        "quarantine": Quarantine(world.workspace.quarantine).counts(),
        "certificates": sorted(path.name for path in world.workspace.certificates.iterdir()),
        "temporary": list(world.workspace.temporary.iterdir()),
    }


def _uncounted(evidence: dict[str, Any]) -> dict[str, Any]:
    """Without how much was searched: a killed night's own evidence lies among it."""
    for name in ("files_searched", "bytes_searched", "searched_by_store"):
        del evidence["search"][name]
    return evidence
