"""A history goes over row by row into the databases, or not at all, and is never in two places."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from lethe.desk.stack import moving
from lethe.desk.stack.addresses import addresses
from lethe.durable import locked
from lethe.errors import Busy, StoreUnavailable
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.register import Action, Register
from tests.interactions.rights.place import INTENT, STONES, ask, url
from tests.kills import dying_at
from tests.postgres import fresh_schema

FILES = {"register.db": "register", "register.db-journal": "half", "mlflow/mlflow.db": "runs",
         "mlflow/mlflow.db-wal": "ahead", "optuna.db": "studies"}  # fmt: skip
AT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678900)  # noqa: DTZ001 - as a database keeps it


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    for folder in (made.stack, made.keys, made.mlflow):
        folder.mkdir(parents=True)
    for name, text in FILES.items():
        (made.state / name).write_text(text)
    (made.state / "register.db.lock").touch()
    return made


def there(workspace: Workspace) -> dict[str, str]:
    found = {name: workspace.state / name for name in FILES}
    return {name: path.read_text() for name, path in found.items() if path.exists()}


def test_killed_anywhere_the_files_are_in_use_or_the_databases_and_never_both(
    workspace: Workspace,
) -> None:
    found, ends = addresses(workspace), []
    steps = [(Path, "replace"), (moving, "publish"), (shutil, "rmtree")]

    def do() -> None:
        moving._commit(workspace, found)

    total = dying_at(None, steps, do)
    assert total > len(FILES)
    for at in range(total):
        shutil.rmtree(workspace.stack / "former", ignore_errors=True)
        workspace.stack_environment.unlink(missing_ok=True)
        for name, text in FILES.items():
            (workspace.state / name).write_text(text)
        assert dying_at(at, steps, do) == at + 1
        moving.settle_former(workspace)
        moved = workspace.stack_environment.exists()
        assert there(workspace) == ({} if moved else FILES)
        assert not (workspace.stack / "former").exists()
        assert (workspace.state / "register.db.lock").exists()
        ends.append(moved)
    assert ends == sorted(ends)
    assert set(ends) == {False, True}


def test_nothing_moves_beside_a_night_or_an_experiment_or_after_a_kill(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_WAIT", 0.0)
    for lock in (workspace.night_lock, workspace.state / "experiments" / "lock"):
        with locked(lock, 0.0), pytest.raises(Busy), moving._at_rest(workspace):
            pass
    workspace.journal.write_text("{}")
    with pytest.raises(Busy, match="a night was cut off"), moving._at_rest(workspace):
        pass


def tables(metadata: sa.MetaData) -> sa.Table:
    parent = sa.Table("parents", metadata, sa.Column("name", sa.String(40), primary_key=True))
    sa.Table("alembic_version", metadata, sa.Column("version_num", sa.String(32)))
    return sa.Table(
        "things", metadata, sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("parent", sa.ForeignKey(parent.c.name)), sa.Column("good", sa.Boolean),
        sa.Column("at", sa.DateTime), sa.Column("value", sa.Float(53)), sa.Column("text", sa.Text),
    )  # fmt: skip


@pytest.fixture
def pair(postgres: str, tmp_path: Path) -> tuple[sa.Engine, sa.Engine, sa.Table]:
    """A file with rows, tables of the same kind in PostgreSQL, and the one that has numbers."""
    things = tables(metadata := sa.MetaData())
    source = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}", poolclass=sa.NullPool)
    target = sa.create_engine(fresh_schema(postgres), poolclass=sa.NullPool)
    for engine in (source, target):
        metadata.create_all(engine)
        with engine.begin() as link:
            link.execute(metadata.tables["alembic_version"].insert(), {"version_num": "1"})
    row: dict[str, Any] = {"parent": "p", "good": True, "at": AT, "value": 0.1 + 0.2, "text": None}
    with source.begin() as link:
        link.execute(metadata.tables["parents"].insert(), {"name": "p"})
        link.execute(things.insert(), [{"id": 7, **row}, {"id": 9, **row, "text": "file:///a/b"}])
        link.execute(things.insert(), {"id": 8, **row, "good": None, "text": "file:///a"})
    with target.begin() as link:
        link.execute(metadata.tables["parents"].insert(), {"name": "made by the tool"})
    return source, target, things


def test_every_row_goes_over_as_it_was_and_the_next_number_follows(
    pair: tuple[sa.Engine, sa.Engine, sa.Table],
) -> None:
    source, target, things = pair
    for _ in range(2):  # a copy that was killed is repeated
        assert moving.copy_rows(source, target, {"file:///a": "mlflow-artifacts:"}) == 4
        with source.connect() as one, target.connect() as other:
            order = sa.select(things).order_by(things.c.id)
            before, after = (link.execute(order).all() for link in (one, other))
        assert [row[:-1] for row in after] == [row[:-1] for row in before]
        assert [row.text for row in after] == [None, "mlflow-artifacts:/", "mlflow-artifacts:/b"]
    with target.begin() as link:
        added = link.execute(things.insert().values(parent="p").returning(things.c.id))
        assert added.scalar_one() == 10


def test_tables_of_another_version_are_refused_and_nothing_goes_over(
    pair: tuple[sa.Engine, sa.Engine, sa.Table],
) -> None:
    source, target, things = pair
    with source.begin() as link:
        link.execute(sa.text("UPDATE alembic_version SET version_num = '2'"))
    with pytest.raises(StoreUnavailable, match="alembic_version is not what it was"):
        moving.copy_rows(source, target, {})
    with source.begin() as link:
        link.execute(sa.text("UPDATE alembic_version SET version_num = '1'"))
        link.execute(sa.text("CREATE TABLE strange (id INTEGER)"))
    with pytest.raises(StoreUnavailable, match="no tables strange"):
        moving.copy_rows(source, target, {})
    with target.connect() as link:
        assert link.scalar(sa.select(sa.func.count()).select_from(things)) == 0


def test_a_register_that_grew_after_a_killed_copy_goes_over_whole_and_a_strange_one_does_not(
    postgres: str, tmp_path: Path
) -> None:
    addressed = url(tmp_path / "register.db"), fresh_schema(postgres)
    file, moved = (Register.open(address) for address in addressed)
    file.initialise()
    moved.initialise()
    for number, action in enumerate((Action.OBJECT, Action.ERASE), start=1):
        file.append([ask(action, STONES[number])])
        file.intend(INTENT)
        copied = moving.copy_rows(file.engine, moved.engine, {}, append_only=True)
        assert copied == 2 * number
        assert moved.check_chain() == file.check_chain()
        assert moved.promotions() == file.promotions()
        assert moved.requests() == file.requests()
    moved.append([ask(Action.ERASE, STONES[5])])
    file.append([ask(Action.ERASE, STONES[6])])
    with pytest.raises((StoreUnavailable, sa.exc.IntegrityError)):
        moving.copy_rows(file.engine, moved.engine, {}, append_only=True)
