"""A request is closed when nothing is left of the person, and never before."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lethe.adapters.catalogue import Catalogue, DataVersion
from lethe.durable import read_json, sha256_json, write_json
from lethe.errors import StoreUnavailable
from lethe.estate.restricted import restricted_path
from lethe.interactions.intake.quarantine import Quarantine
from lethe.interactions.intake.verdicts import RefusedRow
from lethe.interactions.rights.register import Action
from lethe.interactions.shards.store import ShardStore
from tests.fakes.data_versions import FakeDataVersions
from tests.fakes.night_desk import World, name_of, stone_of
from tests.fakes.solution_versions import FakeSolutionVersions
from tests.nights.forgotten import (
    ANN,
    BOB,
    DAN,
    PEOPLE,
    after_one_night,
    retired,
    states,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return after_one_night(tmp_path / "shop")


def details(world: World, version: int) -> Path:
    """What verification found out about a refused version."""
    path = restricted_path(world.workspace, version)
    write_json(path, {"version": version, "written": world.clock, "layers": []})
    return path


def test_details_of_a_refusal_go_before_an_erasure_is_closed_and_not_while_it_waits(
    world: World,
) -> None:
    world.ask(Action.ERASE, ANN)
    refused = world.night(promoted=False)
    assert refused is not None
    path = details(world, refused)
    assert retired(world, "refused").closed == 0
    assert path.is_file(), "nobody could look why the night was refused"
    world.night()
    done = retired(world)
    assert (done.closed, done.waiting) == (1, 0)
    assert not path.exists()


def test_details_of_a_refusal_go_with_their_version_and_with_time(world: World) -> None:
    gone, old = details(world, 9), details(world, 1)
    retired(world)
    assert (gone.exists(), old.exists()) == (False, True)
    world.clock += 13 * 86_400
    retired(world)
    assert old.exists()
    world.clock += 2 * 86_400
    retired(world)
    assert not old.exists()


def test_a_person_is_gone_from_everywhere_before_the_request_is_closed(world: World) -> None:
    world.ask(Action.ERASE, ANN)
    Quarantine(world.workspace.quarantine).rows("ab" * 32, [RefusedRow(1, "r", f"{ANN},item,1")])
    world.night()
    done = retired(world)
    assert (done.versions, done.rewritten, done.closed, done.hits) == (1, 1, 1, 0)
    assert states(world) == {1: "closed"}
    left = world.bytes_everywhere()
    assert ANN.encode() not in left
    assert name_of(ANN).encode() not in left
    assert BOB.encode() in left, "the vault still knows the others"
    assert [info.version for info in world.versions.versions()] == [2]
    assert not (world.workspace.certificates / "version-1.json").exists()


def rows_in(world: World, digest: str, into: Path) -> list[tuple[str, str, int]]:
    """Every row of a data version, by reading its files."""
    store = ShardStore(world.data.checkout(digest, into), world.store().buckets)
    store.verify()
    rows = (row for part in store.scan() for row in part.to_pylist())
    return [(row["user"], row["item"], row["timestamp"]) for row in rows]


def test_history_forgets_one_person_and_keeps_every_row_of_everybody_else(
    world: World, tmp_path: Path
) -> None:
    for number in range(3):
        world.take_in(*PEOPLE[number:])
        world.night()
        retired(world, f"night {number}")
    catalogue = Catalogue(world.workspace.catalogue)
    before = {
        version.digest: rows_in(world, version.digest, tmp_path / f"before-{number}")
        for number, version in enumerate(catalogue.list())
    }
    assert len(before) == 4
    world.ask(Action.ERASE, DAN)
    world.night()
    done = retired(world, "after")
    assert (done.rewritten, done.data_versions, done.closed) == (4, 0, 1)
    for number, (old, rows) in enumerate(before.items()):
        today = catalogue.today(old)
        assert today != old
        assert old not in world.data.held()
        assert rows_in(world, today, tmp_path / f"after-{number}") == [
            one for one in rows if one[0] != name_of(DAN)
        ]
    assert {version.register_position for version in catalogue.list()} == {1}
    assert retired(world, "again").rewritten == 0


def test_a_person_whom_the_vault_no_longer_knows_is_found_in_history_all_the_same(
    world: World, tmp_path: Path
) -> None:
    world.ask(Action.ERASE, ANN)
    world.vault.forget([stone_of(ANN)])
    world.night()
    retired(world)
    for number, digest in enumerate(sorted(world.data.held())):
        held = {user for user, *_ in rows_in(world, digest, tmp_path / str(number))}
        assert held == {name_of(one) for one in PEOPLE if one != ANN}


def test_a_version_is_found_by_any_name_it_ever_had_and_equal_ones_become_one(
    tmp_path: Path,
) -> None:
    catalogue = Catalogue(tmp_path / "catalogue.json")
    one, two, three = (DataVersion(f"{n}.dir", 1, 1, 1, 0, "0" * 64, n) for n in (1, 2, 3))
    for version in (one, two, three):
        catalogue.add(version)
    catalogue.replace({"1.dir": replace(one, digest="4.dir", formerly=("1.dir",))})
    catalogue.replace({"4.dir": replace(one, digest="3.dir", formerly=("1.dir", "4.dir"))})
    assert [v.digest for v in catalogue.list()] == ["2.dir", "3.dir"]
    assert [catalogue.today(f"{n}.dir") for n in (1, 2, 3, 4, 5)] == [
        "3.dir", "2.dir", "3.dir", "3.dir", "5.dir",
    ]  # fmt: skip


def test_the_evidence_says_what_was_done_and_names_nobody(world: World) -> None:
    world.ask(Action.ERASE, ANN)
    (world.workspace.quarantine / "cut.csv.gz").write_bytes(gzip.compress(b"x,y\n" * 99)[:-9])
    world.night()
    done = retired(world)
    [state] = world.desk.register.requests()
    evidence = read_json(world.workspace.evidence / "request-1.json")
    assert state.evidence == sha256_json(evidence)
    assert state.rows_removed == evidence["rows_removed"] == 3
    assert evidence["champion"] == 2
    assert evidence["search"]["files_by_store"] == {}
    assert evidence["search"]["undecoded"] == done.undecoded == 1
    assert evidence["search"]["undecoded_by_store"] == {"quarantine": 1}
    said = str(evidence)
    assert not any(who in said for who in (ANN, name_of(ANN), stone_of(ANN)))


def test_nothing_is_closed_while_the_champion_holds_the_person(world: World) -> None:
    world.ask(Action.ERASE, ANN)
    world.night(promoted=False)
    done = retired(world)
    assert (done.champion_holds_erased, done.closed, done.waiting) == (True, 0, 1)
    assert world.versions.champion() == 1
    assert world.vault.by_tombstone([stone_of(ANN)]), "needed to search again"
    world.night()
    assert retired(world).closed == 1


def test_nothing_is_closed_while_the_search_has_a_hit(world: World) -> None:
    world.ask(Action.ERASE, ANN)
    world.night()
    leak = world.workspace.mlflow / "artifacts" / "note.txt"
    leak.write_text(name_of(ANN))
    assert (retired(world).hits, states(world)) == (1, {1: "verified"})
    assert world.vault.by_tombstone([stone_of(ANN)])
    leak.unlink()
    assert (retired(world).hits, states(world)) == (0, {1: "closed"})


def test_nothing_is_closed_when_a_store_refuses_to_forget(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ask(Action.ERASE, ANN)
    world.night()

    def refuse(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("the remote does not answer")

    for owner, name in ((FakeSolutionVersions, "destroy"), (FakeDataVersions, "destroy")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, refuse)
            with pytest.raises(StoreUnavailable):
                retired(world)
        assert states(world) == {1: "verified"}
    assert retired(world).closed == 1


def test_a_legal_hold_keeps_the_person_until_it_is_released(world: World) -> None:
    world.ask(Action.RESTRICT, ANN)
    world.ask(Action.ERASE, ANN)
    world.night()
    assert retired(world).closed == 1, "the restriction itself"
    assert states(world) == {1: "closed", 2: "blocked"}
    assert world.store().holds(name_of(ANN))
    assert name_of(ANN) not in world.desk.read(2).users
    world.ask(Action.RELEASE, ANN)
    world.night()
    assert retired(world).closed == 2
    assert name_of(ANN).encode() not in world.bytes_everywhere()


def test_a_person_nobody_ever_heard_of_is_not_found(world: World) -> None:
    world.ask(Action.ERASE, "stranger-1")
    assert retired(world).not_found == 0, "nothing was purged since the request"
    world.night()
    assert retired(world).not_found == 1
    assert states(world) == {1: "not_found"}


def test_a_person_of_the_vault_alone_is_closed_and_not_called_unknown(world: World) -> None:
    """Somebody whose rows were all refused is known: their id was."""
    world.vault.remember([(name_of("gus-00001"), stone_of("gus-00001"), "gus-00001")])
    world.ask(Action.ERASE, "gus-00001")
    world.night()
    assert retired(world).closed == 1
    assert b"gus-00001" not in world.bytes_everywhere()


def test_one_late_request_does_not_hold_up_the_others(world: World) -> None:
    """It arrives after the purge, so its person is still everywhere; that is not a finding."""
    world.ask(Action.ERASE, ANN)
    version = world.night()
    world.ask(Action.ERASE, BOB)
    done = retired(world)
    assert (done.closed, done.hits, done.waiting) == (1, 0, 1)
    assert done.champion_holds_erased
    assert world.versions.champion() == version
    assert states(world) == {1: "closed", 2: "received"}
    world.night()
    assert retired(world).closed == 1


def test_objections_are_closed_once_a_version_without_the_person_was_promoted(
    world: World,
) -> None:
    world.ask(Action.OBJECT, ANN)
    world.night(promoted=False)
    assert retired(world).closed == 0
    world.night()
    done = retired(world)
    assert (done.closed, done.versions) == (1, 0), "nobody is erased, so nothing is destroyed"
    assert world.store().holds(name_of(ANN))
    world.ask(Action.WITHDRAW_OBJECTION, ANN)
    world.night()
    assert retired(world).closed == 1
    assert name_of(ANN) in world.desk.read(world.versions.champion() or 0).users
