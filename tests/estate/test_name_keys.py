"""Name keys: one is present, former ones stay as long as they are needed, a kill loses none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lethe.durable import read_json
from lethe.errors import BadConfiguration, RefusedByGate, WrongKey
from lethe.estate.keys import keys_before, make_keys, open_keys
from lethe.estate.renaming import name_keys
from lethe.estate.workspace import Workspace
from tests.kills import dying_at

CALLS = [(name_keys, "write_bytes"), (name_keys, "write_json"), (name_keys, "sync_folder"),
         (Path, "replace"), (Path, "unlink"), (os, "fsync")]  # fmt: skip
MOST_CALLS = 30


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in ("PSEUDONYM", "NAMES", "TOMBSTONE"):
        monkeypatch.delenv(f"LETHE_{name}_KEY", raising=False)
        monkeypatch.delenv(f"LETHE_{name}_KEY_FILE", raising=False)
    made = Workspace(tmp_path)
    make_keys(made)
    return made


def rotate(workspace: Workspace) -> None:
    before = keys_before(workspace)
    name_keys.begin(workspace, before)
    name_keys.end(workspace, before)


def files(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.keys.iterdir() if "names" in path.name)


def test_a_new_name_key_becomes_the_present_one_and_the_former_stays_beside_it(
    workspace: Workspace,
) -> None:
    first = open_keys(workspace)
    rotate(workspace)
    second = open_keys(workspace)
    rotate(workspace)
    third = open_keys(workspace)
    assert (first.names, second.former, third.former) == (b"", (), (second.names,))
    assert (third.pseudonym, third.tombstone) == (first.pseudonym, first.tombstone)
    assert third.of(second.generation).names == second.names
    assert files(workspace) == ["names-1.key", "names.key"]
    for name in files(workspace):
        assert (workspace.keys / name).stat().st_mode & 0o777 == 0o600
    make_keys(workspace)
    assert open_keys(workspace) == third


def test_until_all_names_are_changed_nobody_opens_the_keys(workspace: Workspace) -> None:
    before = open_keys(workspace)
    begun = name_keys.begin(workspace, before)
    with pytest.raises(RefusedByGate, match="has not ended"):
        open_keys(workspace)
    assert keys_before(workspace) == before
    assert name_keys.begin(workspace, before) == begun, "the same key again, never a second one"
    name_keys.end(workspace, before)
    assert open_keys(workspace) == begun


def test_former_keys_go_once_nothing_is_named_under_them(workspace: Workspace) -> None:
    generations = []
    for _ in range(3):
        rotate(workspace)
        generations.append(open_keys(workspace).generation)
    assert name_keys.forget(workspace, {*generations}) == 0
    assert name_keys.forget(workspace, {generations[0], generations[2]}) == 1
    assert open_keys(workspace).of(generations[0]).generation == generations[0]
    with pytest.raises(WrongKey, match="not here any more"):
        open_keys(workspace).of(generations[1])
    assert name_keys.forget(workspace, set()) == 1
    assert files(workspace) == ["names.key"]
    rotate(workspace)
    assert files(workspace) == ["names-3.key", "names.key"], "a number is never used again"


@pytest.mark.parametrize("name", ["PSEUDONYM", "NAMES"])
@pytest.mark.parametrize("suffix", ["", "_FILE"])
def test_a_key_from_the_environment_is_not_replaced(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, name: str, suffix: str
) -> None:
    rotate(workspace)
    path = workspace.keys / f"{name.lower()}.key"
    monkeypatch.setenv(f"LETHE_{name}_KEY{suffix}", str(path) if suffix else path.read_text())
    before = open_keys(workspace)
    with pytest.raises(BadConfiguration, match=f"comes from LETHE_{name}_KEY{suffix};"):
        name_keys.begin(workspace, before)
    assert open_keys(workspace) == before
    assert files(workspace) == ["names.key"]


def test_a_name_key_that_was_swapped_lost_or_spoiled_stops_everything(
    workspace: Workspace,
) -> None:
    rotate(workspace)
    rotate(workspace)
    path, former = workspace.keys / "names.key", workspace.keys / "names-1.key"
    right, old = path.read_bytes(), former.read_bytes()
    path.write_bytes(old)
    with pytest.raises(WrongKey, match="names key"):
        open_keys(workspace)
    path.unlink()
    with pytest.raises(BadConfiguration, match="names key of this workspace is missing"):
        open_keys(workspace)
    path.write_bytes(right)
    former.write_bytes(right)
    with pytest.raises(WrongKey, match=r"names-1\.key"):
        open_keys(workspace)
    former.write_bytes(b"\xff\xfe")
    with pytest.raises(BadConfiguration, match=r"names-1\.key is not hexadecimal"):
        open_keys(workspace)


@pytest.mark.parametrize("at", range(MOST_CALLS))
def test_a_kill_at_any_call_loses_no_key_that_is_needed(workspace: Workspace, at: int) -> None:
    """After it, a repeat ends what was begun: with the key that names were changed to."""
    rotate(workspace)
    second = open_keys(workspace)

    def whole() -> None:
        rotate(workspace)
        name_keys.forget(workspace, set())

    calls = dying_at(at, CALLS, whole)
    if calls <= at:
        pytest.skip("there are fewer calls")
    assert keys_before(workspace).tombstone == second.tombstone, "requests can be entered"
    begun = name_keys.awaited(workspace)
    known = {keys_before(workspace).names, *keys_before(workspace).former}
    recorded = read_json(workspace.fingerprints)["names"]
    assert recorded == keys_before(workspace).generation
    assert begun is None or second.names in known
    rotate(workspace)
    assert begun is None or open_keys(workspace).names == begun
    assert open_keys(workspace).names != second.names
