"""A request is closed when nothing is left of the person, and never before."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.adapters.catalogue import Catalogue, DataVersion
from lethe.adapters.packing.model_folder import SOLUTION
from lethe.durable import read_json, sha256_json, write_json
from lethe.errors import ArtifactCorrupt, BadRequest, StoreUnavailable
from lethe.estate.restricted import restricted_path
from lethe.estate.vault import Vault
from lethe.interactions.intake.quarantine import Quarantine
from lethe.interactions.intake.verdicts import RefusedRow
from lethe.interactions.rights.register import Action, Register
from lethe.interactions.shards.store import ShardStore
from lethe.nights.forgetting import retiring
from lethe.nights.forgetting.retiring import retire
from lethe.stages import opening
from tests.fakes.data_versions import FakeDataVersions
from tests.fakes.night_desk import World, name_of, stone_of
from tests.fakes.solution_versions import FakeSolutionVersions
from tests.kills import dying_at

PEOPLE = [f"customer-{number:04d}" for number in range(6)]
ANN, BOB, CAT, DAN, EVE, FAY = PEOPLE


def retired(world: World, night: str = "tonight") -> retiring.Retired:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "open_data", lambda _: world.data)
        patch.setattr(opening, "now", lambda: world.clock)
        return retire(world.desk, night)


def after_one_night(root: Path) -> World:
    """Everybody has rows, and version 1 was made from all of them."""
    world = World(root, PEOPLE)
    world.take_in(*PEOPLE)
    world.night()
    retired(world, "first")
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return after_one_night(tmp_path / "shop")


def states(world: World) -> dict[int, str]:
    return {s.entry.position: s.state for s in world.desk.register.requests()}


# --- what closes a request ----------------------------------------------------------------------


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


# --- laws ---------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(
                [Action.ERASE, Action.ERASE, Action.OBJECT, Action.RESTRICT, Action.RELEASE]
            ),
            st.sampled_from([*PEOPLE[:4], "stranger-1"]),
        ),
        st.sampled_from(["promoted", "promoted", "refused", "late rows", "leak", "mend"]),
    ),
    min_size=2,
    max_size=9,
)


@settings(max_examples=15, deadline=None)
@given(steps=STEPS)
def test_no_history_closes_a_request_too_early_or_never(steps: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        world = after_one_night(Path(folder) / "shop")
        for step in [*steps, "mend", "promoted"]:
            before = states(world)
            lived_through(world, step)
            for state in world.desk.register.requests():
                if not state.open and before.get(state.entry.position) != state.state:
                    closed_rightly(world, state)
        open_ones = {s.entry.position: s.state for s in world.desk.register.requests() if s.open}
        assert set(open_ones.values()) <= {"blocked"}


def lived_through(world: World, step: Any) -> None:
    leak = world.workspace.mlflow / "artifacts" / "note.txt"
    if step == "leak":
        leak.write_text(" ".join(map(name_of, PEOPLE[:4])))
    elif step == "mend":
        leak.unlink(missing_ok=True)
    elif step == "late rows":
        world.take_in(*PEOPLE)
    elif isinstance(step, str):
        world.night(promoted=step == "promoted")
        retired(world)
    else:
        try:
            world.ask(*step)
        except BadRequest:
            return


def closed_rightly(world: World, state: Any) -> None:
    entry = state.entry
    [raw] = [name for name in (*PEOPLE, "stranger-1") if stone_of(name) == entry.tombstone]
    evidence = read_json(world.workspace.evidence / f"request-{entry.position}.json")
    assert state.evidence == sha256_json(evidence)
    assert evidence["outcome"] == state.state
    if entry.action is not Action.ERASE:
        return
    assert (state.state == "not_found") is (raw == "stranger-1")
    left = world.bytes_everywhere()
    assert raw.encode() not in left
    assert name_of(raw).encode() not in left
    for digest in world.data.held():
        assert name_of(raw).encode() not in b"".join(
            world.data.content[md5] for md5 in world.data.objects(digest).values()
        )
    for info in world.versions.versions():
        assert name_of(raw) not in world.desk.read(info.version).users


# --- kills --------------------------------------------------------------------------------------

MOST_CALLS = 36
DURABLE: list[tuple[Any, str]] = [
    (FakeSolutionVersions, "destroy"),
    (FakeSolutionVersions, "sweep"),
    (FakeDataVersions, "destroy"),
    (FakeDataVersions, "sweep"),
    (FakeDataVersions, "copy_in"),
    (FakeDataVersions, "put_version"),
    (Catalogue, "_write"),
    (Quarantine, "forget"),
    (Vault, "forget"),
    (Register, "close"),
    (retiring, "write_json"),
    (shutil, "rmtree"),
    (Path, "unlink"),
]


def in_need(root: Path) -> World:
    """A night before its last step: two erasures, an objection, a hold, a stranger, loose rows."""
    world = after_one_night(root)
    world.ask(Action.ERASE, ANN, BOB, "stranger-1")
    world.ask(Action.OBJECT, CAT)
    world.ask(Action.RESTRICT, DAN)
    world.ask(Action.ERASE, DAN)
    rows = [RefusedRow(1, "r", f"{ANN},i"), RefusedRow(2, "r", f"{EVE},i")]
    Quarantine(world.workspace.quarantine).rows("ab" * 32, rows)
    world.night()
    return world


def whole_or_absent(*arguments: Any) -> bool:
    """`durable.replacing` leaves a file whole or not there: its own steps do not count."""
    return not (arguments and str(arguments[0]).endswith(".part"))


def killing(world: World, at: int | None) -> int:
    """Retire, and die right before the durable call number `at`; how many calls came."""
    return dying_at(at, DURABLE, lambda: retired(world), whole_or_absent)


def ends_as(world: World) -> dict[str, Any]:
    requests = world.desk.register.requests()
    evidence = sorted(world.workspace.evidence.iterdir())
    return {
        "requests": [(s.entry.position, s.state, s.rows_removed) for s in requests],
        "closed by": {
            s.entry.position: s.evidence
            == sha256_json(read_json(world.workspace.evidence / f"request-{s.entry.position}.json"))
            for s in requests
            if not s.open
        },
        "evidence": {path.name: _uncounted(read_json(path)) for path in evidence},
        "versions": [info.version for info in world.versions.versions()],
        "data": (world.data.held(), set(world.data.content.keys())),
        "catalogue": [v.digest for v in Catalogue(world.workspace.catalogue).list()],
        "vault": world.vault.count(),
        "quarantine": Quarantine(world.workspace.quarantine).counts(),
        "certificates": sorted(path.name for path in world.workspace.certificates.iterdir()),
        "temporary": list(world.workspace.temporary.iterdir()),
    }


def _uncounted(evidence: dict[str, Any]) -> dict[str, Any]:
    """Without how much was searched: a killed night's own evidence lies among it."""
    for name in ("files_searched", "bytes_searched", "searched_by_store"):
        del evidence["search"][name]
    return evidence


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    world = in_need(tmp_path_factory.mktemp("undisturbed") / "shop")
    calls = killing(world, None)
    return calls, ends_as(world)


def test_the_undisturbed_night_does_what_the_killed_ones_are_held_against(
    undisturbed: tuple[int, dict[str, Any]],
) -> None:
    calls, end = undisturbed
    assert 15 < calls <= MOST_CALLS
    assert [state for _, state, _ in end["requests"]] == [
        "closed", "closed", "not_found", "closed", "closed", "blocked",
    ]  # fmt: skip
    assert end["versions"] == [2]
    assert all(end["closed by"].values())


@pytest.mark.parametrize("at", range(MOST_CALLS))
def test_a_kill_between_any_two_durable_calls_changes_nothing_in_the_end(
    at: int, undisturbed: tuple[int, dict[str, Any]], tmp_path: Path
) -> None:
    calls, expected = undisturbed
    if at >= calls:
        pytest.skip("the night has fewer durable calls")
    world = in_need(tmp_path / "shop")
    killing(world, at)
    killing(world, None)
    assert ends_as(world) == expected
