"""What must hold in an estate at any moment of its life, beside a plain model."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, invariant

from lethe.adapters.catalogue import Catalogue
from lethe.durable import read_json, sha256_json
from lethe.interactions.rights.register import RequestState
from lethe.interactions.rights.standing import Fold, checked_head
from lethe.stages import opening
from tests.fakes.living_estate import (
    LivingEstate,
    name_of,
    stone_of,
)
from tests.fakes.looked_at import Seen
from tests.fakes.plain_estate import Life as Lifetime
from tests.fakes.plain_estate import Plain, Row

MEMORY = Path("/dev/shm")  # noqa: S108 - quick, where there is one


class Held(RuleBasedStateMachine):
    """An estate, its model, and what must hold between them; the rules come on top."""

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


def named(rows: frozenset[Row]) -> dict[tuple[str, str, int], int]:
    """The rows as they lie in shards: each once."""
    return {(name_of(life), item, at): 1 for life, item, at in rows}
