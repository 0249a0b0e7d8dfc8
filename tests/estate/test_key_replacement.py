"""The signing key can be replaced: old certificates still count, strangers' never do."""

from __future__ import annotations

from pathlib import Path

import pytest

from lethe.durable import read_json, write_bytes, write_json
from lethe.errors import BadConfiguration, VerificationRefused, WrongKey
from lethe.estate import keys
from lethe.estate.keys import (
    make_keys,
    open_keys,
    open_signing_key,
    replace_signing_key,
    trusted_keys,
)
from lethe.estate.workspace import Workspace
from lethe.gate.proof.certificate import check, issue, key_id, new_signing_key, private_pem
from lethe.gate.proof.verification import verify
from tests.gate.proof.cases import case_of, honest


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for variable in ("LETHE_SIGNING_KEY", "LETHE_SIGNING_KEY_FILE"):
        monkeypatch.delenv(variable, raising=False)
    made = Workspace(tmp_path)
    make_keys(made)
    return made


def names(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.keys.iterdir() if "sign" in path.name)


def certificate(workspace: Workspace) -> bytes:
    report = verify(case_of(honest("lightfm")))
    return issue(report, {"users.txt": "0" * 64}, 1, open_signing_key(workspace)).envelope


def test_old_certificates_still_check_new_ones_are_signed_anew_and_strangers_are_refused(
    workspace: Workspace,
) -> None:
    old = certificate(workspace)
    former, new = replace_signing_key(workspace)
    younger = certificate(workspace)
    assert [key_id(key) for key in trusted_keys(workspace)] == [new, former]
    assert check(old, trusted_keys(workspace)).verdict == "VERIFIED"
    assert check(younger, trusted_keys(workspace)[:1]).verdict == "VERIFIED"
    with pytest.raises(VerificationRefused, match="no trusted key"):
        check(old, trusted_keys(workspace)[:1])
    stranger = issue(verify(case_of(honest("lightfm"))), {"a": "0" * 64}, 1, new_signing_key())
    with pytest.raises(VerificationRefused, match="no trusted key"):
        check(stranger.envelope, trusted_keys(workspace))


def test_a_key_can_be_replaced_again_and_init_keeps_what_is_trusted(workspace: Workspace) -> None:
    secrets = open_keys(workspace)
    first, second = replace_signing_key(workspace)
    _, third = replace_signing_key(workspace)
    make_keys(workspace)
    assert [key_id(key) for key in trusted_keys(workspace)] == [third, first, second]
    assert names(workspace) == ["signing-1.pub", "signing-2.pub", "signing.key", "signing.pub"]
    assert (workspace.keys / "signing.key").stat().st_mode & 0o777 == 0o600
    assert open_keys(workspace) == secrets


def test_a_former_key_that_was_swapped_is_not_trusted_and_one_that_is_gone_is_not_missed(
    workspace: Workspace,
) -> None:
    replace_signing_key(workspace)
    old = workspace.keys / "signing-1.pub"
    old.write_bytes((workspace.keys / "signing.pub").read_bytes())
    with pytest.raises(WrongKey, match=r"signing-1\.pub"):
        trusted_keys(workspace)
    old.unlink()
    assert len(trusted_keys(workspace)) == 1
    (workspace.keys / "signing-2.pub").write_bytes((workspace.keys / "signing.pub").read_bytes())
    assert len(trusted_keys(workspace)) == 1, "a file that was never recorded counts for nothing"


@pytest.mark.parametrize("variable", ["LETHE_SIGNING_KEY", "LETHE_SIGNING_KEY_FILE"])
def test_a_key_from_the_environment_is_not_replaced(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    path = workspace.keys / "signing.key"
    monkeypatch.setenv(variable, str(path) if "FILE" in variable else path.read_text())
    before = names(workspace), workspace.fingerprints.read_bytes()
    with pytest.raises(BadConfiguration, match=f"comes from {variable}"):
        replace_signing_key(workspace)
    assert (names(workspace), workspace.fingerprints.read_bytes()) == before


def test_a_lost_key_can_be_replaced_and_a_wrong_one_stops_it(workspace: Workspace) -> None:
    path = workspace.keys / "signing.key"
    path.write_bytes(private_pem(new_signing_key()))
    with pytest.raises(WrongKey):
        replace_signing_key(workspace)
    path.unlink()
    _, new = replace_signing_key(workspace)
    assert key_id(open_signing_key(workspace).public_key()) == new


STEPS = ("signing-1.pub", "signing.key.next", "fingerprints.json", "signing.pub", "signing.key")


@pytest.mark.parametrize("step", STEPS)
def test_a_replacement_killed_at_any_step_leaves_one_key_that_signs_and_is_trusted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Killed before the record it changed nothing; after it, whoever comes next ends it."""
    before = certificate(workspace)
    old = read_json(workspace.fingerprints)["signing"]

    class Killed(BaseException):
        pass

    def at(path: Path) -> None:
        if path.name == step:
            raise Killed

    replace = Path.replace

    def write(path: Path, content: bytes, mode: int = 0o600) -> None:
        at(path)
        write_bytes(path, content, mode)

    def record(path: Path, value: object) -> None:
        at(path)
        write_json(path, value)

    def rename(path: Path, target: Path) -> Path:
        at(target) if path.name == "signing.key.next" else None
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(keys, "write_bytes", write)
        patch.setattr(keys, "write_json", record)
        patch.setattr(Path, "replace", rename)
        with pytest.raises(Killed):
            replace_signing_key(workspace)
    changed = STEPS.index(step) > STEPS.index("fingerprints.json")
    assert check(certificate(workspace), trusted_keys(workspace)[:1]).verdict == "VERIFIED"
    assert (key_id(open_signing_key(workspace).public_key()) != old) is changed
    assert check(before, trusted_keys(workspace)).verdict == "VERIFIED"
    make_keys(workspace)
    former, new = replace_signing_key(workspace)
    assert (former != old) is changed
    assert key_id(open_signing_key(workspace).public_key()) == new
    assert check(before, trusted_keys(workspace)).verdict == "VERIFIED"
    assert "signing.key.next" not in names(workspace)
