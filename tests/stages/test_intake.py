"""The stage `interactions` on landed files: each taken once and whole, nobody unknown to the vault.

The stage is called as DVC calls it, without DVC.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lethe.durable import read_json
from lethe.estate.canaries.roll import Canaries
from lethe.estate.keys import make_keys
from lethe.estate.workspace import Workspace
from lethe.interactions.intake import naming
from lethe.interactions.intake.reading import survey
from lethe.interactions.intake.rules import IntakeRules
from lethe.interactions.rights.identity import Identities, Identity
from lethe.interactions.shards.store import ShardStore
from lethe.stages import intake, opening

HEADER = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return made(tmp_path / "shop", tmp_path / "keys")


def made(root: Path, keys: Path) -> Workspace:
    """What the stage needs of a workspace; those that name one `keys` folder share its keys."""
    workspace = Workspace(root)
    workspace.landing.mkdir(parents=True)
    workspace.state.mkdir()
    shutil.copy(Path(__file__).parents[2] / "params.yaml", root)
    if keys.exists():
        shutil.copytree(keys, workspace.keys)
    make_keys(workspace)
    if not keys.exists():
        shutil.copytree(workspace.keys, keys)
    register = opening.open_register(workspace, opening.open_params(workspace))
    register.initialise()
    opening.write_position(workspace.register_position, register.head())
    return workspace


def land(workspace: Workspace, name: str, *rows: str) -> None:
    (workspace.landing / name).write_text(HEADER + "".join(f"{row}\n" for row in rows))


def run(workspace: Workspace) -> dict[str, Any]:
    intake.interactions(workspace, opening.open_params(workspace))
    receipt: dict[str, Any] = read_json(workspace.receipts / "interactions.json")["intake"]
    return receipt


def shards(workspace: Workspace) -> dict[str, bytes]:
    root = workspace.interactions
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*.parquet")}


def test_a_bad_file_between_good_ones_adds_no_row_and_stops_none(workspace: Workspace) -> None:
    land(workspace, "1.csv", "ann,a,1000,view", "bob,b,1001,view")
    whole = gzip.compress((HEADER + "cyd,c,1002,view\n" * 5_000).encode())
    (workspace.landing / "2.csv.gz").write_bytes(whole[:-20])
    # this one's fault, too many refused rows, shows only after its good rows were read
    land(workspace, "2.csv", "cyd,c,1002,view", ",c,1002,view", ",d,1003,view")
    land(workspace, "3.csv", "dan,d,1003,view")

    receipt = run(workspace)

    assert (receipt["files_new"], receipt["rows_new"]) == (2, 3)
    assert sum(receipt["files_refused"].values()) == 2
    assert ShardStore(workspace.interactions).counts().users == 3


def test_everybody_in_the_shards_is_in_the_vault(workspace: Workspace) -> None:
    land(
        workspace, "1.csv", *(f"user-{number % 40},a,{1000 + number},view" for number in range(99))
    )
    (workspace.landing / "users.csv").write_text("USER_ID,SEGMENT\nuser-1,x\nuser-99,y\n")

    run(workspace)

    assert ShardStore(workspace.interactions).counts().users == 40
    assert opening.open_vault(workspace, opening.open_identities(workspace)).count() == 41


def test_how_many_people_an_intake_remembers_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several spellings of one id, and everybody in every file."""
    found = []
    for known in (0, 3, intake._KNOWN):
        monkeypatch.setattr(intake, "_KNOWN", known)
        workspace = made(tmp_path / f"shop-{known}", tmp_path / "keys")
        for day in range(4):
            people = (f"{' ' * (n % 2)}user-{n % 7}" for n in range(20))
            rows = (f"{who},item-{n},{1000 * day + n},view" for n, who in enumerate(people))
            land(workspace, f"{day}.csv", *rows)
        receipt = run(workspace)
        vault = opening.open_vault(workspace, opening.open_identities(workspace))
        stones = opening.open_identities(workspace).stones(
            list(opening.rows_by_user(ShardStore(workspace.interactions)))
        )
        found.append((receipt, shards(workspace), vault.by_tombstone(stones)))
    assert found[0] == found[1] == found[2]
    assert len(found[0][2]) == 7


def test_in_how_many_groups_rows_are_named_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small files, a long one, one found bad at its end after some of its rows were named, and
    the canaries' own, which is counted apart; somebody is erased."""
    found, resolve = [], Identities.resolve

    def resolved(own: Identities, ids: Sequence[str]) -> list[Identity]:
        return [
            replace(one, erased=n == "u0") for n, one in zip(ids, resolve(own, ids), strict=True)
        ]

    monkeypatch.setattr(Identities, "resolve", resolved)
    for rows in (naming._ROWS, 7, 1):
        monkeypatch.setattr(naming, "_ROWS", rows)
        monkeypatch.setattr(naming, "_MOST_ROWS", rows)
        workspace = made(tmp_path / f"shop-{rows}", tmp_path / "keys")
        for day in range(5):
            land(workspace, f"{day}.csv", *(f"u{n},i{n},{1000 * day + n},view" for n in range(4)))
        land(workspace, "5.csv", *(f"u{n},i,{n},view" for n in range(60)))
        land(workspace, "6.csv", *(f"bad{n},i,{n},view" for n in range(9)), *[",i,1,view"] * 20)
        land(workspace, "7.csv", *(f"canary{n},i,{n},view" for n in range(9)))
        land(workspace, "8.csv", "last,i,1,view")
        (canaries,) = [f.sha256 for f in survey(workspace.landing, IntakeRules()) if "7" in f.name]
        monkeypatch.setattr(Canaries, "landed", lambda _, theirs=canaries: theirs)
        receipt = run(workspace)
        vault = opening.open_vault(workspace, opening.open_identities(workspace))
        found.append((receipt, shards(workspace), vault.count()))
    assert found[0] == found[1] == found[2]
    receipt, _, known = found[0]
    assert (receipt["files_new"], receipt["rows_read"], receipt["rows_erased"]) == (7, 81, 6)
    assert known == 59 + 9 + 9 + 1


def test_a_kill_before_the_shards_are_written_leaves_nobody_unknown(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vault comes first: what a kill then loses is only read again."""
    land(workspace, "1.csv", "ann,a,1000,view")

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ShardStore, "_merge", killed)
        with pytest.raises(KeyboardInterrupt):
            run(workspace)
    assert shards(workspace) == {}
    assert opening.open_vault(workspace, opening.open_identities(workspace)).count() == 1

    assert run(workspace)["rows_new"] == 1


def test_files_landed_together_and_one_a_night_end_in_the_same_shards(
    workspace: Workspace, tmp_path: Path
) -> None:
    other = made(tmp_path / "other", tmp_path / "keys")
    for day in range(4):
        rows = [f"user-{day % 2},{item},{day * 2_500_000 + item},view" for item in range(9)]
        land(workspace, f"{day}.csv", *rows)
        land(other, f"{day}.csv", *rows)
        run(other)

    assert run(workspace)["files_new"] == 4
    assert shards(workspace) == shards(other)
    assert run(workspace)["files_repeated"] == 4


def test_a_file_without_a_refused_row_leaves_nothing_in_quarantine(workspace: Workspace) -> None:
    land(workspace, "1.csv", "ann,a,1000,view")
    land(
        workspace, "2.csv", *(f"bob,b,{1000 + number},view" for number in range(9)), ",c,1001,view"
    )

    assert sum(run(workspace)["refused"].values()) == 1
    assert len(list(workspace.quarantine.iterdir())) == 1


def test_refused_rows_beyond_what_is_held_at_once_are_all_kept_and_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_AT_ONCE", 1)
    rows = [f"bob,b,{1000 + number},view" for number in range(9)]
    land(workspace, "1.csv", *rows, ",c,1001,view", ",d,1001,view")

    assert sum(run(workspace)["refused"].values()) == 2
    (kept,) = workspace.quarantine.iterdir()
    assert len(kept.read_text().splitlines()) == 2
