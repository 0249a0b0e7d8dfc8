"""The life of an estate finds what breaks it: each of these faults, within a few lives."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from lethe.desk import rights
from lethe.estate.search import Hits
from lethe.gate import promotion
from lethe.interactions.intake.rules import LandedFile
from lethe.interactions.rights.identity import Identities, Identity, Keys
from lethe.interactions.rights.merges import Links
from lethe.interactions.rights.register import RequestState
from lethe.interactions.shards.store import Purged, ShardStore
from lethe.nights.desk import Desk
from lethe.nights.forgetting import history, retiring
from lethe.nights.forgetting.notifying import Told
from lethe.stages import intake, opening, snapshots
from tests.fakes.living_estate import INTAKE, RETIRE, name_of
from tests.nights.life import full_of
from tests.nights.troubles import DAYS, INTERRUPTED, PEOPLE, TROUBLE, Trouble, killed

Patch = pytest.MonkeyPatch
MOST_LIVES = 60
NOTHING = Hits({}, 0, 0, 0)


def a_request_is_closed_before_the_copies_go(patch: Patch) -> None:
    original = retiring.retire

    def retire(desk: Desk, night: str) -> retiring.Retired:
        standing = desk.register.standing().people()
        known = opening.open_vault(desk.workspace, desk.keys).by_tombstone(standing.erased).keys()
        at = standing.position
        tonight = retiring._Tonight(
            night, standing, at, known, frozenset(), NOTHING, Told(frozenset(), frozenset(), {})
        )
        retiring._close(desk, tonight)
        return original(desk, night)

    patch.setattr(retiring, "retire", retire)


def a_request_is_closed_once_the_present_data_are_purged(patch: Patch) -> None:
    original = retiring._outcome

    def outcome(state: RequestState, tonight: retiring._Tonight) -> Any:
        free = replace(tonight, held=frozenset(), hits=NOTHING)
        return original(
            state if state.state == "blocked" else replace(state, state="verified"), free
        )

    patch.setattr(retiring, "_outcome", outcome)


def older_data_versions_are_not_rewritten(patch: Patch) -> None:
    patch.setattr(history, "_without_erased", lambda *_: {})


def older_data_versions_lose_a_bystander(patch: Patch) -> None:
    original = history._erased_since

    def erased(desk: Desk, *arguments: Any) -> list[str]:
        found = list(original(desk, *arguments))
        return [*found, *desk.keys.wrapped([name_of((PEOPLE[0], 0))])] if found else []

    patch.setattr(history, "_erased_since", erased)


def the_vault_forgets_first(patch: Patch) -> None:
    original = retiring.destroy_solution_versions

    def destroy(desk: Desk, standing: Any) -> Any:
        opening.open_vault(desk.workspace, desk.keys).forget(standing.erased)
        return original(desk, standing)

    patch.setattr(retiring, "destroy_solution_versions", destroy)


def the_purge_skips_a_bucket(patch: Patch) -> None:
    original = ShardStore.purge

    def purge(store: ShardStore, pseudonyms: Set[str], *census: Any) -> Purged:
        left = {one for one in pseudonyms if int(one[:4], 16) % store.buckets}
        return original(store, left, *census)

    patch.setattr(ShardStore, "purge", purge)


def the_promotion_does_not_look_for_tombstones(patch: Patch) -> None:
    patch.setattr(promotion, "_people_faults", lambda *_: ())


def an_intent_that_a_kill_left_is_carried_out_unexamined(patch: Patch) -> None:
    original = promotion._Commit.settle

    def settle(commit: promotion._Commit) -> promotion.Recovered:
        with patch.context() as inner:
            inner.setattr(promotion, "_people_faults", lambda *_: ())
            return original(commit)

    patch.setattr(promotion._Commit, "settle", settle)


def a_late_file_is_not_filtered(patch: Patch) -> None:
    original = Identities._resolve_one

    def resolve(identities: Identities, canonical: str) -> Identity:
        return replace(original(identities, canonical), erased=False)

    patch.setattr(Identities, "_resolve_one", resolve)


def rows_of_an_erased_life_come_back_with_the_new_one(patch: Patch) -> None:
    original = Identities._resolve_one

    def resolve(identities: Identities, canonical: str) -> Identity:
        return replace(original(identities, canonical), not_before=0)

    patch.setattr(Identities, "_resolve_one", resolve)


def objecting_people_are_trained_on(patch: Patch) -> None:
    original = snapshots.excluded_pseudonyms

    def excluded(names: Any, standing: Any, keys: Any) -> frozenset[str]:
        return original(names, replace(standing, objecting=frozenset()), keys)

    patch.setattr(snapshots, "excluded_pseudonyms", excluded)


def a_landed_file_goes_before_its_rows_are_kept(patch: Patch) -> None:
    original = intake._Intake._take

    def take(taking: Any, file: LandedFile, *others: Any) -> None:
        original(taking, file, *others)
        file.path.unlink()

    patch.setattr(intake._Intake, "_take", take)


def quarantine_forgets_nobody(patch: Patch) -> None:
    patch.setattr(retiring, "forget_loose_rows", lambda *_: None)


def an_erasure_does_not_follow_to_merged_ids(patch: Patch) -> None:
    patch.setattr(Links, "following", lambda *_: [])


def only_the_night_makes_the_list_of_the_suppressed(patch: Patch) -> None:
    patch.setattr(rights, "_suppressed", lambda *_: 0)


def versions_under_former_names_are_read_with_the_present_key(patch: Patch) -> None:
    patch.setattr(Keys, "of", lambda keys, _: replace(keys, former=()))


MUTANTS: dict[Callable[[Patch], None], st.SearchStrategy[Trouble]] = {
    a_request_is_closed_before_the_copies_go: killed(RETIRE),
    a_request_is_closed_once_the_present_data_are_purged: TROUBLE,
    older_data_versions_are_not_rewritten: TROUBLE,
    older_data_versions_lose_a_bystander: TROUBLE,
    the_vault_forgets_first: TROUBLE,
    the_purge_skips_a_bucket: TROUBLE,
    the_promotion_does_not_look_for_tombstones: INTERRUPTED,
    an_intent_that_a_kill_left_is_carried_out_unexamined: st.just(
        ("VERIFIED", [], ("Register.done", 0))
    ),
    a_late_file_is_not_filtered: TROUBLE,
    rows_of_an_erased_life_come_back_with_the_new_one: TROUBLE,
    objecting_people_are_trained_on: TROUBLE,
    a_landed_file_goes_before_its_rows_are_kept: st.just(("VERIFIED", [], ("Vault.remember", 0))),
    quarantine_forgets_nobody: TROUBLE,
    an_erasure_does_not_follow_to_merged_ids: TROUBLE,
    only_the_night_makes_the_list_of_the_suppressed: killed(INTAKE),
    versions_under_former_names_are_read_with_the_present_key: TROUBLE,
}

# Which lives: others than the first where those come to the fault late, and take half a minute.
SEEDS: dict[Callable[[Patch], None], int] = {
    rows_of_an_erased_life_come_back_with_the_new_one: 2,
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_life_finds_what_breaks_the_estate(
    mutant: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            seed(SEEDS.get(mutant, 0))(full_of(MUTANTS[mutant])),
            settings=settings(
                max_examples=MOST_LIVES,
                stateful_step_count=DAYS,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
