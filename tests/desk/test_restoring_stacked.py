"""A backup of a stack goes into another, empty one; its register comes from the newest copy."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import ProgrammingError

from lethe.desk.backups import backing_up, dumps, registers, restoring
from lethe.desk.backups.registers import copy_out
from lethe.desk.backups.restoring import restore
from lethe.errors import ArtifactCorrupt, BadFile, BadInput, LetheError
from lethe.estate.backups import unpack
from lethe.estate.process import settle
from lethe.interactions.rights.merges import Pair
from lethe.interactions.rights.register import Register
from lethe.interactions.rights.standing import GENESIS
from tests.desk.conftest import Dumped
from tests.fakes.backed_up_shop import MADE, Shop
from tests.fakes.stack_databases import Databases
from tests.interactions.rights.place import INTENT
from tests.kills import dying_at


class Lost:
    """A shop that lost its disk: a new stack, a backup of the old one, a copy of its register."""

    def __init__(self, shop: Shop, stack: Databases, dumped: Dumped) -> None:
        self.shop, self.stack = shop, stack
        shop.register.merge([Pair(1, "a" * 64, "b" * 64)], MADE)
        shop.register.done(shop.register.intend(INTENT), MADE)
        self.known = self._told(shop.register)
        del shop.backed_up[".lethe/mlflow/mlflow.db"]
        for name, content in dumped.files.items():
            shop.backed_up[dumps.member(name)] = content
        self.rows = {name: dict(rows) for name, rows in dumped.rows.items()}
        self.rows["mlflow"]["registered_model_aliases"] = []
        self.backup = shop.backup()
        self.copy = shop.folder / "register-copy.db"
        shutil.move(shop.room.state / "register.db", self.copy)
        stack.lend(shop.room)
        stack.fresh()

    def restore(self) -> dict[str, Any]:
        return restore(self.shop.room, self.backup, self.copy)

    def register(self) -> Register:
        return Register.open(self.stack.found.database("register"))

    def restored(self) -> bool:
        present = {name: self.stack.rows(name) for name in dumps.NAMES}
        return present == self.rows and self._told(self.register()) == self.known

    def seen(self) -> object:
        names = (*dumps.NAMES, "register")
        return self.shop.seen(), [self.stack.rows(name) for name in names]

    @staticmethod
    def _told(register: Register) -> object:
        return register.entries(), register.merge_head(), register.promotions()


@pytest.fixture
def lost(
    backed_up: Shop, stack: Databases, dumped: Dumped, monkeypatch: pytest.MonkeyPatch
) -> Lost:
    for name in stack.found.environment():
        monkeypatch.delenv(name, raising=False)
    return Lost(backed_up, stack, dumped)


def test_databases_and_register_are_what_they_were_and_nothing_serves_before_the_replay(
    lost: Lost,
) -> None:
    done = lost.restore()
    assert (done["champion"], done["register_position"]) == (3, 2)
    assert lost.restored()
    assert lost.register().check_chain() == lost.register().head()
    after = lost.shop.seen()
    assert after["data/interactions/2025-03/b0.parquet"] == b"rows of then"
    assert not any(name.startswith((".lethe/dumps", ".lethe/register.db")) for name in after)
    with pytest.raises(ProgrammingError):  # its role may still read and add alone
        lost.stack.run("register", "DELETE FROM entries")
    lost.shop.register = lost.register()
    lost.shop.enter(1)


def test_a_restore_killed_before_any_of_its_steps_is_ended_by_another(lost: Lost) -> None:
    steps: list[tuple[Any, str]] = [
        (restoring, "_mark"), (registers, "carry_in"), (dumps, "load"), (restoring, "_replace"),
        (restoring, "_unmark"),
    ]  # fmt: skip
    before = lost.seen()
    assert dying_at(0, steps, lost.restore) == 1
    assert lost.seen() == before
    for at in range(1, 6):
        assert dying_at(at, steps, lost.restore) == at + 1
        assert lost.shop.room.restoring.exists()
        assert lost.stack.rows("mlflow")["registered_model_aliases"] == []
    lost.restore()
    assert lost.restored()
    assert not lost.shop.room.restoring.exists()


def without_a_copy(lost: Lost) -> None:
    lost.copy = None  # type: ignore[assignment]


def an_empty_register_beside_a_backup_of_before_the_first_request(lost: Lost) -> None:
    lost.copy = None  # type: ignore[assignment]
    lost.shop.backed_up[".lethe/certificates/version-1.json"] = b"judged"
    lost.backup = lost.shop.backup(head=GENESIS)


def an_older_copy(lost: Lost) -> None:
    with closing(sqlite3.connect(lost.copy)) as link, link:
        link.execute("DROP TRIGGER entries_no_delete")
        link.execute("DELETE FROM entries WHERE position = 2")
        link.execute("DROP TABLE merges")


def no_copy_at_all(lost: Lost) -> None:
    lost.copy = lost.shop.folder / "missing.db"


def a_copy_that_is_something_else(lost: Lost) -> None:
    lost.copy.write_bytes(b"-- PostgreSQL database dump")


def a_register_that_has_entries(lost: Lost) -> None:
    lost.shop.register = lost.register()
    lost.shop.enter(1)


def a_register_that_has_promotions(lost: Lost) -> None:
    lost.register().intend(INTENT)


def a_stack_with_nights(lost: Lost) -> None:
    lost.stack.run("mlflow", "INSERT INTO runs (note) VALUES ('a night')")


def a_backup_of_files(lost: Lost) -> None:
    for name in dumps.NAMES:
        del lost.shop.backed_up[dumps.member(name)]
    lost.shop.register = Register.open(f"sqlite:///{lost.copy}")
    lost.backup = lost.shop.backup()


def no_stack(lost: Lost) -> None:
    lost.shop.room.stack_environment.unlink()


def a_dump_that_was_cut_before_it_was_signed(lost: Lost) -> None:
    lost.shop.backed_up[dumps.member("optuna")] = b"-- PostgreSQL database dump\n"
    lost.shop.register = Register.open(f"sqlite:///{lost.copy}")
    lost.backup = lost.shop.backup()


def a_backup_that_was_cut(lost: Lost) -> None:
    lost.backup.write_bytes(lost.backup.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (without_a_copy, ArtifactCorrupt, "an old copy was restored"),
        (an_empty_register_beside_a_backup_of_before_the_first_request, BadInput, "is empty"),
        (an_older_copy, ArtifactCorrupt, "an old copy was restored"),
        (no_copy_at_all, BadInput, r"there is no file missing\.db"),
        (a_copy_that_is_something_else, BadFile, r"register-copy\.db: it is no copy"),
        (a_register_that_has_entries, BadInput, "a register here that is not empty"),
        (a_register_that_has_promotions, BadInput, "a register here that is not empty"),
        (a_stack_with_nights, BadInput, "mlflow holds a history already"),
        (a_backup_of_files, BadInput, "made before there was a stack"),
        (no_stack, BadInput, "one of a stack: `lethe up` first"),
        (a_dump_that_was_cut_before_it_was_signed, BadFile, r"optuna\.sql: it is no whole dump"),
        (a_backup_that_was_cut, ArtifactCorrupt, "cut short or damaged"),
    ],
)
def test_what_could_go_wrong_is_refused_and_changes_neither_files_nor_databases(
    lost: Lost, spoil: Callable[[Lost], None], error: type[LetheError], says: str
) -> None:
    spoil(lost)
    before = lost.seen()
    with pytest.raises(error, match=says):
        lost.restore()
    assert lost.seen() == before


def test_a_backup_of_a_stack_holds_its_dumps_and_not_the_files_that_they_replaced(
    lost: Lost, tmp_path: Path
) -> None:
    """What `lethe init` made before the first `lethe up` is no database of the workspace."""
    lost.restore()
    room = lost.shop.room
    (room.mlflow / "artifacts").mkdir(parents=True)
    for path in (room.mlflow / "mlflow.db", room.studies, room.mlflow / "artifacts" / "factors"):
        path.write_bytes(b"bytes")
    settle(room, "Haswell")
    told = backing_up.back_up(room, tmp_path / "again.tar.gz")
    (into := tmp_path / "into").mkdir()
    held = {kept.path for kept in unpack(tmp_path / "again.tar.gz", into).backup.files}
    assert told["register_position"] == 2
    assert held >= {dumps.member(name) for name in dumps.NAMES}
    assert ".lethe/mlflow/artifacts/factors" in held
    assert not held & {".lethe/mlflow/mlflow.db", ".lethe/optuna.db"}


def test_a_copy_of_the_register_is_all_of_it_wherever_it_lies(lost: Lost, tmp_path: Path) -> None:
    lost.restore()
    copy_out(lost.shop.room, tmp_path / "again.db")
    copied = Register.open(f"sqlite:///{tmp_path / 'again.db'}")
    assert lost._told(copied) == lost.known
    assert (tmp_path / "again.db").stat().st_mode & 0o777 == 0o600
    for wrong in (tmp_path / "again.db", tmp_path / "again.sqlite", lost.shop.room.root / "r.db"):
        with pytest.raises(BadInput):
            copy_out(lost.shop.room, wrong)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".lethe-")] == []


def test_files_take_a_copy_where_there_is_none_as_a_stack_does(backed_up: Shop) -> None:
    entries, copy = backed_up.register.entries(), backed_up.folder / "copy.db"
    copy_out(backed_up.room, copy)
    with pytest.raises(BadInput, match="a register here that is not empty"):
        restore(backed_up.room, backed_up.backup(), copy)
    path = backed_up.backup()
    (backed_up.room.state / "register.db").unlink()
    assert restore(backed_up.room, path, copy)["register_position"] == 2
    assert Register.open(backed_up.room.register_url()).entries() == entries
