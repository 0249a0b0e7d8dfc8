"""The pseudonym key is replaced: the same rows, the same rights, and a kill changes none of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lethe.adapters.catalogue import Catalogue
from lethe.durable import write_json
from lethe.errors import Busy, RefusedByGate, WrongKey
from lethe.estate.keys import keys_before, open_keys
from lethe.interactions.rights.register import Action
from lethe.nights.renaming import rotating
from lethe.stages import opening
from tests.fakes.living_estate import ROTATION, LivingEstate, stone_of
from tests.fakes.looked_at import Seen
from tests.nights.renamed import (
    ANN,
    BOB,
    CARL,
    DORA,
    EVE,
    MONTH,
    MOST_CALLS,
    bytes_outside_of_versions,
    champion,
    inner,
    land,
    night,
    people,
    retained,
    three_nights,
)


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[LivingEstate]:
    with three_nights(tmp_path / "shop") as made:
        yield made


def test_every_version_has_the_same_rows_under_names_of_which_none_was_there_before(
    estate: LivingEstate,
) -> None:
    rows, before = Seen(estate).rows(), retained(estate)
    old = {one.digest for one in Catalogue(estate.workspace.catalogue).list()}
    assert estate.rotate(None) == "rotated"
    assert Seen(estate).rows() == rows
    assert retained(estate) == before
    versions = Catalogue(estate.workspace.catalogue).list()
    generation = open_keys(estate.workspace).generation
    assert {one.names for one in versions} == {generation}
    assert {name for one in versions for name in one.formerly} == old
    assert estate.world.data.held() == {one.digest for one in versions}
    assert not estate.workspace.training.exists()
    stored = opening.rows_by_user(estate.world.store()).keys()
    assert not stored & inner(ANN, BOB, CARL)
    assert bytes_outside_of_versions(estate) <= {"solution versions", "vault"}


def test_the_night_after_it_trains_anew_and_only_then_do_former_versions_and_keys_go(
    estate: LivingEstate,
) -> None:
    first = champion(estate)
    assert estate.rotate(None) == "rotated"
    assert estate.rotate(None) == "rotated"
    keys = open_keys(estate.workspace)
    assert keys.former == (), "nothing was ever named under the key between"
    assert Seen(estate).users_of(first) == inner(ANN, BOB, CARL)
    assert Seen(estate).served(first) == inner(ANN, BOB, CARL), "the champion goes on serving"
    before = {info.version for info in estate.world.versions.versions()}
    assert night(estate, "REFUSED") == "refused"
    assert champion(estate) == first
    assert before < {info.version for info in estate.world.versions.versions()}
    assert night(estate) == "promoted"
    left = [info.version for info in estate.world.versions.versions()]
    assert first not in left
    assert open_keys(estate.workspace).former == ()
    for version in left:
        manifest = estate.world.desk.read(version).manifest
        assert manifest.names == keys.generation


def test_a_former_key_stays_as_long_as_a_version_is_named_under_it(estate: LivingEstate) -> None:
    assert estate.rotate(None) == "rotated"
    assert night(estate) == "promoted"
    second = open_keys(estate.workspace)
    assert estate.rotate(None) == "rotated"
    assert open_keys(estate.workspace).former == (second.names,)
    assert night(estate, "REFUSED") == "refused"
    assert open_keys(estate.workspace).former == (second.names,)
    assert night(estate) == "promoted"
    assert open_keys(estate.workspace).former == ()
    with pytest.raises(WrongKey):
        open_keys(estate.workspace).of(second.generation)


# Rights stand as they stood


def test_who_objected_without_a_row_is_known_when_the_first_row_comes(
    estate: LivingEstate,
) -> None:
    estate.ask(Action.OBJECT, DORA)
    estate.ask(Action.RESTRICT, EVE)
    assert estate.rotate(None) == "rotated"
    land(estate, ANN, DORA, EVE, day=3)
    assert night(estate) == "promoted"
    assert inner(DORA, EVE) <= people(Seen(estate).rows())
    assert Seen(estate).users_of(champion(estate)) == inner(ANN, BOB, CARL)


def test_a_late_file_brings_an_erased_person_no_more_back_than_before(
    estate: LivingEstate,
) -> None:
    estate.ask(Action.ERASE, ANN)
    assert night(estate) == "promoted"
    assert estate.rotate(None) == "rotated"
    land(estate, ANN, BOB, day=4)
    assert night(estate) == "promoted"
    assert people(Seen(estate).rows()) == inner(BOB, CARL)
    assert all(people(rows) == inner(BOB, CARL) for rows in retained(estate))


def test_somebody_returns_into_a_new_life_whichever_side_of_it(estate: LivingEstate) -> None:
    estate.ask(Action.ERASE, ANN)
    estate.ask(Action.ERASE, BOB)
    assert night(estate) == "promoted"
    estate.ask(Action.RECONSENT, ANN)
    assert estate.rotate(None) == "rotated"
    estate.ask(Action.RECONSENT, BOB)
    land(estate, ANN, BOB, day=5)
    assert night(estate) == "promoted"
    assert people(Seen(estate).rows()) == inner(CARL) | inner(ANN, BOB, epoch=1)
    now = [at for user, _, at in Seen(estate).rows() if user in inner(ANN, BOB, epoch=1)]
    assert max(now) - min(now) < MONTH, "rows from before the new life stay out"


def test_what_is_asked_for_one_id_follows_to_the_ids_merged_with_it_before(
    estate: LivingEstate,
) -> None:
    assert estate.merge(ANN, BOB)["merged"] == 1
    assert estate.rotate(None) == "rotated"
    assert estate.merge(ANN, BOB)["already"] == 1
    estate.ask(Action.ERASE, ANN)
    assert Seen(estate).served(champion(estate)) == inner(CARL), "from the moment on it was asked"
    assert night(estate) == "promoted"
    assert people(Seen(estate).rows()) == inner(CARL)
    assert all(not state.open for state in estate.world.desk.register.requests())


def test_who_is_erased_right_after_it_is_found_in_every_version_by_either_name(
    estate: LivingEstate,
) -> None:
    assert estate.rotate(None) == "rotated"
    estate.ask(Action.ERASE, ANN)
    assert Seen(estate).served(champion(estate)) == inner(BOB, CARL)
    assert stone_of((ANN, 0)) in estate.world.desk.user_tombstones(champion(estate))
    assert night(estate, "REFUSED") == "refused"
    [state] = [one for one in estate.world.desk.register.requests() if one.open]
    assert state.entry.tombstone == stone_of((ANN, 0)), "the champion still holds them"
    assert champion(estate) in {info.version for info in estate.world.versions.versions()}
    assert night(estate) == "promoted"
    assert not [one for one in estate.world.desk.register.requests() if one.open]
    assert all(people(rows) == inner(BOB, CARL) for rows in retained(estate))
    assert not inner(ANN) & Seen(estate).users_in_the_cache()


# When it is refused


def a_night_was_cut_off(estate: LivingEstate) -> None:
    assert estate.night("VERIFIED", lambda: None, ("ShardStore.seal", 0)) == "killed"


def a_request_waits(estate: LivingEstate) -> None:
    estate.ask(Action.ERASE, ANN)


def a_promotion_was_cut_off(estate: LivingEstate) -> None:
    assert estate.night("VERIFIED", lambda: None, ("Register.done", 0)) == "killed"
    estate.workspace.journal.unlink()


def the_folder_is_an_older_copy(estate: LivingEstate) -> None:
    path = next(estate.workspace.interactions.glob("*/*.parquet"))
    path.unlink()


def a_restore_has_not_ended(estate: LivingEstate) -> None:
    write_json(estate.workspace.restoring, {})


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (a_night_was_cut_off, Busy),
        (a_request_waits, RefusedByGate),
        (a_promotion_was_cut_off, Busy),
        (the_folder_is_an_older_copy, RefusedByGate),
        (a_restore_has_not_ended, RefusedByGate),
    ],
)
def test_in_an_estate_that_is_not_at_rest_no_name_is_changed(
    estate: LivingEstate, trouble: Callable[[LivingEstate], None], error: type[Exception]
) -> None:
    trouble(estate)
    data: Any = estate.world.data
    with pytest.raises(error):
        rotating.refuse_unready(estate.world.desk, data)
    assert not rotating.cut_off(estate.workspace)


def test_an_erasure_under_a_legal_hold_does_not_hinder_it(estate: LivingEstate) -> None:
    estate.ask(Action.RESTRICT, ANN)
    estate.ask(Action.ERASE, ANN)
    assert estate.rotate(None) == "rotated"
    estate.ask(Action.RELEASE, ANN)
    assert night(estate) == "promoted"
    assert people(Seen(estate).rows()) == inner(BOB, CARL)


def test_before_the_first_night_there_is_only_a_key_to_make(tmp_path: Path) -> None:
    estate = LivingEstate(tmp_path / "shop", lambda *_: None)
    try:
        assert estate.rotate(None) == "rotated"
        land(estate, ANN, BOB)
        assert night(estate) == "promoted"
        assert people(Seen(estate).rows()) == inner(ANN, BOB)
        assert not opening.rows_by_user(estate.world.store()).keys() & inner(ANN, BOB)
    finally:
        estate.end()


# When it is killed


@pytest.mark.parametrize("kind", sorted(ROTATION))
def test_killed_at_any_call_it_is_ended_by_the_next_and_loses_no_row(
    estate: LivingEstate, kind: str
) -> None:
    """Meanwhile nothing opens the keys, requests can be entered, and the champion serves."""
    rows, before = Seen(estate).rows(), retained(estate)
    for at in range(MOST_CALLS):
        ended = estate.rotate((kind, at))
        if ended == "rotated":
            break
        assert ended == "killed"
        if rotating.cut_off(estate.workspace):
            with pytest.raises(RefusedByGate, match="has not ended"):
                open_keys(estate.workspace)
            estate.ask(Action.OBJECT, CARL)
            assert Seen(estate).served(champion(estate)) >= inner(ANN, BOB)
        else:
            kept = {one.digest for one in Catalogue(estate.workspace.catalogue).list()}
            assert estate.world.data.held() == kept, "it ended: nothing is left to delete"
        again: Any = estate.world.data
        rotating.rotate(replace(estate.world.desk, keys=keys_before(estate.workspace)), again)
        estate._hear_keys()
        assert Seen(estate).rows() == rows
        assert retained(estate) == before
        held = {one.digest for one in Catalogue(estate.workspace.catalogue).list()}
        assert estate.world.data.held() == held
    else:
        pytest.fail("it was killed more often than it has calls")
    assert night(estate) == "promoted"
    assert open_keys(estate.workspace).former == ()


@pytest.mark.parametrize("kind", sorted(ROTATION))
def test_a_dvc_lock_that_is_lost_meanwhile_does_not_keep_it_from_ending(
    estate: LivingEstate, kind: str
) -> None:
    rows, before = Seen(estate).rows(), retained(estate)
    again: Any = estate.world.data
    for at in range(2):
        if estate.rotate((kind, at)) == "killed" and rotating.cut_off(estate.workspace):
            again.recorded.clear()
            rotating.rotate(replace(estate.world.desk, keys=keys_before(estate.workspace)), again)
            estate._hear_keys()
        assert Seen(estate).rows() == rows
        assert retained(estate) == before
        assert night(estate) == "promoted"
        rows, before = Seen(estate).rows(), retained(estate)
    assert open_keys(estate.workspace).former == ()
