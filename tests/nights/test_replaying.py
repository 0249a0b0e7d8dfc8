"""What an older backup brings back is purged by the present register before anybody works on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lethe.errors import StoreUnavailable
from lethe.estate.canaries.roll import Canaries
from lethe.estate.outward import suppression
from lethe.interactions.rights.register import Action, Closure, Intent, Request
from lethe.interactions.rights.standing import CANARY
from lethe.nights.forgetting.notifying import deliver, waiting
from lethe.nights.forgetting.replaying import Replayed, replay
from lethe.stages import opening
from tests.fakes.night_desk import KEYS, World, name_of, stone_of
from tests.nights.forgotten import ANN, BOB, CAT, DAN, PEOPLE, after_one_night, retired
from tests.nights.test_batch_outputs import Lists

STRANGER = "stranger-1"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Everybody is in the data and in version 1, as a backup brought them back: no alias."""
    monkeypatch.delenv("LETHE_REGISTER_URL", raising=False)
    world = after_one_night(tmp_path / "shop")
    world.workspace.landing.mkdir()
    world.versions.set_champion(None)
    return world


def close(world: World) -> None:
    """Close every request, as nights did that the backup knows nothing of."""
    for state in world.desk.register.requests():
        if state.open:
            world.desk.register.close(
                Closure(state.entry.position, "closed", "e" * 64, world.clock, 3)
            )


def replayed(world: World) -> Replayed:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "open_data", lambda _: world.data)
        patch.setattr(opening, "open_identities", lambda _: KEYS)
        patch.setattr(opening, "now", lambda: world.clock)
        return replay(world.desk, world.data, since=0)  # type: ignore[arg-type]


def users_of(world: World) -> set[str]:
    return {user for part in world.store().scan(("user",)) for user in part["user"].to_pylist()}


def test_whoever_was_erased_since_is_nowhere_and_everybody_else_keeps_every_row(
    world: World,
) -> None:
    world.ask(Action.ERASE, ANN, BOB, STRANGER)
    close(world)
    before = world.store().counts().rows
    done = replayed(world)
    assert (done.people, done.rows, done.versions, done.rewritten, done.forgotten) == (
        3, 6, 1, 1, 2,
    )  # fmt: skip
    left = world.bytes_everywhere()
    for gone in (ANN, BOB):
        assert gone.encode() not in left
        assert name_of(gone).encode() not in left
    assert users_of(world) == {name_of(one) for one in PEOPLE} - {name_of(ANN), name_of(BOB)}
    assert world.store().counts().rows == before - 6
    assert world.versions.versions() == ()
    assert opening.read_position(world.workspace.register_position) == world.desk.register.head()


def test_nobody_goes_of_whom_the_register_does_not_say_so(world: World) -> None:
    world.ask(Action.OBJECT, CAT)
    world.ask(Action.RESTRICT, DAN)
    world.ask(Action.ERASE, DAN)  # waits for the restriction to end
    done = replayed(world)
    assert (done.people, done.rows, done.versions, done.forgotten) == (0, 0, 0, 0)
    assert users_of(world) == {name_of(one) for one in PEOPLE}
    assert world.vault.count() == len(PEOPLE)
    assert [info.version for info in world.versions.versions()] == [1]


def test_an_open_request_stays_open_with_all_that_the_next_night_needs_to_close_it(
    world: World,
) -> None:
    world.ask(Action.ERASE, ANN)
    close(world)
    world.ask(Action.ERASE, BOB)
    assert replayed(world).forgotten == 1
    assert not world.vault.by_tombstone([stone_of(ANN)])
    assert world.vault.by_tombstone([stone_of(BOB)])
    assert name_of(BOB) not in users_of(world)
    assert [state.state for state in world.desk.register.requests()] == ["closed", "purged"]
    world.night()
    assert retired(world).closed == 1
    assert BOB.encode() not in world.bytes_everywhere()


def test_a_replay_after_which_somebody_is_still_found_has_not_ended(world: World) -> None:
    world.ask(Action.ERASE, ANN)
    close(world)
    (world.workspace.mlflow / "artifacts" / "note.txt").write_text(name_of(ANN))
    with pytest.raises(StoreUnavailable, match=r"in 1 files \(solution versions\)"):
        replayed(world)


def test_a_promotion_that_was_cut_off_after_the_backup_is_ended(world: World) -> None:
    register = world.desk.register
    register.intend(Intent(7, "a" * 64, "c" * 64, 0, 1, world.clock))
    replayed(world)
    assert register.open_intents() == ()
    assert register.promotions()[-1].reason == "an older backup was restored"


def test_canaries_whose_erasure_the_register_knows_are_never_made_again(world: World) -> None:
    canaries = Canaries(world.workspace.canaries, KEYS)
    canaries.note(made=4, erased=2)
    stones = canaries.tombstones(0, 6)
    world.desk.register.append([Request(Action.ERASE, s, world.clock, CANARY) for s in stones])
    assert replayed(world).people == 0
    assert canaries.counters() == (6, 6)


def test_the_list_of_the_suppressed_is_made_for_what_the_backup_brought_back(world: World) -> None:
    world.ask(Action.OBJECT, CAT)
    close(world)
    replayed(world)
    found = suppression.read(world.workspace.suppressed)
    assert found is not None
    assert (found.position, len(found.versions)) == (1, 1)
    assert found.names(name_of(CAT))
    assert not found.names(name_of(DAN))


def test_batch_outputs_are_not_of_the_backup_and_go(world: World) -> None:
    lists = Lists(world)
    lists.made()
    replayed(world)
    assert list(lists.table.path.parent.iterdir()) == []


def test_recipients_are_told_again_what_a_lost_outbox_held(world: World) -> None:
    """Of requests that are open still, and of whom the vault knows; twice is no harm."""
    params = world.desk.params.model_copy(update={"recipients": ("one", "two")})
    world.desk = replace(world.desk, params=params)
    world.ask(Action.ERASE, ANN)
    close(world)
    world.ask(Action.ERASE, BOB, STRANGER)
    world.ask(Action.RESTRICT, CAT)
    world.ask(Action.ERASE, CAT)
    world.ask(Action.OBJECT, DAN)
    assert replayed(world).untold == 1
    told = [(one.recipient, one.asked, one.positions) for one in waiting(world.desk)]
    assert told == [
        ("one", "erasure", (2,)), ("two", "erasure", (2,)),
        ("one", "restriction", (4,)), ("two", "restriction", (4,)),
    ]  # fmt: skip
    deliver(world.desk, [waiting(world.desk)[0].file], world.clock)
    assert replayed(world).untold == 1
    assert len(waiting(world.desk)) == 3, "one was told of it twice"
