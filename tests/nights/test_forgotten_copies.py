"""Which versions and quarantined rows go, and which are kept, when people are forgotten."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from lethe.adapters.catalogue import Catalogue
from lethe.adapters.packing.model_folder import SOLUTION
from lethe.errors import ArtifactCorrupt
from lethe.interactions.intake.quarantine import Quarantine
from lethe.interactions.intake.verdicts import RefusedRow
from lethe.interactions.rights.register import Action
from tests.fakes.night_desk import World
from tests.nights.forgotten import (
    ANN,
    BOB,
    CAT,
    after_one_night,
    retired,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return after_one_night(tmp_path / "shop")


# --- versions -----------------------------------------------------------------------------------


def test_versions_that_do_not_hold_the_erased_are_kept(world: World) -> None:
    world.ask(Action.ERASE, ANN)
    first = world.night()
    retired(world)
    world.take_in("newcomer-1")
    world.ask(Action.ERASE, "newcomer-2")
    second = world.night()
    retired(world)
    world.ask(Action.ERASE, "newcomer-1")
    third = world.night()
    done = retired(world)
    assert [info.version for info in world.versions.versions()] == [first, third]
    assert done.versions == 1
    assert second not in {info.version for info in world.versions.versions()}
    assert len(Catalogue(world.workspace.catalogue).list()) == len(world.data.held())


def test_an_unreadable_version_may_hold_anybody_and_goes(world: World) -> None:
    world.ask(Action.ERASE, "stranger-1")
    world.night()
    (world.versions.folder / "1" / SOLUTION / "users.txt").write_text("changed")
    assert retired(world).versions == 1
    (world.versions.folder / "2" / SOLUTION / "users.txt").write_text("changed")
    with pytest.raises(ArtifactCorrupt):
        retired(world)
    assert [info.version for info in world.versions.versions()] == [2], "the champion stays"


def test_data_versions_that_nobody_knows_are_destroyed_and_the_present_one_never(
    world: World,
) -> None:
    (world.workspace.interactions / "note.txt").write_text("x")
    stray = world.data.commit("interactions")
    (world.workspace.interactions / "note.txt").unlink()
    world.take_in("newcomer-1")
    present = world.data.commit("interactions")  # versioned, and killed before the catalogue
    assert stray in world.data.held()
    retired(world)
    assert stray not in world.data.held()
    assert present in world.data.held()


def test_only_as_many_data_versions_as_configured_are_kept(world: World) -> None:
    retention = world.desk.params.retention.model_copy(update={"data_versions": 2})
    params = world.desk.params.model_copy(update={"retention": retention})
    object.__setattr__(world.desk, "params", params)
    for number in range(4):
        world.take_in(f"newcomer-{number}")
        version = world.night()
        if version and version > 2:
            world.versions.destroy(version - 2)
        retired(world)
    assert len(world.data.held()) == len(Catalogue(world.workspace.catalogue).list()) == 2


# --- quarantine ---------------------------------------------------------------------------------


def test_a_late_refused_row_of_somebody_long_forgotten_goes_too(world: World) -> None:
    """The vault does not know the id any more; the row itself says whose it is."""
    world.ask(Action.ERASE, ANN)
    world.night()
    retired(world)
    quarantine = Quarantine(world.workspace.quarantine)
    quarantine.rows("ab" * 32, [RefusedRow(1, "r", f"{ANN},i,-1"), RefusedRow(2, "r", f"{BOB},i,")])
    (world.workspace.quarantine / "whole.csv.gz").write_bytes(
        gzip.compress(f"user,item\n{ANN},i\n{CAT},i\n".encode())
    )
    retired(world)
    left = world.bytes_everywhere()
    assert ANN.encode() not in left
    assert quarantine.counts().rows == {"r": 1}
    whole = gzip.decompress((world.workspace.quarantine / "whole.csv.gz").read_bytes())
    assert whole == f"user,item\n{CAT},i\n".encode()


def test_what_the_search_can_read_and_quarantine_cannot_goes_whole(world: World) -> None:
    import zipfile

    world.ask(Action.ERASE, ANN)
    path = world.workspace.quarantine / "0123456789ab.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", f"{ANN},item\n" * 50)
    path.with_name("0123456789ab.reason.json").write_text('{"rule":"r"}')
    world.night()
    assert retired(world).closed == 1
    assert list(world.workspace.quarantine.glob("0123456789ab*")) == []
