"""What the estate must hold, told by sets and lists: an oracle that shares no code with lethe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Life = tuple[str, int]
"""A raw id, and which of that person's lives: one more after each new consent."""

Row = tuple[Life, str, int]
"""Whose, item, timestamp."""

Landed = tuple[str, str, int]
"""A row as it lands: raw id, item, timestamp."""

Answer = Literal["entered", "already", "refused"]


@dataclass
class Plain:
    """People's standing, the rows there must be, and who is in which version.

    `landed` holds the rows of files by name, until a night has versioned them. `data` are the
    rows of each data version as it was made, `met` whoever had a row that was taken in. `order` is
    that in which a request follows to the lives merged with the one that was asked for.
    """

    order: Callable[[Life], str]
    merged: list[set[Life]] = field(default_factory=list)
    position: int = 0
    epoch: dict[str, int] = field(default_factory=dict)
    since: dict[Life, int] = field(default_factory=dict)
    objecting: set[Life] = field(default_factory=set)
    restricted: set[Life] = field(default_factory=set)
    pending: set[Life] = field(default_factory=set)
    erased: dict[Life, int] = field(default_factory=dict)
    asked: dict[int, tuple[str, Life]] = field(default_factory=dict)
    landed: dict[str, list[Landed]] = field(default_factory=dict)
    ever: list[Landed] = field(default_factory=list)
    present: frozenset[Row] = frozenset()
    data: dict[str, frozenset[Row]] = field(default_factory=dict)
    met: set[Life] = field(default_factory=set)

    def life(self, raw: str) -> Life:
        """The present life."""
        return raw, self.epoch.get(raw, 0)

    def lives(self) -> list[Life]:
        """Every life that a row or a request ever named."""
        named = {row[0] for row in self.ever} | {life[0] for _, life in self.asked.values()}
        return [(raw, n) for raw in sorted(named) for n in range(self.epoch.get(raw, 0) + 1)]

    def excluded(self) -> set[Life]:
        """Who may not be trained on."""
        return {*self.erased, *self.objecting, *self.restricted}

    def gone(self, upto: int) -> set[Life]:
        """Whose erasure has taken effect at a position of the register."""
        return {life for life, at in self.erased.items() if at <= upto}

    def ask(self, action: str, raw: str, at: int) -> Answer:
        """Enter one request, if it makes sense."""
        life = self.life(raw)
        answer = self._answer(action, life)
        if answer == "entered":
            self._enter(action, life, at)
        if answer != "refused" and action != "RECONSENT":
            for other in sorted(self.person(life) - {life}, key=self.order):
                if self._answer(action, other) == "entered":
                    self._enter(action, other, at)
        return answer

    def person(self, life: Life) -> set[Life]:
        """The life, and all that were merged with it."""
        return next((lives for lives in self.merged if life in lives), {life})

    def merge(self, one: str, other: str) -> Answer:
        """Two ids are one person, if both stand alike and neither is erased."""
        lives = self.life(one), self.life(other)
        if lives[1] in self.person(lives[0]):
            return "already"
        kept_out = self.objecting, self.restricted, self.pending
        alike = all((lives[0] in people) == (lives[1] in people) for people in kept_out)
        if not alike or self.erased.keys() & set(lives):
            return "refused"
        both = self.person(lives[0]) | self.person(lives[1])
        self.merged = [*(people for people in self.merged if not people & both), both]
        return "entered"

    def _enter(self, action: str, life: Life, at: int) -> None:
        self.position += 1
        self.asked[self.position] = action, life
        if action == "RECONSENT":
            self.epoch[life[0]] = life[1] + 1
            self.since[self.life(life[0])] = at
        elif action == "ERASE":
            self.pending.add(life)
        else:
            people = self.objecting if "OBJECT" in action else self.restricted
            (people.add if action in ("OBJECT", "RESTRICT") else people.discard)(life)
        if life in self.pending and life not in self.restricted:
            self.pending.discard(life)
            self.erased[life] = self.position

    def _answer(self, action: str, life: Life) -> Answer:
        gone, held = life in self.erased, life in self.restricted
        senseless = {
            "WITHDRAW_OBJECTION": life not in self.objecting,
            "RELEASE": not held,
            "RESTRICT": gone and not held,
            "RECONSENT": not gone,
        }
        already = {
            "ERASE": gone or life in self.pending,
            "OBJECT": life in self.objecting,
            "RESTRICT": held,
        }
        if senseless.get(action, False):
            return "refused"
        return "already" if already.get(action, False) else "entered"

    def land(self, name: str, rows: list[Landed]) -> None:
        """A file lies in landing."""
        self.landed[name] = rows
        self.ever += rows

    def take_in(self) -> None:
        """All landed rows are in, and of everybody who is erased by now none is left."""
        taken = self._of_the_living()
        new = {(self.life(raw), item, at) for raw, item, at in taken}
        self.present = frozenset(row for row in {*self.present, *new} if row[0] not in self.erased)
        self.met |= {row[0] for row in self.present}
        self.landed = {}

    def _of_the_living(self) -> list[Landed]:
        """Rows from before a new consent belong to the life before it."""
        rows = [row for rows in self.landed.values() for row in rows]
        return [row for row in rows if row[2] >= self.since.get(self.life(row[0]), 0)]

    def trained_on(self) -> frozenset[Life]:
        """Whom tonight's version must hold: everybody with rows who is not kept out."""
        return frozenset(row[0] for row in self.present) - self.excluded()
