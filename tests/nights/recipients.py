"""A shop whose recipients are told, and what waits to be told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lethe.durable import read_json
from lethe.interactions.rights.register import Action, Request
from lethe.nights.forgetting.notifying import about, waiting
from tests.fakes.night_desk import PARAMS, World, stone_of

PRINTER, MAILER = RECIPIENTS = ("A printer of letters", "The mailer")
DAY = "2026-02-02"


def with_recipients(world: World, *names: str) -> World:
    world.desk = replace(world.desk, params=PARAMS.model_copy(update={"recipients": names}))
    return world


def ask(world: World, action: Action, *raw: str) -> None:
    """As `lethe erase` and the others enter a batch."""
    asked_by_way_of(about, world, action, *raw)


def asked_by_way_of(telling: Any, world: World, action: Action, *raw: str) -> None:
    world.clock += 60
    with telling(world.desk, action, world.clock, [(stone_of(one), one) for one in raw]):
        world.desk.register.append([Request(action, stone_of(one), world.clock) for one in raw])


def notices(world: World) -> list[tuple[str, str, tuple[int, ...], tuple[str, ...]]]:
    """What each notice says, with the ids that it holds."""
    folder = world.workspace.outbox
    return [
        (one.recipient, one.asked, one.positions, tuple(read_json(folder / one.file)["people"]))
        for one in waiting(world.desk)
    ]


def states(world: World) -> dict[int, str]:
    return {s.entry.position: s.state for s in world.desk.register.requests()}
