"""The promotion protocol between INTENT and DONE: what a crash leaves, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lethe.errors import Busy, PromotionRefused, StoreUnavailable
from lethe.gate.promotion import Recovered, promote
from lethe.interactions.rights.register import Action, Register, Request
from tests.fakes.version_store import StoredVersion
from tests.gate.scene import NEW, A, B, C, Scene, before_promotion


@pytest.fixture
def scene() -> Scene:
    return before_promotion()


class _Killed(BaseException):
    """SIGKILL, for the fakes."""


def _kill_at(scene: Scene, call: str) -> None:
    def tick(name: str) -> None:
        if name == call:
            raise _Killed

    scene.register.tick = scene.store.tick = tick
    with pytest.raises(_Killed):
        scene.promote()
    scene.register.tick = scene.store.tick = lambda _name: None
    assert scene.states() == ["intended"]


@pytest.mark.parametrize("call", ["set_champion", "set_challenger", "done"])
def test_a_crash_after_the_intent_is_completed_once(scene: Scene, call: str) -> None:
    _kill_at(scene, call)
    assert scene.recover() == Recovered(completed=(2,), undone=())
    assert scene.store.alias == 2
    assert scene.recover() == Recovered((), ())
    assert scene.states() == ["done"]
    assert scene.promote() == 2
    assert scene.states() == ["done"]


@pytest.mark.parametrize("call", ["set_champion", "done"])
@pytest.mark.parametrize("harm", ["erasure", "overwrite", "destroyed"])
def test_a_crash_followed_by_harm_is_undone(scene: Scene, call: str, harm: str) -> None:
    _kill_at(scene, call)
    if harm == "erasure":
        scene.ask(Action.ERASE, B)
    elif harm == "overwrite":
        scene.store.versions[2] = StoredVersion(NEW.users, genuine=False)
    else:
        del scene.store.versions[2]
    assert scene.recover() == Recovered(completed=(), undone=(2,))
    assert scene.store.alias == 1
    [record] = scene.register.promotions()
    assert record.state == "aborted"
    assert record.reason is not None
    assert not any(stone in record.reason for stone in (A, B, C))
    assert scene.recover() == Recovered((), ())


def test_the_next_promotion_settles_the_crash_before_its_own(scene: Scene) -> None:
    _kill_at(scene, "set_champion")
    scene.store.versions[3] = StoredVersion(frozenset({C}))
    third = replace(
        scene.certified(artifact_digest=scene.store.versions[3].digest, digest="3" * 64),
        version=3,
    )
    assert scene.promote(third) == 3
    assert scene.recover() == Recovered((), ())
    assert scene.store.alias == 3
    assert [item.intent.version for item in scene.register.promotions()] == [2, 3]
    assert scene.register.promotions()[1].intent.previous_champion == 2


def test_an_overwrite_at_the_last_moment_is_undone(scene: Scene) -> None:
    def tick(name: str) -> None:
        if name == "set_champion" and scene.store.alias == 1:
            scene.store.versions[2] = StoredVersion(NEW.users, genuine=False)

    scene.store.tick = tick
    with pytest.raises(PromotionRefused, match="the stored artifact is"):
        scene.promote()
    assert (scene.store.alias, scene.states()) == (1, ["aborted"])


def test_an_alias_moved_by_somebody_else_is_put_back(scene: Scene) -> None:
    reads: list[str] = []

    def tick(name: str) -> None:
        reads.append(name)
        if name == "champion" and "set_champion" in reads and scene.store.alias == 2:
            scene.store.alias = 9

    scene.store.tick = tick
    with pytest.raises(PromotionRefused, match="moved by somebody else"):
        scene.promote()
    assert (scene.store.alias, scene.states()) == (1, ["aborted"])


def test_a_store_that_fails_leaves_the_intent_for_recovery(scene: Scene) -> None:
    def tick(name: str) -> None:
        if name == "set_champion":
            raise StoreUnavailable("the registry is down")

    scene.store.tick = tick
    with pytest.raises(StoreUnavailable):
        scene.promote()
    with pytest.raises(StoreUnavailable):
        scene.recover()
    assert scene.states() == ["intended"]
    scene.store.tick = lambda _name: None
    assert scene.recover().completed == (2,)


def test_the_first_champion_is_taken_back_to_none(scene: Scene) -> None:
    scene.store.alias = None
    _kill_at(scene, "done")
    scene.ask(Action.ERASE, B)
    scene.recover()
    assert scene.store.alias is None


def test_on_the_real_register_no_append_slips_in_while_a_promotion_runs(
    scene: Scene, tmp_path: Path
) -> None:
    register = Register.open(f"sqlite:///{tmp_path}/register.db", wait_seconds=0)
    register.initialise()
    register.append([Request(Action.ERASE, A, 10)])
    refused: list[str] = []

    def tick(name: str) -> None:
        with pytest.raises(Busy):
            register.append([Request(Action.ERASE, B, 10)])
        refused.append(name)

    scene.store.tick = tick
    assert promote(scene.candidate, register, scene.store, lambda: 1, 0).version == 2
    assert len(refused) >= 5
    assert [item.state for item in register.promotions()] == ["done"]
    register.append([Request(Action.ERASE, B, 10)])
