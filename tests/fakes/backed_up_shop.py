"""A small workspace with a backup of it, made by hand, for the tests of a restore."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lethe.durable import canonical_json
from lethe.estate import backups
from lethe.estate.backups import Backup, Kept
from lethe.estate.keys import make_keys, open_signing_key
from lethe.estate.workspace import Workspace
from lethe.gate.proof.certificate import key_id
from lethe.interactions.rights.register import Action, Register, Request
from lethe.interactions.rights.standing import Head
from lethe.nights.forgetting.replaying import Replayed
from tests.gate.proof.test_certificate import signed

MADE = 1_770_000_000
NOTHING = Replayed(0, 0, 0, 0, 0, 0, 0)
LOCKS = {".lethe/night.lock", ".lethe/experiments/lock", ".lethe/register.db.lock"}
PARAMS = Path(__file__).parents[2] / "params.yaml"


def mlflow_with_a_champion(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as link, link:
        link.execute("CREATE TABLE registered_model_aliases (name, alias, version)")
        link.execute("INSERT INTO registered_model_aliases VALUES ('shop', 'champion', 3)")
    return path.read_bytes()


class Shop:
    """A workspace with keys, a register of two entries, and stores; and backups made by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.room = folder, Workspace(folder / "shop")
        self.room.state.mkdir(parents=True)
        make_keys(self.room)
        self.register = Register.open(self.room.register_url())
        self.register.initialise()
        self.enter(2)
        self.backed_up = {
            "params.yaml": PARAMS.read_bytes(),
            "dvc.lock": b"then",
            "data/interactions/2025-03/b0.parquet": b"rows of then",
            "data/landing/then.csv": b"landed then",
            ".lethe/mlflow/mlflow.db": mlflow_with_a_champion(folder / "mlflow.db"),
            ".lethe/vault.db": b"ids of then",
            ".lethe/evidence/request-1.json": b"{}",
            ".lethe/catalogue.json": b'{"format":1,"versions":[]}',
        }
        for name, content in {
            "params.yaml": PARAMS.read_bytes(),
            "data/landing/now.csv": b"landed now",
            "data/interactions/2025-04/b0.parquet": b"rows of now",
            ".lethe/evidence/request-2.json": b"{}",
            ".lethe/vault.db": b"ids of now",
            ".lethe/vault.db-journal": b"hot",
            ".lethe/night.json": b"{}",
            ".dvc/tmp/lock": b"",
        }.items():
            self.put(name, content)

    def put(self, name: str, content: bytes) -> Path:
        path = self.room.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def enter(self, count: int) -> None:
        before = self.register.head().position
        self.register.append(
            [Request(Action.ERASE, f"{before + n:064x}", MADE, "r") for n in range(count)]
        )

    def backup(self, key: Ed25519PrivateKey | None = None, **changed: Any) -> Path:
        files, sources = [], {}
        for number, (name, content) in enumerate(self.backed_up.items()):
            sources[name] = self.folder / f"source-{number}"
            sources[name].write_bytes(content)
            files.append(Kept(name, len(content), hashlib.sha256(content).hexdigest(), 0o600))
        head = changed.pop("head", None) or self.register.head()
        fingerprints = self.room.recorded_fingerprints()
        made = Backup(
            str(self.room.root), MADE, head.position, head.digest, fingerprints, tuple(files)
        )
        path = self.folder / "backup.tar.gz"
        signer = key or open_signing_key(self.room)

        def sign(content: bytes) -> bytes:
            signature = signer.sign(backups.signed(content)).hex()
            return f"{key_id(signer.public_key())} {signature}\n".encode()

        backups.write(path, replace(made, **changed), sources, sign)
        return path

    def certificate(self, head: Head, key: Ed25519PrivateKey | None = None) -> bytes:
        """One that somebody signed at this head of the register."""
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "predicateType": "urn:lethe:deletion-verification:v1",
            "subject": [],
            "predicate": {
                "verdict": "VERIFIED", "artifact_digest": "a", "data_version": "d",
                "register_position": head.position, "register_head": head.digest,
            },
        }  # fmt: skip
        return signed(canonical_json(statement), key or open_signing_key(self.room))

    def seen(self) -> dict[str, bytes]:
        """Every file but locks, and what a night would wipe."""
        return {
            name: path.read_bytes()
            for path in sorted(self.room.root.rglob("*"))
            if path.is_file()
            and not (name := path.relative_to(self.room.root).as_posix()).startswith(".lethe/tmp")
            and name not in LOCKS
        }
