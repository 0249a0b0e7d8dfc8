"""What is no envelope, statement or key of ours is refused, whoever signed it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from lethe.errors import BadConfiguration, VerificationRefused
from lethe.gate.proof.certificate import (
    check,
    key_id,
    read_public_key,
    read_signing_key,
)
from tests.gate.proof.test_certificate import (
    KEY,
    PUBLIC,
    STRANGER,
    encoded,
    issued,
    signed,
    statement_of,
)


@pytest.mark.parametrize("where", ["payload", "sig"])
def test_a_sign_that_is_none_of_base64_makes_no_envelope(where: str) -> None:
    """Decoders may skip it; then two texts would be one certificate."""
    outer = json.loads(issued().envelope)
    holder = outer if where == "payload" else outer["signatures"][0]
    holder[where] = holder[where][:8] + "!" + holder[where][8:]
    with pytest.raises(VerificationRefused, match="not a DSSE envelope"):
        check(json.dumps(outer).encode(), [PUBLIC])


def test_one_trusted_signature_is_enough_beside_a_wrong_one_and_an_unknown_one() -> None:
    payload = base64.b64decode(json.loads(issued().envelope)["payload"])
    outer = json.loads(signed(payload))
    wrong = {"keyid": key_id(STRANGER.public_key()), "sig": encoded(bytes(64))}
    outer["signatures"] = [wrong, *outer["signatures"]]
    both = json.dumps(outer, sort_keys=True, separators=(",", ":")).encode()
    third = Ed25519PrivateKey.from_private_bytes(bytes([7] * 32)).public_key()
    assert check(both, [third, STRANGER.public_key(), PUBLIC]).verdict == "VERIFIED"
    for trusted in ([STRANGER.public_key()], [third], [third, STRANGER.public_key()]):
        with pytest.raises(VerificationRefused, match="no trusted key"):
            check(both, trusted)


@pytest.mark.parametrize("kind", ["a", "z"])
def test_another_type_of_payload_or_statement_is_refused_by_its_name(kind: str) -> None:
    statement = statement_of(issued())
    payload = json.dumps(statement).encode()
    with pytest.raises(VerificationRefused, match="another payload type"):
        check(signed(payload, kind=kind), [PUBLIC])
    for name in ("_type", "predicateType"):
        payload = json.dumps({**statement, name: kind}).encode()
        with pytest.raises(VerificationRefused, match="a statement of another kind"):
            check(signed(payload), [PUBLIC])


@pytest.mark.parametrize(
    "payload", [b"no json", b"[]", b"{}", b'{"predicate": 1}'], ids=["text", "list", "none", "one"]
)
def test_what_a_trusted_key_signed_without_the_fields_lacks_them(payload: bytes) -> None:
    with pytest.raises(VerificationRefused, match=r"lacks a required field|another kind"):
        check(signed(payload), [PUBLIC])


def test_a_position_that_is_no_number_is_a_missing_one() -> None:
    statement = statement_of(issued())
    statement["predicate"]["register_position"] = "four"
    with pytest.raises(VerificationRefused, match="lacks a required field"):
        check(signed(json.dumps(statement).encode()), [PUBLIC])


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN", b"\xff"])
def test_what_is_no_key_is_no_key(pem: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="not a readable private key"):
        read_signing_key(pem)
    with pytest.raises(BadConfiguration, match=r"nothing\.pub is not a readable"):
        read_public_key(tmp_path / "nothing.pub")


def test_a_private_key_under_a_password_is_not_readable() -> None:
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(BadConfiguration, match="not a readable private key"):
        read_signing_key(pem)
