"""The promotion protocol: everything that refuses it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lethe.errors import Busy, PromotionRefused
from lethe.gate.promotion import Candidate, Promoted, promote
from lethe.interactions.rights.register import GENESIS, Action, Head, Intent
from tests.fakes.version_store import StoredVersion
from tests.gate.scene import NEW, OLD, A, B, C, Scene, before_promotion


@pytest.fixture
def scene() -> Scene:
    return before_promotion()


def test_a_verified_candidate_becomes_champion(scene: Scene) -> None:
    scene.store.set_challenger(2)
    promoted = promote(scene.candidate, scene.register, scene.store, lambda: 77.5, 0)
    assert (promoted.version, promoted.previous) == (2, 1)
    assert promoted.head == scene.register.head()
    assert (scene.store.alias, scene.store.challenger) == (2, None)
    [record] = scene.register.promotions()
    assert (record.state, record.ended_at) == ("done", 77)
    assert record.intent == Intent(2, NEW.digest, "e" * 64, 1, previous_champion=1, at=77)


def test_the_intent_is_written_before_the_alias_moves_and_done_after(scene: Scene) -> None:
    calls: list[str] = []
    scene.register.tick = scene.store.tick = calls.append
    scene.promote()
    order = [name for name in calls if name in ("intend", "set_champion", "done")]
    assert order == ["intend", "set_champion", "done"]
    reads = ("check_chain", "standing", "user_tombstones", "artifact_digest")
    assert all(calls.index(name) < calls.index("intend") for name in reads)


def _refusal(scene: Scene, candidate: Candidate | None = None, known: Head | None = None) -> str:
    with pytest.raises(PromotionRefused) as caught:
        scene.promote(candidate, known)
    assert caught.value.exit_code == 1
    assert scene.store.alias == 1, "the champion stays"
    assert scene.states() == []
    text = str(caught.value)
    assert not any(stone in text for stone in (A, B, C))
    return text


def test_an_erasure_between_verify_and_promote_stops_it(scene: Scene) -> None:
    scene.ask(Action.ERASE, B)
    assert "1 people of its id list are excluded" in _refusal(scene)
    assert "1 since position 1" in _refusal(scene)


@pytest.mark.parametrize("action", [Action.OBJECT, Action.RESTRICT])
def test_an_objection_or_a_restriction_after_verify_stops_it_too(
    scene: Scene, action: Action
) -> None:
    scene.ask(action, C)
    assert "excluded" in _refusal(scene)


def test_a_request_of_somebody_who_is_not_in_the_version_stops_nothing(scene: Scene) -> None:
    scene.ask(Action.ERASE, "d" * 64)
    assert scene.promote() == 2


def test_an_erasure_before_the_certificate_that_is_still_in_the_ids_stops_it(
    scene: Scene,
) -> None:
    scene.store.versions[2] = OLD
    reason = _refusal(scene, scene.certified(artifact_digest=OLD.digest))
    assert "1 people of its id list are excluded" in reason
    assert "0 since position 1" in reason


def test_overwritten_bytes_are_not_the_certified_ones(scene: Scene) -> None:
    scene.store.versions[2] = StoredVersion(NEW.users, genuine=False)
    stored, certified = scene.store.versions[2].digest[:12], NEW.digest[:12]
    told = f"the stored artifact is {stored}, the certificate is for {certified}"
    assert _refusal(scene).endswith(told)


def test_an_artifact_that_cannot_be_read_is_refused(scene: Scene) -> None:
    del scene.store.versions[2]
    assert "cannot be read" in _refusal(scene)


@pytest.mark.parametrize("verdict", ["REFUSED", "INCONCLUSIVE", "verified", ""])
def test_only_verified_promotes(scene: Scene, verdict: str) -> None:
    assert "verdict" in _refusal(scene, scene.certified(verdict=verdict))


def test_no_certificate_no_promotion(scene: Scene) -> None:
    assert "no certificate" in _refusal(scene, replace(scene.candidate, certificate=None))


@pytest.mark.parametrize("position", [-1, 0, 2, 999])
def test_a_certificate_from_another_place_of_the_chain_is_refused(
    scene: Scene, position: int
) -> None:
    scene.ask(Action.OBJECT, "d" * 64)
    assert "position" in _refusal(scene, scene.certified(register_position=position))


def test_a_certificate_from_another_register_is_refused(scene: Scene) -> None:
    other = scene.certified(register_head="f" * 64)
    assert "differs from the certificate's at position 1" in _refusal(scene, other)


def test_a_certificate_made_before_any_request_stands_at_genesis(scene: Scene) -> None:
    first = scene.certified(register_position=0, register_head=GENESIS.digest)
    assert scene.promote(first) == 2


def test_a_register_behind_the_remembered_head_is_refused(scene: Scene) -> None:
    assert "known position 5" in _refusal(scene, known=Head(5, "9" * 64))


def test_a_person_decides_in_place_of_the_quality_rule_and_of_nothing_else(scene: Scene) -> None:
    worse = replace(scene.candidate, quality_accepted=False, by_person=True)
    for wrong in (
        {"verdict": "REFUSED"},
        {"verdict": "INCONCLUSIVE"},
        {"artifact_digest": "f" * 64},
        {"register_head": "f" * 64},
    ):
        certified = scene.certified(**wrong).certificate
        _refusal(scene, replace(worse, certificate=certified))
    _refusal(scene, replace(worse, certificate=None))
    assert scene.promote(worse) == 2


def test_a_person_cannot_bring_an_erased_one_back(scene: Scene) -> None:
    scene.ask(Action.ERASE, B)
    assert "excluded" in _refusal(scene, replace(scene.candidate, by_person=True))


@pytest.mark.parametrize("reasons", [(), ("NDCG fell by 12 %", "significant at 0.001")])
def test_the_quality_rule_has_a_veto(scene: Scene, reasons: tuple[str, ...]) -> None:
    worse = replace(scene.candidate, quality_accepted=False, quality_reasons=reasons)
    text = _refusal(scene, worse)
    assert all(reason in text for reason in reasons or ("did not accept",))


@pytest.mark.parametrize("yes", [1, "yes", 1.0])
def test_nothing_but_true_is_a_yes(scene: Scene, yes: object) -> None:
    maybe = replace(scene.candidate, quality_accepted=yes)  # type: ignore[arg-type]
    assert "did not accept" in _refusal(scene, maybe)
    worse = replace(scene.candidate, quality_accepted=False, by_person=yes)  # type: ignore[arg-type]
    assert "did not accept" in _refusal(scene, worse)


def test_every_reason_is_told_at_once(scene: Scene) -> None:
    scene.ask(Action.ERASE, B)
    scene.store.versions[2] = StoredVersion(NEW.users, genuine=False)
    bad = replace(
        scene.certified(verdict="REFUSED", register_head="f" * 64), quality_accepted=False
    )
    with pytest.raises(PromotionRefused) as caught:
        scene.promote(bad)
    assert len(caught.value.reasons) == 5


def test_a_held_register_is_waited_for_and_then_given_up(scene: Scene) -> None:
    with scene.register.exclusive(0), pytest.raises(Busy):
        scene.promote()
    assert scene.store.alias == 1


def test_asking_again_is_one_promotion(scene: Scene) -> None:
    first = promote(scene.candidate, scene.register, scene.store, lambda: 1, 0)
    again = promote(scene.candidate, scene.register, scene.store, lambda: 2, 0)
    assert again == first
    assert scene.states() == ["done"]


def test_a_new_certificate_for_the_champion_is_written_down(scene: Scene) -> None:
    scene.promote()
    anew = scene.certified(digest="1" * 64)
    assert scene.promote(anew) == 2
    assert scene.states() == ["done", "done"]


def test_asked_again_the_last_promotion_that_was_carried_out_counts(scene: Scene) -> None:
    """Not the first, and not one that was undone since."""

    def ask(candidate: Candidate, at: int) -> Promoted:
        return promote(candidate, scene.register, scene.store, lambda: at, 0)

    anew = scene.certified(digest="1" * 64)
    ask(scene.candidate, 1)
    second = ask(anew, 2)
    scene.register.abort(scene.register.intend(_intent(scene, "2" * 64)), "undone", 3)
    assert ask(anew, 4) == second
    assert scene.states() == ["done", "done", "aborted"]


def _intent(scene: Scene, certificate: str) -> Intent:
    return replace(scene.register.promotions()[-1].intent, certificate_digest=certificate)
