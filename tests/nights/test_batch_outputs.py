"""Nobody suppressed is in a batch output, in whatever order people ask; nobody else loses a row."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe import durable
from lethe.durable import sha256_file
from lethe.errors import BadRequest, StoreUnavailable
from lethe.estate.outward import batches
from lethe.estate.outward.batches import Facts, Table
from lethe.estate.outward.tables import Form, users_in
from lethe.interactions.rights.identity import Identities
from lethe.interactions.rights.merges import Pair
from lethe.interactions.rights.register import Action, Request
from lethe.nights.batches import withdrawing
from lethe.nights.forgetting import suppressing
from lethe.nights.forgetting.suppressing import keep_outputs_of, refresh
from tests.estate.test_batches import table_of, write
from tests.fakes.night_desk import KEYS, World
from tests.fakes.plain_estate import Life, Plain
from tests.kills import dying_at
from tests.nights.forgotten import ANN, BOB, CAT, PEOPLE, after_one_night, retired

SOME = PEOPLE[:3]
ITEMS = [*PEOPLE, "7", "1"]  # items and ranks can read like ids


@dataclass
class Lists:
    """A world with a batch output, and who must be in it, told by sets of lives."""

    world: World
    form: Form = "csv"
    plain: Plain = field(default_factory=lambda: Plain(lambda life: life[0]))
    lives: set[Life] = field(default_factory=set)

    @property
    def table(self) -> Table:
        return Table.of(self.world.workspace.recommendations, 1, self.form)

    def stone(self, raw: str) -> str:
        standing = self.world.desk.register.standing()
        return Identities(KEYS, standing).resolve([raw])[0].tombstone

    def made(self) -> None:
        """As `lethe recommend` leaves it, at the register's head."""
        self.lives = {self.plain.life(raw) for raw in PEOPLE} - self.plain.excluded()
        users = sorted(raw for raw, _ in self.lives)
        head = self.world.desk.register.head()
        facts = Facts(1, "d", "d", head.position, 8, "drop", self.world.clock, 0, 0)
        self.table.path.parent.mkdir(exist_ok=True)
        draft = write(self.table.path.with_name("draft"), self.form, dict.fromkeys(users, ITEMS))
        batches.publish(draft, self.table, facts, table_of({}), set())
        draft.unlink()

    def ask(self, action: Action, raw: str, told: bool = True) -> None:
        """A request; killed before it reached the output unless `told`."""
        self.world.clock += 60
        stone, answer = self.stone(raw), self.plain.ask(str(action), raw, self.world.clock)
        with contextlib.suppress(BadRequest) if answer == "refused" else contextlib.nullcontext():
            self.world.desk.register.append([Request(action, stone, self.world.clock)])
        if told:
            self.look()

    def merge(self, one: str, other: str) -> None:
        pair = Pair(1, self.stone(one), self.stone(other))
        answer = self.plain.merge(one, other)
        with contextlib.suppress(BadRequest) if answer == "refused" else contextlib.nullcontext():
            self.world.desk.register.merge([pair], self.world.clock)

    def look(self) -> None:
        before = self.table.path.read_bytes()
        refresh(self.world.desk)
        self.lives -= self.plain.excluded()
        left = {raw for raw, _ in self.lives}
        assert set(users_in(self.table.path, self.form)) == left
        if self.form == "csv":
            header, *lines = before.splitlines(keepends=True)
            kept = [line for line in lines if line.decode().split('"')[1] in left]
            assert self.table.path.read_bytes() == b"".join([header, *kept])
        facts = self.table.facts()
        assert facts is not None
        assert (facts.users, facts.rows) == (len(left), len(left) * len(ITEMS))
        assert facts.sha256 == sha256_file(self.table.path)


STEPS = st.lists(
    st.tuples(st.sampled_from(Action), st.sampled_from(SOME), st.booleans())
    | st.tuples(st.sampled_from(SOME), st.sampled_from(SOME)).filter(lambda two: two[0] != two[1])
    | st.just("made"),
    min_size=1,
    max_size=9,
)


def lived(steps: list[Any], form: Form = "csv") -> None:
    with TemporaryDirectory() as folder:
        lists = Lists(World(Path(folder) / "shop", PEOPLE), form)
        lists.made()
        for step in steps:
            if isinstance(step, str):
                lists.made()
            elif isinstance(step[0], Action):
                lists.ask(*step)
            else:
                lists.merge(*step)
        lists.look()
        lists.world.desk.register.engine.dispose()


@settings(max_examples=12, deadline=None)
@given(steps=STEPS, form=st.sampled_from(["csv", "csv", "parquet"]))
def test_nobody_suppressed_is_in_it_and_everybody_else_keeps_every_byte(
    steps: list[Any], form: Form
) -> None:
    lived(steps, form)


def lives_of_today(patch: pytest.MonkeyPatch) -> None:
    original = withdrawing.excluded

    def excluded(desk: Any, users: Any, position: int, standing: Any) -> set[str]:
        return original(desk, users, standing.position, standing)

    patch.setattr(withdrawing, "excluded", excluded)


def the_erased_alone(patch: pytest.MonkeyPatch) -> None:
    def excluded(desk: Any, users: Any, position: int, standing: Any) -> set[str]:
        lives = Identities(desk.keys, desk.register.standing(upto=position)).resolve(users)
        pairs = zip(users, lives, strict=True)
        return {user for user, life in pairs if life.tombstone in standing.erased}

    patch.setattr(withdrawing, "excluded", excluded)


def any_life_that_ever_was(patch: pytest.MonkeyPatch) -> None:
    def excluded(desk: Any, users: Any, position: int, standing: Any) -> set[str]:
        lives = Identities(desk.keys, desk.register.standing(upto=0)).resolve(users)
        pairs = zip(users, lives, strict=True)
        return {user for user, life in pairs if life.tombstone in standing.excluded}

    patch.setattr(withdrawing, "excluded", excluded)


def nothing_is_taken_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(suppressing, "withdraw", lambda _: 0)


RETURNED = [(Action.ERASE, ANN, False), (Action.RECONSENT, ANN, True)]
STORIES: dict[Callable[[pytest.MonkeyPatch], None], list[Any]] = {
    lives_of_today: RETURNED,
    the_erased_alone: [(Action.OBJECT, BOB, True)],
    any_life_that_ever_was: [*RETURNED, "made"],
    nothing_is_taken_out: [(ANN, BOB), (Action.ERASE, BOB, True)],
}


@pytest.mark.parametrize("mutant", STORIES, ids=lambda mutant: mutant.__name__)
def test_an_output_emptied_in_another_way_is_noticed(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(STORIES[mutant])
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        lived(STORIES[mutant])


# --- kills and disks ----------------------------------------------------------------------------

CALLS = [(durable, "sync_folder"), (batches, "sync_folder"), (os, "fsync"), (Path, "replace"),
         (Path, "unlink")]  # fmt: skip


def test_a_kill_anywhere_leaves_whole_files_and_the_next_command_ends_it(tmp_path: Path) -> None:
    for at in range(100):
        lists = Lists(World(tmp_path / f"erased-{at}", PEOPLE))
        lists.made()
        lists.ask(Action.ERASE, ANN, told=False)
        calls = dying_at(at, CALLS, lambda: refresh(lists.world.desk))  # noqa: B023
        assert set(users_in(lists.table.path, "csv")) in ({*PEOPLE}, {*PEOPLE} - {ANN})
        lists.look()
        if calls <= at:
            break
    assert 8 < at < 30


def test_a_table_killed_as_it_was_published_is_whole_with_its_facts_or_goes(
    tmp_path: Path,
) -> None:
    whole = 0
    for at in range(100):
        lists = Lists(World(tmp_path / f"made-{at}", PEOPLE))
        lists.made()
        lists.ask(Action.OBJECT, BOB)
        calls = dying_at(at, CALLS, lists.made)
        if lists.table.path.exists():
            assert set(users_in(lists.table.path, "csv")) == {*PEOPLE} - {BOB}
        refresh(lists.world.desk)
        left = {path.name for path in lists.table.path.parent.iterdir()} - {"draft"}
        ours = {lists.table.path.name, lists.table.beside.name, lists.table.popular.name}
        assert left in (set(), ours)
        whole += left == ours
        if left:
            lists.look()
        if calls <= at:
            break
    assert 10 < at < 40
    assert whole > 5


def test_a_disk_that_is_full_is_an_error_and_the_same_request_again_takes_the_person_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = Lists(World(tmp_path / "shop", PEOPLE))
    lists.made()
    lists.ask(Action.ERASE, ANN, told=False)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(batches, "without", full)
        with pytest.raises(StoreUnavailable, match="cannot be rewritten: No space left"):
            refresh(lists.world.desk)
    assert set(users_in(lists.table.path, "csv")) == {*PEOPLE}
    lists.look()


@pytest.mark.parametrize("cut", [1, 12])
def test_a_table_that_is_not_whole_or_without_facts_can_hold_anybody_and_goes(
    cut: int, tmp_path: Path
) -> None:
    lists = Lists(World(tmp_path / "shop", PEOPLE))
    lists.made()
    content = lists.table.path.read_bytes()
    lists.table.path.write_bytes(content[:-cut])
    refresh(lists.world.desk)
    assert list(lists.table.path.parent.iterdir()) == []
    lists.made()
    lists.table.beside.write_text("{}")
    refresh(lists.world.desk)
    assert list(lists.table.path.parent.iterdir()) == []


# --- the night ----------------------------------------------------------------------------------


def test_a_night_deletes_the_output_of_a_version_that_is_champion_no_more(tmp_path: Path) -> None:
    world = after_one_night(tmp_path / "shop")
    lists = Lists(world)
    lists.made()
    retired(world)
    assert lists.table.path.exists()
    world.ask(Action.ERASE, ANN)
    world.night(promoted=False)
    retired(world)
    assert set(users_in(lists.table.path, "csv")) == {*PEOPLE} - {ANN}
    world.night()
    assert retired(world).closed == 1
    assert not lists.table.path.exists()
    assert keep_outputs_of(world.desk, None) == 0


def test_a_request_is_not_closed_while_the_search_finds_the_person_in_an_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = after_one_night(tmp_path / "shop")
    world.ask(Action.ERASE, ANN)
    world.night()
    stale = Lists(world)
    with monkeypatch.context() as patch:
        nothing_is_taken_out(patch)
        patch.setattr(suppressing, "keep_only", lambda *_: 0)
        stale.made()  # with somebody who is erased, as if it had been forgotten
        done = retired(world)
        assert (done.closed, done.hits) == (0, 1)
    mine = Table.of(world.workspace.recommendations, world.versions.champion() or 0, "csv")
    facts = Facts(2, "d", "d", 1, 8, "drop", 0, 0, 0)
    draft = write(tmp_path / "draft", "csv", {BOB: [ANN, CAT]})  # an item that reads like her id
    batches.publish(draft, mine, facts, table_of({"": [ANN]}), set())
    done = retired(world)
    assert (done.closed, done.hits) == (1, 0)
    assert not stale.table.path.exists()
    assert users_in(mine.path, "csv") == [BOB]
