"""A restore replaces the stores, and can be killed anywhere."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.erase import erase
from flows.retrain import retrain
from lethe.desk.backups import restoring
from lethe.desk.backups.restoring import restore
from lethe.desk.experiments import experimenting
from lethe.desk.setting_up import initialise
from lethe.durable import read_json
from lethe.errors import (
    RefusedByGate,
    StoreUnavailable,
)
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.merges import Pair
from lethe.stages import __main__ as stages
from lethe.stages import opening
from tests.fakes.backed_up_shop import MADE, Shop
from tests.kills import dying_at
from tests.watched import BIN


@pytest.fixture
def shop(backed_up: Shop) -> Shop:
    return backed_up


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


def test_a_restore_in_a_shell_of_its_own_settles_the_kernel_before_numpy_comes(shop: Shop) -> None:
    """The setting is read from the backup: a folder that lost its disk has none yet."""
    asked = shop.backed_up["params.yaml"].replace(b"blas_kernel: Haswell", b"blas_kernel: Nehalem")
    assert asked != shop.backed_up["params.yaml"]
    shop.backed_up["params.yaml"] = asked
    path = shop.backup(workspace="/srv/another")
    plain = {name: value for name, value in os.environ.items() if "OPENBLAS" not in name}
    done = subprocess.run(
        [str(BIN / "lethe"), "--workspace", str(shop.room.root), "restore", str(path)],
        env=plain, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "it can only be restored in /srv/another" in done.stderr, "refused for another reason"


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
