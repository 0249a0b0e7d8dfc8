"""The life of an estate as rules in any order, beside a plain model of what must be there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from lethe.errors import ArtifactCorrupt, BadRequest
from lethe.interactions.rights.register import Action, RequestState
from tests.fakes.living_estate import (
    Kill,
)
from tests.nights.held import Held
from tests.nights.troubles import DAY, MONTH, PEOPLE, TROUBLE, Asked, Day, Older, Right, Trouble


class Life(Held):
    """Rules change the estate and the model alike; the invariants compare them."""

    # What happens

    @initialize()
    def everybody_has_rows_and_is_in_a_champion(self) -> None:
        self.a_file_lands([(raw, 0, old) for raw in PEOPLE for old in (False, True)], None)
        self.night()

    @rule(day=DAY)
    def a_day(self, day: Day) -> None:
        """A file lands, people ask, a night follows; so it is on the other days."""
        self.in_the_day(*day)
        self.night()

    @rule(day=DAY, trouble=TROUBLE)
    def a_day_of_trouble(self, day: Day, trouble: Trouble) -> None:
        """The night is refused, people ask before its promotion, or it is killed."""
        self.a_troubled_day(day, trouble)

    def a_troubled_day(self, day: Day, trouble: Trouble) -> None:
        verdict, asked, kill = trouble
        self.in_the_day(*day)
        self.night(verdict, lambda: self.people_ask(asked), kill)

    def in_the_day(self, rows: list[Any], spoiled: str | None, asked: Asked, older: Older) -> None:
        if isinstance(older, tuple):
            self.the_key_is_replaced(older[1])
        elif older and self.whole:
            self.the_oldest_version_is(older)
        self.a_file_lands(rows, spoiled)
        self.people_ask(asked)

    def the_oldest_version_is(self, older: str) -> None:
        """Checked out where the estate does not reach; or put back, and the erased with it."""
        if older == "copied":
            version = self.estate.copy_aside(self.place / "copy")
            names = {version.digest, *version.formerly} & self.plain.data.keys()
            self.copy = self.retained(self.plain.data[min(names)], self.swept)
        elif self.copy is not None:
            self.estate.put_back(self.place / "copy")
            self.plain.present = self.copy

    def the_key_is_replaced(self, kill: Kill | None) -> None:
        """Everything stays as it is but the names; the oldest copy is of no use any more."""
        ended = self.estate.rotate(kill)
        waiting = [s for s in self.requests() if s.open and s.entry.action is Action.ERASE]
        assert ended != "refused" or waiting or not self.whole
        assert self.whole or ended == "refused"
        if ended == "rotated":
            self.looked = False
            self.the_stores_hold_what_they_must_and_nobody_else()
        if ended != "refused":
            self.copy = None

    def a_file_lands(self, rows: list[Any], spoiled: str | None) -> None:
        """Rows of people, new or dated back by a month, and rows that were there before."""
        now = self.estate.world.clock = self.estate.world.clock + 60
        landed = []
        for number, row in enumerate(rows):
            if isinstance(row, int):
                landed += self.plain.ever[row : row + 1]
            else:
                raw, item, old = row
                landed.append((raw, f"item-{item}", now - number - MONTH * old))
        self.plain.land(self.estate.land(landed, spoiled), landed)

    def people_ask(self, asked: Asked) -> None:
        for what, raw in asked:
            if what == "merge":  # with the next one
                self.two_are_one(raw, PEOPLE[(PEOPLE.index(raw) + 1) % len(PEOPLE)])
                continue
            action = what if isinstance(what, Action) else self.the_sensible(what, raw)
            try:
                answer = self.estate.ask(action, raw)
                told = "entered" if answer["entered"] else "already"
            except BadRequest:
                told = "refused"
            assert told == self.plain.ask(str(action), raw, self.estate.world.clock)

    def two_are_one(self, one: str, other: str) -> None:
        try:
            told = "entered" if self.estate.merge(one, other)["merged"] else "already"
        except BadRequest:
            told = "refused"
        assert told == self.plain.merge(one, other)

    def the_sensible(self, what: Right, raw: str) -> Action:
        """What a person can ask for as they stand: the right, or its end."""
        life, plain = self.plain.life(raw), self.plain
        asked, people, back = {
            "erasure": (Action.ERASE, plain.erased, Action.RECONSENT),
            "objection": (Action.OBJECT, plain.objecting, Action.WITHDRAW_OBJECTION),
            "restriction": (Action.RESTRICT, plain.restricted, Action.RELEASE),
        }[what]
        return back if life in people else asked

    # A night, and what the model hears of it

    def night(
        self,
        verdict: str = "VERIFIED",
        meanwhile: Callable[[], None] = lambda: None,
        kill: Kill | None = None,
    ) -> None:
        self.looked = False
        began_at = self.plain.position
        try:
            ended = self.estate.night(verdict, meanwhile, kill)
        except ArtifactCorrupt as error:
            raise AssertionError("a night found its own stores corrupt") from error
        self.whole = ended != "killed"
        if self.whole:
            self.swept = self.plain.position
        if ended == "promoted":
            assert not [s for s in self.requests() if s.open and self.is_due(s, began_at)]

    def is_due(self, state: RequestState, purged_at: int) -> bool:
        """Nothing stands in the way of closing it, once a version made at that position serves."""
        action, life = self.plain.asked[state.entry.position]
        effective = state.entry.position if action != "ERASE" else self.plain.erased.get(life)
        return effective is not None and effective <= purged_at


def full_of(trouble: st.SearchStrategy[Trouble]) -> type[Life]:
    """Lives in which every trouble is of one kind."""

    class Troubled(Life):
        @rule(day=DAY, trouble=trouble)
        def a_day_of_trouble(self, day: Day, trouble: Trouble) -> None:
            self.a_troubled_day(day, trouble)

    return Troubled
