"""Each store says under which key its names are, and none is read under another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lethe.durable import read_json
from lethe.errors import BadConfiguration, PromotionRefused, WrongKey
from lethe.estate.renaming import name_keys
from lethe.interactions.rights.identity import Keys
from lethe.interactions.rights.register import Action
from lethe.interactions.shards.store import ShardStore
from lethe.nights import judging
from lethe.nights.forgetting import retiring, suppressing
from lethe.nights.forgetting.history import forget_history
from lethe.nights.renaming import former, rotating
from lethe.stages import opening
from tests.fakes.living_estate import LivingEstate, stone_of
from tests.fakes.looked_at import Seen
from tests.fakes.night_desk import KEYS
from tests.nights.renamed import (
    ANN,
    champion,
    night,
    three_nights,
)


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[LivingEstate]:
    with three_nights(tmp_path / "shop") as made:
        yield made


# Whoever opens a store compares; without each comparison somebody erased would pass


def test_no_data_version_of_another_generation_is_purged_or_read(estate: LivingEstate) -> None:
    desk, data = estate.world.desk, estate.world.data
    ours: Any = data
    digest = data.digest("data/interactions")
    assert digest is not None
    desk = replace(desk, keys=Keys(KEYS.pseudonym, KEYS.tombstone, b"\x07" * 32))
    with pytest.raises(WrongKey, match="data version"):
        opening.check_out(ours, digest, estate.workspace.temporary / "out", desk.keys)
    with pytest.raises(WrongKey, match="a retained data version"):
        forget_history(desk, ours)
    with pytest.raises(WrongKey):
        opening.open_shards(estate.workspace, desk.params, desk.keys)


def test_a_version_under_former_names_is_neither_promoted_nor_verified(
    estate: LivingEstate,
) -> None:
    first = champion(estate)
    assert estate.rotate(None) == "rotated"
    desk = estate.world.desk
    with pytest.raises(PromotionRefused, match="before the pseudonym key was replaced"):
        judging.promote_version(desk, first, True, ())
    with pytest.raises(PromotionRefused, match="before the pseudonym key was replaced"):
        judging.examine(desk, first)


def test_a_new_version_that_does_not_say_its_generation_is_not_recorded(
    estate: LivingEstate,
) -> None:
    assert estate.rotate(None) == "rotated"
    desk = estate.world.desk
    folder = desk.fetch(champion(estate))
    with pytest.raises(WrongKey, match="the new version"):
        judging.record(desk, "run", "night", folder, "")


def test_a_version_of_a_generation_that_nobody_knows_serves_nobody_and_goes(
    estate: LivingEstate,
) -> None:
    """Such as a restored one: it can hold anybody."""
    assert estate.rotate(None) == "rotated"
    assert night(estate) == "promoted"
    lost = champion(estate)
    desk = estate.world.desk
    unknown = replace(desk, keys=Keys(KEYS.pseudonym, KEYS.tombstone, b"\x07" * 32))
    suppressing.refresh(unknown)
    assert Seen(estate).served(lost) == set()
    estate.ask(Action.ERASE, ANN)
    estate.world.versions.set_champion(None)
    retiring.destroy_solution_versions(unknown, desk.register.standing())
    assert lost not in [info.version for info in estate.world.versions.versions()]


def test_an_unreadable_version_keeps_every_former_key(estate: LivingEstate) -> None:
    assert estate.rotate(None) == "rotated"
    assert estate.rotate(None) == "rotated"
    desk = estate.world.desk
    broken = estate.world.versions.folder / str(champion(estate))
    for path in broken.rglob("manifest.json"):
        path.chmod(0o600)
        path.write_text("{}")
    assert former.UNREADABLE in former.versions_by_generation(desk)
    assert former.forget_keys(desk) == 0
    assert former.superseded(desk) == frozenset()


def test_the_vault_answers_in_the_present_names(estate: LivingEstate) -> None:
    assert estate.rotate(None) == "rotated"
    keys = estate.world.desk.keys
    stone = stone_of((ANN, 0))
    assert estate.world.vault.by_tombstone([stone]) == {stone: (keys.name(ANN, 0), ANN)}
    assert keys.name(ANN, 0) in opening.rows_by_user(estate.world.store())


def test_a_key_of_the_environment_changes_nothing(
    estate: LivingEstate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_PSEUDONYM_KEY", KEYS.pseudonym.hex())
    data: Any = estate.world.data
    with pytest.raises(BadConfiguration, match="comes from LETHE_PSEUDONYM_KEY"):
        rotating.rotate(estate.world.desk, data)
    assert name_keys.awaited(estate.workspace) is None
    assert read_json(estate.workspace.interactions / "manifest.json").get("names") is None
    assert ShardStore(estate.workspace.interactions, 2).names == ""
