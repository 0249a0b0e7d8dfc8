"""The proof at the door: certificates checked offline, versions verified again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from lethe.adapters.packing import model_folder
from lethe.desk import rolling_back
from lethe.durable import read_json
from lethe.gate.proof import layers
from lethe.gate.proof.certificate import new_signing_key, public_pem
from lethe.nights import cases
from tests.cli.door import Door, Ended
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


@dataclass(frozen=True)
class Proved:
    """A workspace of its own, whose version 1 is VERIFIED."""

    shop: Shop
    door: Door

    @property
    def path(self) -> Path:
        return self.shop.root / ".lethe" / "certificates" / "version-1.json"

    def __call__(self, *arguments: str, text: str = "") -> Ended:
        return self.door("--workspace", str(self.shop.root), *arguments, text=text)

    def check(self) -> Ended:
        key = self.shop.root / ".lethe" / "keys" / "signing.pub"
        return self.door("certificate", "check", str(self.path), "--key", str(key))

    def version(self) -> tuple[object, object, object]:
        """Verdict, safety, and why it is unsafe, as `lethe status` tells."""
        seen = self("--json", "status").json
        [version] = seen["versions"]
        return version["verdict"], version["safe"], seen["unsafe"]

    def somebody(self) -> str:
        """The id of somebody whom the version was trained on."""
        with closing(sqlite3.connect(self.shop.root / ".lethe" / "vault.db")) as link:
            return str(link.execute("SELECT min(id) FROM people").fetchone()[0])

    def served(self) -> Path:
        [file] = (self.shop.root / ".lethe" / "mlflow").rglob("serving.py")
        return file


@pytest.fixture
def proved(small_night: Shop, door: Door, tmp_path: Path) -> Proved:
    return Proved(small_night.copied(tmp_path / "proved"), door)


def other_machine(monkeypatch: pytest.MonkeyPatch, _folder: Path) -> None:
    monkeypatch.setattr("lethe.solutions.environment.platform.machine", lambda: "elsewhere")


def other_fits(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Other libraries, and with them other last digits."""
    other_machine(monkeypatch, folder)
    monkeypatch.setattr(cases, "array_digests", lambda *_: {"user_factors": "0" * 64})
    monkeypatch.setattr(layers, "array_digests", lambda *_: {"user_factors": "1" * 64})


def newer_lethe(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (file := folder / "serving.py").write_text("# as a newer Lethe serves\n")
    monkeypatch.setattr(model_folder, "SERVING", file)
    monkeypatch.setattr(rolling_back, "SERVING", file)


ELSEWHERE = [
    (other_machine, "environment differs (machine)", "with other libraries"),
    (other_fits, "an array differs from that of a second cold fit", "with other libraries"),
    (newer_lethe, "not what Lethe writes (serving.py)", "another Lethe wrote what serves it"),
]


@pytest.mark.parametrize(("place", "because", "unsafe"), ELSEWHERE)
def test_what_can_only_not_be_proved_again_here_keeps_its_certificate(
    proved: Proved, place: Callable[..., None], because: str, unsafe: str, tmp_path: Path
) -> None:
    before = proved.path.read_bytes()
    with pytest.MonkeyPatch.context() as elsewhere:
        place(elsewhere, tmp_path)
        told, seen = proved("verify"), proved.version()

    assert (told.code, told.out) == (1, "")
    assert "version 1 cannot be verified again by this Lethe, here; its certificate" in told.err
    assert because in told.err
    assert proved.path.read_bytes() == before
    assert proved.check().code == 0
    assert (seen[0], seen[1]) == ("VERIFIED", False)
    assert unsafe in str(seen[2])
    assert proved("verify").code == 0


@pytest.mark.parametrize("place", [None, other_machine, newer_lethe])
def test_what_is_found_against_it_refuses_it_here_and_elsewhere(
    proved: Proved, place: Callable[..., None] | None, tmp_path: Path
) -> None:
    assert proved("object", text=f"{proved.somebody()}\n").code == 0
    with pytest.MonkeyPatch.context() as elsewhere:
        if place is not None:
            place(elsewhere, tmp_path)
        refused = proved("verify")

    assert refused.code == 1
    assert "version 1 is REFUSED" in refused.err
    assert "may not train at the register's head" in refused.err
    checked = proved.check()
    assert checked.code == 1
    assert "genuine, and its verdict is REFUSED" in checked.err
    assert proved.version()[:2] == ("REFUSED", False)


def changed_code(proved: Proved) -> None:
    with proved.served().open("a") as code:
        code.write("#")


def changed_certificate(proved: Proved) -> None:
    proved.path.write_bytes(proved.path.read_bytes().replace(b"payload", b"Payload"))


def no_certificate(proved: Proved) -> None:
    proved.path.unlink()


@pytest.mark.parametrize("touch", [changed_code, changed_certificate, no_certificate])
def test_nothing_stands_that_is_not_certified_byte_for_byte(
    proved: Proved, touch: Callable[[Proved], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    touch(proved)
    newer_lethe(monkeypatch, tmp_path)
    refused = proved("verify")

    assert refused.code == 1
    assert "version 1 is REFUSED" in refused.err
    assert "its verdict is REFUSED" in proved.check().err


def test_a_refused_version_is_refused_elsewhere_too(
    proved: Proved, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What stands is a proof: there is none to keep."""
    somebody = f"{proved.somebody()}\n"
    assert proved("object", text=somebody).code == 0
    assert proved("verify").code == 1
    assert proved("withdraw", text=somebody).code == 0
    other_machine(monkeypatch, tmp_path)

    assert "version 1 is REFUSED" in proved("verify").err


def test_the_report_of_a_version_and_of_the_last_night_are_found(
    small_night: Shop, door: Door
) -> None:
    at = ("--workspace", str(small_night.root), "--json", "report")
    last, first = door(*at).json["report"], door(*at, "1").json["report"]

    assert Path(str(last)).read_bytes() == Path(str(first)).read_bytes()
    facts = read_json(Path(str(last)).with_suffix(".json"))
    assert facts["night"]["outcome"] == "promoted"
