"""The proof at the door: certificates checked offline, versions verified again."""

from __future__ import annotations

from pathlib import Path

import pytest

from lethe.durable import read_json
from lethe.gate.proof.certificate import new_signing_key, public_pem
from tests.cli.door import Door
from tests.watched import Shop


@pytest.fixture
def certificate(small_night: Shop) -> Path:
    """The first version's certificate."""
    return small_night.root / ".lethe" / "certificates" / "version-1.json"


@pytest.fixture
def key(small_night: Shop) -> Path:
    """The public half of the key that signed it."""
    return small_night.root / ".lethe" / "keys" / "signing.pub"


def test_a_certificate_is_checked_without_a_workspace(
    certificate: Path, key: Path, door: Door, empty: Path
) -> None:
    arguments = ("certificate", "check", str(certificate), "--key", str(key))
    plain = door("--workspace", str(empty), *arguments)
    machine = door("--json", *arguments)

    assert plain.code == machine.code == 0
    assert "signature: valid" in plain.out
    assert "verdict: VERIFIED" in plain.out
    assert machine.json["verdict"] == "VERIFIED"
    assert list(empty.iterdir()) == []


def test_one_changed_byte_or_another_key_is_refused(
    certificate: Path, key: Path, door: Door, tmp_path: Path
) -> None:
    content = bytearray(certificate.read_bytes())
    content[len(content) // 2] ^= 1
    changed = tmp_path / "changed.json"
    changed.write_bytes(content)
    stranger = tmp_path / "stranger.pub"
    stranger.write_bytes(public_pem(new_signing_key().public_key()))

    assert door("certificate", "check", str(changed), "--key", str(key)).code == 1
    unknown = door("certificate", "check", str(certificate), "--key", str(stranger))
    assert (unknown.code, unknown.out) == (1, "")
    assert "no trusted key" in unknown.err


def test_a_key_that_is_none_is_bad_input(certificate: Path, door: Door) -> None:
    ended = door("certificate", "check", str(certificate), "--key", str(certificate))

    assert ended.code == 2
    assert "not a readable public key" in ended.err


def test_the_champion_verifies_again_and_gets_a_new_certificate(shop: Shop, door: Door) -> None:
    ended = door("--workspace", str(shop.root), "--json", "verify")

    assert ended.code == 0
    assert ended.json["verdict"] == "VERIFIED"
    assert Path(str(ended.json["certificate"])).is_file()


def test_after_the_key_was_replaced_each_certificate_checks_with_its_own(
    shop: Shop, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shop.root / ".lethe"
    path = place / "certificates" / "version-1.json"
    replaced = door("--workspace", str(shop.root), "keys", "replace", "signing")
    seen = door("--workspace", str(shop.root), "--json", "status").json
    check = ("certificate", "check", str(path), "--key")
    by_new, by_old = place / "keys" / "signing.pub", place / "keys" / "signing-1.pub"

    assert replaced.code == 0
    assert seen["unsafe"] == {}, "the former key's certificate no longer counts"
    assert (door(*check, str(by_new)).code, door(*check, str(by_old)).code) == (1, 0)
    assert door("--workspace", str(shop.root), "verify").code == 0
    assert (door(*check, str(by_new)).code, door(*check, str(by_old)).code) == (0, 1)
    monkeypatch.setenv("LETHE_SIGNING_KEY_FILE", str(place / "keys" / "signing.key"))
    refused = door("--workspace", str(shop.root), "keys", "replace", "signing")
    assert (refused.code, refused.out) == (2, "")
    assert "comes from LETHE_SIGNING_KEY_FILE" in refused.err


def test_a_genuine_certificate_of_a_refusal_does_not_pass(
    shop: Shop, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shop.root / ".lethe"
    monkeypatch.setattr("lethe.solutions.environment.platform.machine", lambda: "elsewhere")
    refused = door("--workspace", str(shop.root), "verify")
    monkeypatch.undo()
    checked = door(
        "certificate", "check", str(place / "certificates" / "version-1.json"),
        "--key", str(place / "keys" / "signing.pub"),
    )  # fmt: skip

    assert refused.code == checked.code == 1
    assert "environment differs (machine)" in refused.err
    assert "genuine, and its verdict is REFUSED" in checked.err


def test_the_report_of_a_version_and_of_the_last_night_are_found(
    small_night: Shop, door: Door
) -> None:
    at = ("--workspace", str(small_night.root), "--json", "report")
    last, first = door(*at).json["report"], door(*at, "1").json["report"]

    assert Path(str(last)).read_bytes() == Path(str(first)).read_bytes()
    facts = read_json(Path(str(last)).with_suffix(".json"))
    assert facts["night"]["outcome"] == "promoted"
