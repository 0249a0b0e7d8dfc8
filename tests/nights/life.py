"""The life of an estate as rules in any order, beside a plain model of what must be there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lethe.adapters.catalogue import Catalogue
from lethe.durable import read_json, sha256_json
from lethe.errors import ArtifactCorrupt, BadRequest
from lethe.interactions.rights.register import Action, RequestState
from lethe.interactions.rights.standing import Fold, checked_head
from lethe.stages import opening
from tests.fakes.living_estate import (
    INTAKE,
    PROMOTION,
    RETIRE,
    ROTATION,
    Kill,
    LivingEstate,
    name_of,
    stone_of,
)
from tests.fakes.looked_at import Seen
from tests.fakes.plain_estate import Life as Lifetime
from tests.fakes.plain_estate import Plain, Row

Right = Literal["erasure", "objection", "restriction"]
Wish = Right | Action | Literal["merge"]
PEOPLE = [f"customer-{number:04d}" for number in range(4)]
DAYS = 6  # of a life, after its first
MONTH = 31 * 86_400
MEMORY = Path("/dev/shm")  # noqa: S108 - quick, where there is one

Asked = list[tuple[Wish, str]]
Older = str | tuple[str, Kill | None]
Day = tuple[list[Any], str | None, Asked, Older]
Trouble = tuple[str, Asked, Kill | None]

person = st.sampled_from(PEOPLE)
right: st.SearchStrategy[Wish] = st.sampled_from(
    [*["erasure"] * 4, "objection", "restriction", *Action, "merge"]
)
ASKED = st.lists(st.tuples(right, person), min_size=1, max_size=3)
NOBODY: st.SearchStrategy[Asked] = st.just([])
ROW = st.tuples(person, st.integers(0, 3), st.booleans()) | st.integers(0, 20)
ROTATED: st.SearchStrategy[Older] = st.tuples(
    st.just("rotated"),
    st.none() | st.tuples(st.sampled_from(sorted(ROTATION)), st.sampled_from([0, 0, 0, 1, 2])),
)
DAY = st.tuples(
    st.lists(ROW, min_size=1, max_size=3),
    st.none() | person,
    NOBODY | ASKED | ASKED,
    st.one_of(*[st.sampled_from(["", "", "", "copied", "put back"])] * 3, ROTATED),
)


def killed(calls: Iterable[str]) -> st.SearchStrategy[Trouble]:
    """A night that is killed before one of these calls, mostly the first of its kind."""
    kill = st.tuples(st.sampled_from(sorted(calls)), st.sampled_from([0, 0, 0, 0, 1, 3]))
    return st.tuples(st.just("VERIFIED"), NOBODY | ASKED, kill)


INTERRUPTED: st.SearchStrategy[Trouble] = st.tuples(st.just("VERIFIED"), ASKED, st.none())
TROUBLE: st.SearchStrategy[Trouble] = st.one_of(
    st.tuples(st.just("REFUSED"), NOBODY, st.none()),
    INTERRUPTED,
    killed(INTAKE),
    killed(PROMOTION),
    killed(RETIRE),
)


class Life(RuleBasedStateMachine):
    """Rules change the estate and the model alike; the invariants compare them."""

    def __init__(self) -> None:
        super().__init__()
        place = MEMORY if MEMORY.is_dir() else None
        self.place = Path(tempfile.mkdtemp(prefix="lethe-life-", dir=place))
        self.estate = LivingEstate(self.place / "shop", self.hear)
        self.plain = Plain(stone_of)
        self.copy: frozenset[Row] | None = None
        self.swept = 0  # the register's position at the last retire that ended
        self.whole = True  # no killed night since the last one that ended
        self.looked = True
        self.done = 0  # promotions already looked at
        self.closed: dict[int, str | None] = {}
        self.known: set[Lifetime] = set()

    def teardown(self) -> None:
        self.estate.end()
        shutil.rmtree(self.place)

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

    def hear(self, step: str, told: Any) -> None:
        if step == "taken in":
            self.plain.take_in()
        elif step == "committed":
            self.plain.data[told] = self.plain.present
        elif step == "recorded":
            expected = {name_of(life) for life in self.plain.trained_on()}
            assert Seen(self.estate).users_of(told) == expected
        else:
            self.nobody_excluded_was_promoted()

    def requests(self) -> tuple[RequestState, ...]:
        return self.estate.world.desk.register.requests()

    # What must hold after each of them

    @invariant()
    def the_register_says_what_was_asked(self) -> None:
        entries = self.estate.world.desk.register.entries()
        checked_head(entries, opening.newest_known(self.estate.workspace))
        standing, plain = Fold(entries).standing(), self.plain
        assert standing.erased_at == {stone_of(life): at for life, at in plain.erased.items()}
        for said, told in (
            (standing.objecting, plain.objecting),
            (standing.restricted, plain.restricted),
            (standing.blocked, plain.pending),
        ):
            assert said == {stone_of(life) for life in told}

    @invariant()
    def nobody_excluded_is_served(self) -> None:
        """By any stored version, from the moment on at which it was asked; and all others are."""
        versions = self.estate.world.versions
        barred = {name_of(life) for life in self.plain.excluded()}
        for info in versions.versions():
            served = Seen(self.estate).served(info.version)
            assert not barred & served
            if self.whole:
                assert served == Seen(self.estate).users_of(info.version) - barred

    def nobody_excluded_was_promoted(self) -> None:
        done = [p for p in self.estate.world.desk.register.promotions() if p.state == "done"]
        barred = {name_of(life) for life in self.plain.excluded()}
        for promotion in done[self.done :]:
            assert not barred & Seen(self.estate).users_of(promotion.intent.version)
        self.done = len(done)

    @invariant()
    def the_stores_hold_what_they_must_and_nobody_else(self) -> None:
        """Looked at after nights only: nothing else writes there but the copy that is put back."""
        if self.looked:
            return
        self.looked = True
        self.nobody_excluded_was_promoted()
        self.every_row_of_the_retained_is_there()
        self.every_data_version_is_its_own()
        self.solution_versions_forget()
        self.loose_rows_forget()
        self.what_is_closed_is_gone_and_stays_closed()

    def every_row_of_the_retained_is_there(self) -> None:
        rows = Seen(self.estate).rows()
        if self.whole:
            assert rows == named(self.plain.present)
        else:
            assert named(self.retained(self.plain.present)).keys() <= rows.keys()

    def every_data_version_is_its_own(self) -> None:
        catalogue, data = Catalogue(self.estate.workspace.catalogue), self.estate.world.data
        for version in catalogue.list():
            if self.whole or version.digest in data.held():
                rows = Seen(self.estate).rows_of(version.digest)
                for name in {version.digest, *version.formerly} & self.plain.data.keys():
                    self.is_the_version(name, rows)
        if self.whole:
            assert data.held() == {version.digest for version in catalogue.list()}
            assert len(data.held()) <= 3 + len(self.estate.world.versions.versions())

    def is_the_version(self, name: str, rows: dict[tuple[str, str, int], int]) -> None:
        """`rows` are those of the version that was made under that name, without the erased.

        The present one waits for the next night's purge.
        """
        made = self.plain.data[name]
        if not self.whole:
            assert named(self.retained(made)).keys() <= rows.keys() <= named(made).keys()
        elif name == self.estate.world.data.digest("data/interactions"):
            assert rows == named(made)
        else:
            assert rows == named(self.retained(made, self.swept))

    def retained(self, rows: frozenset[Row], upto: int | None = None) -> frozenset[Row]:
        """Those rows of people who were not erased by then."""
        gone = self.plain.gone(self.plain.position if upto is None else upto)
        return frozenset(row for row in rows if row[0] not in gone)

    def solution_versions_forget(self) -> None:
        versions = self.estate.world.versions
        gone = {name_of(life) for life in self.plain.gone(self.swept)}
        for info in versions.versions():
            if self.whole and info.version != versions.champion():
                assert not gone & Seen(self.estate).users_of(info.version)

    def loose_rows_forget(self) -> None:
        """Quarantine, and the vault: it knows whoever has rows, and whoever must be looked for."""
        known = Seen(self.estate).in_vault(self.plain.lives())
        evidence = self.estate.workspace.evidence
        for position, (action, life) in self.plain.asked.items():
            if action == "ERASE" and life in self.known - known:
                assert (evidence / f"request-{position}.json").is_file()
        self.known = known
        if self.whole:
            assert {row[0] for row in self.retained(self.plain.present)} <= known
            refused = Seen(self.estate).quarantined()
            for life in self.plain.gone(self.swept):
                if life == self.plain.life(life[0]):
                    assert life[0].encode() not in refused

    def what_is_closed_is_gone_and_stays_closed(self) -> None:
        closed = {s.entry.position: s for s in self.requests() if not s.open}
        for position, evidence in self.closed.items():
            assert closed[position].evidence == evidence
        self.closed = {position: state.evidence for position, state in closed.items()}
        gone = set()
        for position, state in closed.items():
            action, life = self.plain.asked[position]
            path = self.estate.workspace.evidence / f"request-{position}.json"
            assert state.evidence == sha256_json(read_json(path))
            if action == "ERASE":
                assert state.state == "closed" or life not in self.plain.met
                gone.add(life)
        assert not gone & self.known
        names = {name_of(life) for life in gone}
        assert not names & Seen(self.estate).users_in_the_cache()
        for info in self.estate.world.versions.versions():
            assert not names & Seen(self.estate).users_of(info.version)


def full_of(trouble: st.SearchStrategy[Trouble]) -> type[Life]:
    """Lives in which every trouble is of one kind."""

    class Troubled(Life):
        @rule(day=DAY, trouble=trouble)
        def a_day_of_trouble(self, day: Day, trouble: Trouble) -> None:
            self.a_troubled_day(day, trouble)

    return Troubled


def named(rows: frozenset[Row]) -> dict[tuple[str, str, int], int]:
    """The rows as they lie in shards: each once."""
    return {(name_of(life), item, at): 1 for life, item, at in rows}
