"""Keys are made once, are never replaced, and a wrong one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lethe.errors import BadConfiguration, NotAWorkspace, WrongKey
from lethe.estate.keys import make_keys, open_keys, open_signing_key, trusted_keys
from lethe.estate.workspace import Workspace
from lethe.gate.proof.certificate import key_id, new_signing_key, private_pem, public_pem

SECRETS = ("pseudonym", "tombstone")


@pytest.fixture(autouse=True)
def _no_keys_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECRETS, "signing"):
        for variable in (f"LETHE_{name.upper()}_KEY", f"LETHE_{name.upper()}_KEY_FILE"):
            monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    make_keys(made)
    return made


def contents(workspace: Workspace) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(workspace.keys.iterdir())}


def test_keys_are_made_once_and_privately(workspace: Workspace) -> None:
    before = contents(workspace)
    assert set(before) == {
        "fingerprints.json", "pseudonym.key", "signing.key", "signing.pub", "tombstone.key",
    }  # fmt: skip
    assert workspace.keys.stat().st_mode & 0o077 == 0
    for name in ("pseudonym.key", "tombstone.key", "signing.key"):
        assert (workspace.keys / name).stat().st_mode & 0o777 == 0o600
    keys = open_keys(workspace)
    make_keys(workspace)
    assert contents(workspace) == before
    assert open_keys(workspace) == keys


def test_two_workspaces_share_no_key(workspace: Workspace, tmp_path: Path) -> None:
    other = Workspace(tmp_path / "other")
    make_keys(other)
    assert not set(contents(workspace).values()) & set(contents(other).values())


def test_fingerprints_say_nothing_about_a_key(workspace: Workspace) -> None:
    noted = workspace.fingerprints.read_text()
    for name in SECRETS:
        assert (workspace.keys / f"{name}.key").read_text().strip()[:16] not in noted
    keys = open_keys(workspace)
    assert keys.pseudonym.hex() not in repr(keys)
    assert keys.tombstone.hex() not in repr(keys)


@pytest.mark.parametrize("name", SECRETS)
def test_a_wrong_key_is_refused_and_the_right_one_stays(workspace: Workspace, name: str) -> None:
    path = workspace.keys / f"{name}.key"
    right = path.read_bytes()
    path.write_bytes(b"ab" * 32)
    before = contents(workspace)
    for use in (open_keys, make_keys):
        with pytest.raises(WrongKey, match=name):
            use(workspace)
    assert contents(workspace) == before
    path.write_bytes(right)
    open_keys(workspace)


@pytest.mark.parametrize("name", SECRETS)
def test_a_key_that_was_lost_is_not_made_anew(workspace: Workspace, name: str) -> None:
    """A new pseudonym key would make every known person a stranger."""
    (workspace.keys / f"{name}.key").unlink()
    for use in (open_keys, make_keys):
        with pytest.raises(BadConfiguration, match=f"the {name} key .* is missing"):
            use(workspace)
    assert not (workspace.keys / f"{name}.key").exists()


def test_a_lost_signing_key_is_not_made_anew(workspace: Workspace) -> None:
    """Certificates of the old key would silently stop to count."""
    before = contents(workspace)
    (workspace.keys / "signing.key").unlink()
    for use in (open_signing_key, make_keys):
        with pytest.raises(BadConfiguration, match=r"the signing key .* is missing"):
            use(workspace)
    assert contents(workspace)["signing.pub"] == before["signing.pub"]


def test_a_wrong_signing_key_is_refused_and_public_half_and_fingerprint_stay(
    workspace: Workspace,
) -> None:
    before = contents(workspace)
    (workspace.keys / "signing.key").write_bytes(private_pem(new_signing_key()))
    for use in (open_signing_key, make_keys):
        with pytest.raises(WrongKey, match="signing"):
            use(workspace)
    after = contents(workspace)
    assert after["signing.pub"] == before["signing.pub"]
    assert after["fingerprints.json"] == before["fingerprints.json"]


def test_a_changed_public_key_is_not_trusted(workspace: Workspace) -> None:
    [trusted] = trusted_keys(workspace)
    assert key_id(trusted) == key_id(open_signing_key(workspace).public_key())
    stranger = new_signing_key().public_key()
    (workspace.keys / "signing.pub").write_bytes(public_pem(stranger))
    with pytest.raises(WrongKey, match=r"signing\.pub"):
        trusted_keys(workspace)


@pytest.mark.parametrize("name", SECRETS)
def test_a_key_may_come_from_the_environment_or_from_a_file_outside(
    workspace: Workspace, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = open_keys(workspace)
    path = workspace.keys / f"{name}.key"
    text = path.read_text()
    path.unlink()
    monkeypatch.setenv(f"LETHE_{name.upper()}_KEY", text.strip())
    assert open_keys(workspace) == keys
    make_keys(workspace)
    assert not path.exists()
    monkeypatch.delenv(f"LETHE_{name.upper()}_KEY")
    elsewhere = tmp_path / "key"
    elsewhere.write_text(text)
    monkeypatch.setenv(f"LETHE_{name.upper()}_KEY_FILE", str(elsewhere))
    assert open_keys(workspace) == keys
    # the environment counts before the file, so a wrong one there is not covered up
    monkeypatch.setenv(f"LETHE_{name.upper()}_KEY", "cd" * 32)
    with pytest.raises(WrongKey):
        open_keys(workspace)


def test_a_new_workspace_takes_the_keys_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_PSEUDONYM_KEY", "11" * 32)
    monkeypatch.setenv("LETHE_TOMBSTONE_KEY", "22" * 32)
    monkeypatch.setenv("LETHE_SIGNING_KEY", private_pem(new_signing_key()).decode())
    made = Workspace(tmp_path)
    make_keys(made)
    assert set(contents(made)) == {"fingerprints.json", "signing.pub"}
    assert open_keys(made).pseudonym == bytes.fromhex("11" * 32)
    open_signing_key(made)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("zz" * 32, "not hexadecimal"),
        ("é" * 32, "not hexadecimal"),
        ("ab" * 31, "31 bytes instead of 32"),
        ("", "0 bytes instead of 32"),
    ],
)
def test_a_malformed_key_is_refused_without_being_shown(
    workspace: Workspace, text: str, said: str
) -> None:
    (workspace.keys / "tombstone.key").write_text(text)
    with pytest.raises(BadConfiguration, match=said) as refused:
        open_keys(workspace)
    assert not text or text not in str(refused.value)


def test_one_key_for_both_purposes_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LETHE_PSEUDONYM_KEY", "11" * 32)
    monkeypatch.setenv("LETHE_TOMBSTONE_KEY", "11" * 32)
    with pytest.raises(BadConfiguration, match="the same"):
        make_keys(Workspace(tmp_path / "twins"))
    assert not (tmp_path / "twins" / ".lethe" / "keys" / "fingerprints.json").exists()


def test_an_unreadable_key_or_list_of_fingerprints_is_told(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_PSEUDONYM_KEY_FILE", str(workspace.keys))
    with pytest.raises(BadConfiguration, match="the pseudonym key cannot be read"):
        open_keys(workspace)
    monkeypatch.delenv("LETHE_PSEUDONYM_KEY_FILE")
    workspace.fingerprints.write_text("{")
    with pytest.raises(BadConfiguration, match=r"fingerprints\.json"):
        open_keys(workspace)
    workspace.fingerprints.write_text(json.dumps({}))
    with pytest.raises(WrongKey):
        open_keys(workspace)


def test_a_folder_without_fingerprints_is_no_workspace(
    workspace: Workspace, tmp_path: Path
) -> None:
    assert Workspace.find(workspace.root) == Workspace(workspace.root.resolve())
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(NotAWorkspace, match="`lethe init`"):
        Workspace.find(empty)
