"""A restore asks everything before it replaces anything, and can be killed anywhere."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flows.erase import erase
from flows.retrain import retrain
from lethe.desk.estate import restoring
from lethe.desk.estate.restoring import restore
from lethe.desk.experiments import experimenting
from lethe.desk.setting_up import initialise
from lethe.durable import canonical_json, locked, read_json
from lethe.errors import (
    ArtifactCorrupt,
    BadConfiguration,
    BadInput,
    Busy,
    LetheError,
    NotAWorkspace,
    RefusedByGate,
    StoreUnavailable,
    WrongKey,
)
from lethe.estate import backups
from lethe.estate.backups import Backup, Kept
from lethe.estate.keys import make_keys, open_signing_key, replace_signing_key
from lethe.estate.workspace import Workspace
from lethe.gate.proof.certificate import key_id
from lethe.interactions.rights.merges import Pair
from lethe.interactions.rights.register import Action, Register, Request
from lethe.interactions.rights.standing import Head
from lethe.nights.forgetting.replaying import Replayed
from lethe.stages import __main__ as stages
from lethe.stages import opening
from tests.gate.proof.test_certificate import signed
from tests.kills import dying_at

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
        head, fingerprints = self.register.head(), self.room.recorded_fingerprints()
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


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The replay itself has tests of its own; here it is told from what comes before it."""
    for name in ("LETHE_REGISTER_URL", "MLFLOW_TRACKING_URI", "LETHE_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(restoring, "_replayed", lambda *_: NOTHING)
    monkeypatch.setattr(restoring, "_champion_again", lambda _, champion: champion)
    return Shop(tmp_path)


def test_a_restore_replaces_the_stores_and_keeps_register_keys_landing_and_evidence(
    shop: Shop,
) -> None:
    path, before = shop.backup(), shop.seen()
    shop.enter(1)
    done = restore(shop.room, path)
    after = shop.seen()
    assert (done["register_position"], done["backup_register_position"]) == (3, 2)
    assert done["champion"] == 3, "told to the replay, which asks whether it may serve"
    assert read_json(shop.room.register_anchor)["position"] == 3
    assert not shop.room.restoring.exists()
    for name, content in shop.backed_up.items():
        if not name.endswith("mlflow.db"):
            assert after[name] == content
    assert after["data/landing/now.csv"] == b"landed now"
    assert after[".lethe/evidence/request-2.json"] == b"{}"
    kept = {name for name in before if name.startswith(".lethe/keys/")}
    assert all(after[name] == before[name] for name in kept)
    gone = set(before) - set(after)
    assert gone == {
        "data/interactions/2025-04/b0.parquet", ".lethe/vault.db-journal", ".lethe/night.json",
        ".dvc/tmp/lock",
    }  # fmt: skip
    assert not list(shop.room.temporary.iterdir())
    with closing(sqlite3.connect(shop.room.mlflow / "mlflow.db")) as link:
        assert link.execute("SELECT * FROM registered_model_aliases").fetchall() == []


def test_a_restore_forgets_no_merge_of_ids(shop: Shop) -> None:
    path = shop.backup()
    shop.register.merge([Pair(1, "a" * 64, "b" * 64)], MADE)
    opening.write_position(shop.room.merges_anchor, shop.register.merge_head())
    restore(shop.room, path)
    assert opening.newest_merge(shop.room) == shop.register.merge_head()
    assert list(shop.register.links().people()) == [{"a" * 64, "b" * 64}]


# --- refusals -----------------------------------------------------------------------------------


def another_folder(shop: Shop) -> Path:
    return shop.backup(workspace="/srv/another")


def another_pseudonym_key(shop: Shop) -> Path:
    keys = dict(shop.room.recorded_fingerprints()) | {"pseudonym": "ab" * 32}
    return shop.backup(keys=keys)


def a_strangers_signature(shop: Shop) -> Path:
    return shop.backup(key=Ed25519PrivateKey.from_private_bytes(bytes(32)))


def a_changed_manifest(shop: Shop) -> Path:
    path = shop.backup()

    plain = gzip.decompress(path.read_bytes())
    path.write_bytes(
        gzip.compress(plain.replace(b'"register_position":2', b'"register_position":1'))
    )
    return path


def a_register_older_than_the_backup(shop: Shop) -> Path:
    return shop.backup(register_position=3, register_head="ab" * 32)


def another_register(shop: Shop) -> Path:
    return shop.backup(register_position=1, register_head="ab" * 32)


def newer(shop: Shop) -> Head:
    """A head of the register that it then loses, as an old copy has."""
    database = shop.room.state / "register.db"
    shutil.copy(database, shop.folder / "old.db")
    shop.enter(1)
    head = shop.register.head()
    shutil.copy(shop.folder / "old.db", database)
    assert shop.register.head().position == head.position - 1
    return head


def a_register_older_than_its_anchor(shop: Shop) -> Path:
    opening.write_position(shop.room.register_anchor, newer(shop))
    return shop.backup()


def a_register_older_than_a_merge(shop: Shop) -> Path:
    opening.write_position(shop.room.merges_anchor, Head(1, "ab" * 32))
    return shop.backup()


def a_register_older_than_a_present_certificate(shop: Shop) -> Path:
    shop.put(".lethe/certificates/version-9.json", shop.certificate(newer(shop)))
    return shop.backup()


def a_register_older_than_a_certificate_of_the_backup(shop: Shop) -> Path:
    shop.backed_up[".lethe/certificates/version-9.json"] = shop.certificate(newer(shop))
    return shop.backup()


def a_register_beside_which_a_certificate_was_not_made(shop: Shop) -> Path:
    shop.put(".lethe/certificates/version-9.json", shop.certificate(Head(1, "ab" * 32)))
    return shop.backup()


def no_register(shop: Shop) -> Path:
    path = shop.backup()
    (shop.room.state / "register.db").unlink()
    return path


def no_keys(shop: Shop) -> Path:
    path = shop.backup()
    shutil.rmtree(shop.room.keys)
    return path


def a_lost_key(shop: Shop) -> Path:
    path = shop.backup()
    (shop.room.keys / "tombstone.key").unlink()
    return path


def a_landed_file_of_the_same_name(shop: Shop) -> Path:
    shop.put("data/landing/then.csv", b"another export")
    return shop.backup()


def a_backup_inside_the_workspace(shop: Shop) -> Path:
    return Path(shutil.copy(shop.backup(), shop.room.root / "backup.tar.gz"))


def no_backup_at_all(shop: Shop) -> Path:
    return shop.folder / "missing.tar.gz"


def something_else(shop: Shop) -> Path:
    (shop.folder / "else.tar.gz").write_bytes(b"something else")
    return shop.folder / "else.tar.gz"


def mlflow_at_a_server(shop: Shop) -> Path:
    pytest.MonkeyPatch().setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    return shop.backup()


@pytest.mark.parametrize(
    ("case", "error", "says"),
    [
        (another_folder, BadInput, r"only be restored in /srv/another"),
        (another_pseudonym_key, WrongKey, "another pseudonym key"),
        (a_strangers_signature, WrongKey, "no key that this workspace trusts"),
        (a_changed_manifest, ArtifactCorrupt, "not the one that was signed"),
        (a_register_older_than_the_backup, ArtifactCorrupt, "an old copy was restored"),
        (another_register, ArtifactCorrupt, "not the one known at position 1"),
        (a_register_older_than_its_anchor, ArtifactCorrupt, "an old copy was restored"),
        (a_register_older_than_a_merge, ArtifactCorrupt, "an old copy was restored"),
        (a_register_older_than_a_present_certificate, ArtifactCorrupt, "an old copy was restored"),
        (a_register_older_than_a_certificate_of_the_backup, ArtifactCorrupt, "an old copy"),
        (a_register_beside_which_a_certificate_was_not_made, ArtifactCorrupt, "not the one that"),
        (no_register, StoreUnavailable, "no register at"),
        (no_keys, NotAWorkspace, "put them and the register back first"),
        (a_lost_key, BadConfiguration, "tombstone key of this workspace is missing"),
        (a_landed_file_of_the_same_name, BadInput, "1 files in data/landing"),
        (a_backup_inside_the_workspace, BadInput, "outside the workspace"),
        (no_backup_at_all, BadInput, "there is no file"),
        (something_else, ArtifactCorrupt, "cut short or damaged"),
        (mlflow_at_a_server, BadConfiguration, "names a server"),
    ],
)
def test_a_restore_that_could_go_wrong_is_refused_and_changes_nothing(
    shop: Shop, case: Callable[[Shop], Path], error: type[LetheError], says: str
) -> None:
    path = case(shop)
    before = shop.seen()
    with pytest.raises(error, match=says):
        restore(shop.room, path)
    assert shop.seen() == before
    assert not list(shop.room.temporary.glob("restore/*"))


def test_a_certificate_by_a_key_that_nobody_trusts_tells_nothing(shop: Shop) -> None:
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    shop.put(".lethe/certificates/version-9.json", shop.certificate(Head(9, "ab" * 32), stranger))
    shop.put(".lethe/certificates/version-8.json", b"no certificate")
    assert restore(shop.room, shop.backup())["register_position"] == 2


def test_a_backup_signed_by_a_former_key_is_taken_while_that_one_is_trusted(shop: Shop) -> None:
    path = shop.backup()
    replace_signing_key(shop.room)
    assert restore(shop.room, path)["files"] == len(shop.backed_up)
    (shop.room.keys / "signing-1.pub").unlink()
    with pytest.raises(WrongKey, match="no key that this workspace trusts"):
        restore(shop.room, path)


def test_a_night_or_an_experiment_that_runs_is_not_disturbed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shop.backup()
    monkeypatch.setattr(restoring, "_WAIT", 0.0)
    for lock in (shop.room.night_lock, shop.room.state / "experiments" / "lock"):
        with locked(lock, 0), pytest.raises(Busy):
            restore(shop.room, path)


# --- while it has not ended ---------------------------------------------------------------------


def doors(root: str) -> list[Callable[[], object]]:
    """Everything by which a workspace is entered; the commands have a test of their own."""
    return [
        lambda: Workspace.find(Path(root)),
        lambda: initialise(Workspace(Path(root)), None),
        lambda: retrain.fn(root),
        lambda: erase.fn(root),
        lambda: experimenting.run(root, [], None),
        lambda: stages.run("interactions", Path(root)),
    ]


def test_nothing_else_is_done_while_a_restore_has_not_ended(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shop.backup()

    def fail(*_: object) -> None:
        raise StoreUnavailable("the remote does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(restoring, "_replayed", fail)
        with pytest.raises(StoreUnavailable):
            restore(shop.room, path)
    assert shop.room.restoring.is_file()
    before = shop.seen()
    for enter in doors(str(shop.room.root)):
        with pytest.raises(RefusedByGate, match="a restore has not ended here"):
            enter()
    assert shop.seen() == before
    restore(shop.room, path)
    assert Workspace.find(shop.room.root) == shop.room


DURABLE: list[tuple[Any, str]] = [
    (shutil, "move"), (shutil, "rmtree"), (Path, "unlink"), (Path, "replace"),
]  # fmt: skip


def killing(shop: Shop, path: Path, at: int | None) -> int:
    """Restore, and die right before the durable call number `at`; how many calls came."""
    return dying_at(at, DURABLE, lambda: restore(shop.room, path))


def test_a_restore_killed_between_any_two_steps_is_ended_by_another(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "now", lambda: MADE)
    path, copy = shop.backup(), shop.folder / "before"
    shutil.copytree(shop.room.root, copy)
    before = shop.seen()
    steps = killing(shop, path, None)
    undisturbed = shop.seen()
    assert steps > 20
    for at in range(steps):
        shutil.rmtree(shop.room.root)
        shutil.copytree(copy, shop.room.root)
        killing(shop, path, at)
        seen = shop.seen()
        anchored = {name: told for name, told in seen.items() if not name.endswith(".anchor")}
        assert shop.room.restoring.exists() or anchored == before or seen == undisturbed
        restore(shop.room, path)
        assert shop.seen() == undisturbed
