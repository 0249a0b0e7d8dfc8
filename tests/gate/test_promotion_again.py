"""The promotion protocol: back to a lower number, asked again, moved by hand, and what is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lethe.errors import ArtifactCorrupt, PromotionRefused
from lethe.gate.promotion import Promoted, Recovered, promote
from lethe.interactions.rights.register import Action, Intent, Register, Request
from tests.fakes.version_store import StoredVersion
from tests.gate.scene import NEW, A, B, C, Scene, before_promotion

D, STRANGER = "d" * 64, "9" * 64


@pytest.fixture
def scene() -> Scene:
    return before_promotion()


def _numbered(scene: Scene, version: int, champion: int | None) -> Scene:
    """The same candidate under another number, above another champion."""
    scene.store.versions[version] = NEW
    scene.store.alias = champion
    return replace(scene, candidate=replace(scene.candidate, version=version))


def _calls(scene: Scene) -> list[str]:
    calls: list[str] = []
    scene.register.tick = scene.store.tick = calls.append
    return calls


@pytest.mark.parametrize(("version", "champion"), [(2, 1), (2, 9), (2, None), (1000, 999)])
def test_any_number_can_follow_any_other(scene: Scene, version: int, champion: int | None) -> None:
    scene = _numbered(scene, version, champion)
    calls = _calls(scene)
    assert scene.promote() == version
    assert scene.store.alias == version
    assert calls.count("set_champion") == 1


@pytest.mark.parametrize("champion", [1, 9, None, 1000])
def test_a_refusal_at_the_last_moment_puts_any_number_back(
    scene: Scene, champion: int | None
) -> None:
    scene = _numbered(scene, 2, champion)

    def tick(name: str) -> None:
        if name == "set_champion":
            scene.store.versions[2] = StoredVersion(NEW.users, genuine=False)

    scene.store.tick = tick
    with pytest.raises(PromotionRefused):
        scene.promote()
    assert (scene.store.alias, scene.states()) == (champion, ["aborted"])


@pytest.mark.parametrize("moved", [0, 9, None])
def test_an_alias_moved_to_any_number_meanwhile_is_put_back(
    scene: Scene, moved: int | None
) -> None:
    def tick(name: str) -> None:
        if name == "champion" and scene.store.alias == 2:
            scene.store.alias = moved

    scene.store.tick = tick
    with pytest.raises(PromotionRefused, match="moved by somebody else") as caught:
        scene.promote()
    assert (scene.store.alias, scene.states()) == (1, ["aborted"])
    assert len(caught.value.reasons) == 1


@pytest.mark.parametrize("moved", [1, 9, 1000, None])
def test_a_champion_that_somebody_moved_is_promoted_a_second_time(
    scene: Scene, moved: int | None
) -> None:
    scene.promote()
    scene.store.alias = moved
    assert scene.promote() == 2
    assert (scene.store.alias, scene.states()) == (2, ["done", "done"])


def test_asking_again_is_one_promotion_under_a_large_number_too(scene: Scene) -> None:
    scene = _numbered(scene, 1000, 999)
    scene.promote()
    assert scene.promote() == 1000
    assert scene.states() == ["done"]


@pytest.mark.parametrize("digest", ["1" * 64, "f" * 64])
def test_a_champion_with_another_certificate_is_promoted_anew(scene: Scene, digest: str) -> None:
    scene.promote()
    assert scene.promote(scene.certified(digest=digest)) == 2
    assert scene.states() == ["done", "done"]


def test_on_the_real_register_too_asking_again_is_one_promotion(
    scene: Scene, tmp_path: Path
) -> None:
    register = Register.open(f"sqlite:///{tmp_path}/register.db", wait_seconds=0)
    register.initialise()
    register.append([Request(Action.ERASE, A, 10)])

    def ask(at: int) -> Promoted:
        return promote(scene.candidate, register, scene.store, lambda: at, 0)

    assert ask(1) == ask(2)
    assert [item.ended_at for item in register.promotions()] == [1]


@pytest.mark.parametrize("version", [2, 1000])
def test_a_completed_crash_moves_no_alias_that_already_stands(scene: Scene, version: int) -> None:
    scene = _numbered(scene, version, version)
    scene.register.intend(replace(_intent(), version=version))
    calls = _calls(scene)
    assert scene.recover() == Recovered(completed=(version,), undone=())
    assert "set_champion" not in calls


@pytest.mark.parametrize("champion", [1, 9, None, 1000])
def test_an_undone_crash_moves_no_alias_that_never_moved(
    scene: Scene, champion: int | None
) -> None:
    scene.register.intend(replace(_intent(), previous_champion=champion))
    scene.store.alias = champion
    scene.ask(Action.ERASE, B)
    calls = _calls(scene)
    assert scene.recover() == Recovered(completed=(), undone=(2,))
    assert (scene.store.alias, "set_champion" in calls) == (champion, False)


def _intent() -> Intent:
    """What the promotion of the candidate writes."""
    trial = before_promotion()
    trial.promote()
    return trial.register.promotions()[0].intent


@pytest.mark.parametrize("position", [1, 2, 3])
def test_a_certificate_may_stand_anywhere_on_the_chain(scene: Scene, position: int) -> None:
    for stone in (D, STRANGER):
        scene.ask(Action.ERASE, stone)
    place = scene.register.chain[position - 1]
    copied = place.digest.encode().decode()  # as one reads it from a file
    there = scene.certified(register_position=position, register_head=copied)
    assert scene.promote(there) == 2


def test_a_verdict_counts_by_what_it_says(scene: Scene) -> None:
    read = bytes(scene.certified().certificate.verdict, "ascii").decode()  # type: ignore[union-attr]
    assert scene.promote(scene.certified(verdict=read)) == 2


@pytest.mark.parametrize("head", ["0" * 64, "f" * 64])
@pytest.mark.parametrize("position", [0, 1])
def test_a_certificate_from_a_lower_or_a_higher_digest_is_refused(
    scene: Scene, head: str, position: int
) -> None:
    other = scene.certified(register_position=position, register_head=head)
    with pytest.raises(PromotionRefused, match="differs from the certificate's"):
        scene.promote(other)


@pytest.mark.parametrize("digest", ["0" * 64, "f" * 64])
def test_a_certificate_for_a_lower_or_a_higher_artifact_is_refused(
    scene: Scene, digest: str
) -> None:
    with pytest.raises(PromotionRefused, match="the certificate is for"):
        scene.promote(scene.certified(artifact_digest=digest))


def test_who_was_excluded_since_is_counted_apart_from_the_others(scene: Scene) -> None:
    holding = StoredVersion(frozenset({B, C, D, "e" * 64}))
    scene.store.versions[2] = holding
    for action, stone in ((Action.OBJECT, C), (Action.OBJECT, D)):
        scene.ask(action, stone)
    head = scene.register.head()
    for stone in (B, STRANGER):
        scene.ask(Action.ERASE, stone)
    there = scene.certified(
        artifact_digest=holding.digest,
        register_position=head.position,
        register_head=head.digest,
    )
    told = "3 people of its id list are excluded by the register at position 5, 1 since position 3"
    with pytest.raises(PromotionRefused, match=told):
        scene.promote(there)


@pytest.mark.parametrize(
    "call", ["check_chain", "entries", "standing", "user_tombstones", "artifact_digest"]
)
def test_whatever_cannot_be_read_is_a_reason_and_no_promotion(scene: Scene, call: str) -> None:
    def tick(name: str) -> None:
        if name == call:
            raise ArtifactCorrupt("a torn page")

    scene.register.tick = scene.store.tick = tick
    with pytest.raises(PromotionRefused) as caught:
        scene.promote()
    assert caught.value.reasons == ("a torn page",)
    assert (scene.store.alias, scene.states()) == (1, [])


@pytest.mark.parametrize("call", ["check_chain", "standing", "artifact_digest"])
def test_a_crash_after_which_something_cannot_be_read_is_undone(scene: Scene, call: str) -> None:
    def tick(name: str) -> None:
        if name == call:
            raise ArtifactCorrupt("a torn page")

    scene.register.intend(_intent())
    scene.store.alias = 2
    scene.register.tick = scene.store.tick = tick
    assert scene.recover() == Recovered(completed=(), undone=(2,))
    assert scene.store.alias == 1
    [record] = scene.register.promotions()
    assert record.reason == "a torn page"
