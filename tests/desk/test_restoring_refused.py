"""A restore asks everything before it replaces anything."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lethe.desk.backups import restoring
from lethe.desk.backups.restoring import restore
from lethe.durable import locked
from lethe.errors import (
    ArtifactCorrupt,
    BadConfiguration,
    BadInput,
    Busy,
    LetheError,
    NotAWorkspace,
    StoreUnavailable,
    WrongKey,
)
from lethe.estate.keys import replace_signing_key
from lethe.interactions.rights.register import Register
from lethe.interactions.rights.standing import GENESIS, Head
from lethe.stages import opening
from tests.fakes.backed_up_shop import Shop


@pytest.fixture
def shop(backed_up: Shop) -> Shop:
    return backed_up


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


def a_register_made_anew(shop: Shop) -> Path:
    shop.backed_up[".lethe/certificates/version-1.json"] = b"judged"
    path = shop.backup(head=GENESIS)
    (shop.room.state / "register.db").unlink()
    Register.open(shop.room.register_url()).initialise()
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
        (a_register_made_anew, BadInput, "the register is empty"),
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
