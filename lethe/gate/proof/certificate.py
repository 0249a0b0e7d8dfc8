"""The certificate: a signed statement of what deletion verification found.

The statement follows in-toto (Statement v1), the envelope DSSE v1, the signature is Ed25519 over
DSSE's pre-authentication encoding. Anyone with the public key checks it offline. It binds the
SHA-256 of each stored file, the data version and the register position, and holds counts,
digests and verdicts only: no personal data.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from lethe.durable import canonical_json
from lethe.errors import BadConfiguration, VerificationRefused
from lethe.gate.proof.verification import Report, Verdict

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:lethe:deletion-verification:v1"
CLAIM = (
    "Version {version} is exactly the output of recipe {recipe} on matrix {matrix}; that matrix "
    "holds no id in the register up to position {position}."
)
RESIDUAL_CLAIM = (
    " An independent residual test, with the stated power and false-alarm rate, found no other "
    "contributor."
)


def _pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """DSSE v1: the byte string that is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def key_id(public: Ed25519PublicKey) -> str:
    """Hex SHA-256 of the 32 raw public-key bytes."""
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()


def new_signing_key() -> Ed25519PrivateKey:
    """A fresh signing key from the operating system's random numbers."""
    return Ed25519PrivateKey.generate()


def private_pem(key: Ed25519PrivateKey) -> bytes:
    """The private key as unencrypted PKCS#8 PEM; the caller stores it 0600."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_pem(key: Ed25519PublicKey) -> bytes:
    """The public key as SubjectPublicKeyInfo PEM."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def read_signing_key(pem: bytes) -> Ed25519PrivateKey:
    """Parse a PKCS#8 PEM.

    Raises:
        BadConfiguration: the bytes are no Ed25519 private key.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise BadConfiguration("the signing key is not a readable private key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadConfiguration("the signing key is not an Ed25519 key")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key in PEM.

    Raises:
        BadConfiguration: the file is missing or holds no Ed25519 public key.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError):
        raise BadConfiguration(f"{path.name} is not a readable public key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise BadConfiguration(f"{path.name} is not an Ed25519 public key")
    return key


@dataclass(frozen=True)
class Certificate:
    """A signed statement, and the facts in it that promotion compares.

    `envelope` are the DSSE bytes as stored; `digest` is their hex SHA-256.
    """

    envelope: bytes
    verdict: str
    artifact_digest: str
    data_version: str
    register_position: int
    register_head: str
    digest: str
    predicate: Mapping[str, Any]


def issue(
    report: Report, files: Mapping[str, str], issued: int, key: Ed25519PrivateKey
) -> Certificate:
    """Sign what verification found about exactly these `files` (name -> SHA-256).

    `issued` is Unix seconds. A report of any verdict can be signed; only VERIFIED promotes. The
    claim has its third sentence only where the residual test ran and answered.
    """
    predicate = {
        **report.facts(),
        "issued": issued,
        "claim": CLAIM.format(
            version=report.artifact_digest[:16],
            recipe=report.recipe,
            matrix=report.matrix_digest[:16],
            position=report.register_position,
        )
        + (RESIDUAL_CLAIM if report.residual_tested else "")
        if report.verdict is Verdict.VERIFIED
        else "No claim is made: verification did not pass.",
    }
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": files[name]}} for name in sorted(files)],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    payload = canonical_json(statement)
    signature = key.sign(_pre_authentication(PAYLOAD_TYPE, payload))
    return check(_envelope(payload, {key_id(key.public_key()): signature}), [key.public_key()])


def _envelope(payload: bytes, signatures: Mapping[str, bytes]) -> bytes:
    """The one DSSE envelope around a payload and its signatures (key id -> 64 bytes)."""
    return canonical_json(
        {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [
                {"keyid": name, "sig": base64.b64encode(signature).decode()}
                for name, signature in signatures.items()
            ],
        }
    )


def check(envelope: bytes, trusted: Sequence[Ed25519PublicKey]) -> Certificate:
    """Check signature and form, and return what the certificate says.

    Raises:
        VerificationRefused: no trusted key signed it, a byte was changed, or it is not a
            certificate of this kind. The verdict inside is *not* judged here.
    """
    try:
        outer = json.loads(envelope)
        payload = base64.b64decode(outer["payload"], validate=True)
        signatures = {
            str(entry["keyid"]): base64.b64decode(entry["sig"], validate=True)
            for entry in outer["signatures"]
        }
        payload_type = str(outer["payloadType"])
    except (ValueError, KeyError, TypeError):
        raise VerificationRefused("the certificate is not a DSSE envelope") from None
    if payload_type != PAYLOAD_TYPE:
        raise VerificationRefused("the certificate holds another payload type")
    # Base64 and JSON have several spellings of one value; only ours is this certificate.
    if _envelope(payload, signatures) != envelope:
        raise VerificationRefused("the certificate is not spelled as it was issued")
    if not _signed_by_one_of(trusted, payload, signatures):
        raise VerificationRefused("no trusted key signed the certificate")
    try:
        statement = json.loads(payload)
        predicate = statement["predicate"]
        if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise VerificationRefused("the certificate is a statement of another kind")
        return Certificate(
            envelope=envelope,
            verdict=str(predicate["verdict"]),
            artifact_digest=str(predicate["artifact_digest"]),
            data_version=str(predicate["data_version"]),
            register_position=int(predicate["register_position"]),
            register_head=str(predicate["register_head"]),
            digest=hashlib.sha256(envelope).hexdigest(),
            predicate=predicate,
        )
    except (ValueError, KeyError, TypeError):
        raise VerificationRefused("the certificate lacks a required field") from None


def _signed_by_one_of(
    trusted: Sequence[Ed25519PublicKey], payload: bytes, signatures: Mapping[str, bytes]
) -> bool:
    message = _pre_authentication(PAYLOAD_TYPE, payload)
    for public in trusted:
        signature = signatures.get(key_id(public))
        if signature is None:
            continue
        try:
            public.verify(signature, message)
        except InvalidSignature:
            continue
        return True
    return False
