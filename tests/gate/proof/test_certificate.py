"""A certificate says what was found, to anyone with the public key, and to nobody else's."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import BadConfiguration, VerificationRefused
from lethe.gate.proof.case import Case
from lethe.gate.proof.certificate import (
    PAYLOAD_TYPE,
    Certificate,
    check,
    issue,
    key_id,
    private_pem,
    public_pem,
    read_public_key,
    read_signing_key,
)
from lethe.gate.proof.report import ALGEBRA_LAYERS, Finding, LayerResult, Report
from lethe.gate.proof.verification import verify
from tests.gate.proof.cases import case_of, honest, shop

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key()
ISSUED = 1_770_000_000


@cache
def examined() -> tuple[Case, Report]:
    case = case_of(honest("lightfm"))
    return case, verify(case)


@cache
def issued() -> Certificate:
    case, report = examined()
    return issue(report, case.files, ISSUED, KEY)


def refused() -> Certificate:
    case, report = examined()
    broken = replace(report.layers[0], findings=(Finding("structure", "a rule", 1),))
    return issue(replace(report, layers=(broken, *report.layers[1:])), case.files, ISSUED, KEY)


def statement_of(certificate: Certificate) -> dict[str, Any]:
    return dict(json.loads(base64.b64decode(json.loads(certificate.envelope)["payload"])))


def signed(payload: bytes, key: Ed25519PrivateKey = KEY, kind: str = PAYLOAD_TYPE) -> bytes:
    """An envelope as anybody could make one, without a word of `certificate.py`."""
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    entry = {"keyid": key_id(key.public_key()), "sig": encoded(key.sign(message))}
    outer = {"payload": encoded(payload), "payloadType": kind, "signatures": [entry]}
    return json.dumps(outer, sort_keys=True, separators=(",", ":")).encode()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_a_certificate_reads_back_as_what_was_found() -> None:
    case, report = examined()
    found = check(issued().envelope, [STRANGER.public_key(), PUBLIC])
    assert found == issued()
    assert found.verdict == "VERIFIED"
    assert found.artifact_digest == case.artifact_digest
    assert (found.data_version, found.register_position) == (case.data_version, 4)
    assert found.register_head == case.head_digest
    assert found.predicate["layers"] == report.facts()["layers"]
    assert found.predicate["claim"].endswith("holds no id in the register up to position 4.")
    assert "anonym" not in found.envelope.decode().lower()


def test_only_a_residual_test_that_ran_and_answered_adds_its_sentence_to_the_claim() -> None:
    case, report = examined()
    asked = tuple(LayerResult(name, "?", "0", "0", ()) for name in ALGEBRA_LAYERS)
    tested = replace(report, recipe="als", layers=(*report.layers, *asked))
    claim = issue(tested, case.files, ISSUED, KEY).predicate["claim"]
    assert claim.startswith(issued().predicate["claim"].split(" of recipe")[0])
    assert claim.endswith(
        "up to position 4. An independent residual test, with the stated power and false-alarm "
        "rate, found no other contributor."
    )
    for number in range(len(asked)):
        mute = replace(asked[number], conclusive=False)
        layers = (*report.layers, *asked[:number], mute, *asked[number + 1 :])
        silent = issue(replace(tested, layers=layers), case.files, ISSUED, KEY)
        assert silent.predicate["claim"].startswith("No claim is made")


def test_the_signature_is_dsse_over_an_in_toto_statement() -> None:
    statement = statement_of(issued())
    assert signed(base64.b64decode(json.loads(issued().envelope)["payload"])) == issued().envelope
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    subject = {entry["name"]: entry["digest"]["sha256"] for entry in statement["subject"]}
    assert subject == dict(examined()[0].files)


def test_the_same_findings_give_the_same_bytes() -> None:
    case, report = examined()
    again = issue(report, dict(reversed(list(case.files.items()))), ISSUED, KEY)
    assert again.envelope == issued().envelope
    assert issue(report, case.files, ISSUED + 1, KEY).digest != again.digest


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_no_single_byte_can_be_changed(place: int, byte: int) -> None:
    envelope = bytearray(issued().envelope)
    place %= len(envelope)
    if envelope[place] == byte:
        return
    envelope[place] = byte
    with pytest.raises(VerificationRefused):
        check(bytes(envelope), [PUBLIC])


def test_the_spare_bits_of_base64_are_no_second_spelling() -> None:
    """The last sign of a 64-byte signature carries four bits that no decoder reads."""
    outer = json.loads(issued().envelope)
    text = outer["signatures"][0]["sig"]
    last = text[-3]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = alphabet[alphabet.index(last) ^ 1]
    assert base64.b64decode(text) == base64.b64decode(text[:-3] + other + "==")
    changed = issued().envelope.replace(text.encode(), (text[:-3] + other + "==").encode())
    with pytest.raises(VerificationRefused, match="spelled"):
        check(changed, [PUBLIC])


def test_what_is_no_envelope_is_refused() -> None:
    whole = issued().envelope
    for changed in (
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        whole[:-1],
        whole + b" ",
        b" " + whole,
    ):
        with pytest.raises(VerificationRefused):
            check(changed, [PUBLIC])


def test_an_unknown_key_is_refused() -> None:
    for trusted in ([], [STRANGER.public_key()]):
        with pytest.raises(VerificationRefused, match="no trusted key"):
            check(issued().envelope, trusted)
    forged = issued().envelope.replace(
        key_id(PUBLIC).encode(), key_id(STRANGER.public_key()).encode()
    )
    with pytest.raises(VerificationRefused, match="no trusted key"):
        check(forged, [PUBLIC, STRANGER.public_key()])


def test_a_trusted_signature_under_another_statement_is_refused() -> None:
    statement = statement_of(issued())
    change: Mapping[str, object]
    for change in ({"predicateType": "urn:other"}, {"_type": "other"}, {"predicate": {}}):
        payload = json.dumps({**statement, **change}).encode()
        with pytest.raises(VerificationRefused):
            check(signed(payload), [PUBLIC])
    with pytest.raises(VerificationRefused, match="payload type"):
        check(signed(json.dumps(statement).encode(), kind="text/plain"), [PUBLIC])
    for payload in (b"no json", b"[]", b'{"predicate": 1}'):
        with pytest.raises(VerificationRefused):
            check(signed(payload), [PUBLIC])


def test_a_refusal_is_signed_and_stays_a_refusal() -> None:
    assert refused().verdict == "REFUSED"
    assert refused().predicate["claim"].startswith("No claim is made")
    statement = statement_of(refused())
    statement["predicate"]["verdict"] = "VERIFIED"
    outer = json.loads(refused().envelope)
    outer["payload"] = encoded(json.dumps(statement).encode())
    with pytest.raises(VerificationRefused, match="no trusted key"):
        check(json.dumps(outer, sort_keys=True, separators=(",", ":")).encode(), [PUBLIC])


def test_a_certificate_holds_no_person_and_no_item() -> None:
    case, _ = examined()
    said = json.dumps(statement_of(issued()))
    people = {*case.stored.users, *case.tombstones, *case.forbidden, *shop().everybody.users}
    assert not any(name in said for name in people)
    assert not any(item in said for item in case.stored.items)
    assert repr(case.stored).count("'") == 0


def test_keys_survive_their_files_and_other_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "signing.pub"
    path.write_bytes(public_pem(PUBLIC))
    assert key_id(read_public_key(path)) == key_id(PUBLIC)
    again = read_signing_key(private_pem(KEY))
    assert key_id(again.public_key()) == key_id(PUBLIC)
    curve = ec.generate_private_key(ec.SECP256R1())
    pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(
        curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(BadConfiguration, match="Ed25519"):
        read_signing_key(pem)
    with pytest.raises(BadConfiguration, match="Ed25519"):
        read_public_key(path)
    for content in (b"", b"-----BEGIN", private_pem(KEY)):
        path.write_bytes(content)
        with pytest.raises(BadConfiguration, match=r"signing\.pub"):
            read_public_key(path)
    with pytest.raises(BadConfiguration, match="not a readable private key"):
        read_signing_key(b"")


def test_the_claim_names_version_recipe_matrix_and_place() -> None:
    case, report = examined()
    assert issued().predicate["claim"] == (
        f"Version {case.artifact_digest[:16]} is exactly the output of recipe lightfm on matrix "
        f"{report.matrix_digest[:16]}; that matrix holds no id in the register up to position 4."
    )
    assert refused().predicate["claim"] == "No claim is made: verification did not pass."
