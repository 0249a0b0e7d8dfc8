"""A backup, an erasure, a lost disk, a restore that is killed once: the person stays gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lethe.desk.backups.backing_up import back_up
from lethe.desk.backups.restoring import restore
from lethe.durable import read_json
from lethe.errors import RefusedByGate
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.register import Closure
from lethe.nights.forgetting import replaying
from tests.kills import Killed
from tests.nights import shop, traces
from tests.nights.conftest import Place, Saved, let_go_of_databases
from tests.nights.shop import BYSTANDER, ERASED, LATE
from tests.nights.story import Story, expected, names_of, rows_in

pytestmark = pytest.mark.timeout(300)


def lost_but_for_keys_and_register(place: Place) -> None:
    """What is left of a workspace whose disk broke: what was kept apart from its backups."""
    kept = {"keys", "register.db"}
    for path in place.root.iterdir():
        if path.name != ".lethe":
            (shutil.rmtree if path.is_dir() else Path.unlink)(path)
    for path in place.state.iterdir():
        if path.name not in kept:
            (shutil.rmtree if path.is_dir() else Path.unlink)(path)


def test_a_person_erased_after_the_backup_is_nowhere_after_the_restore(
    first_night: Saved, prefect_server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LETHE_REGISTER_URL", raising=False)
    place, backup = first_night.restore(), tmp_path / "backup.tar.gz"
    told = place.json("backup", str(backup))
    assert told["register_position"] == place.register().head().position
    names = [name for person in (ERASED, LATE) for name in names_of(place, person)]
    before = traces.found(tmp_path, [BYSTANDER])
    assert before == [backup.name], "the search of these tests does not look into a backup"
    place.ask("erase", ERASED, LATE)
    for state in place.register().requests():  # as a night did that the backup does not know
        place.register().close(Closure(state.entry.position, "closed", "e" * 64, 0, 0))
    lost_but_for_keys_and_register(place)

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(replaying, "forget_history", die)
        with pytest.raises(Killed):
            restore(Workspace(place.root), backup)
    let_go_of_databases()
    assert place.alias("champion") is None, "what is not purged yet could be served"
    assert traces.found(place.root, names), "nothing had been brought back"
    with pytest.raises(RefusedByGate, match="a restore has not ended here"):
        Workspace.find(place.root)

    done = place.json("restore", str(backup))
    assert (done["people"], done["champion"]) == (2, None)
    assert traces.found(place.root, names) == []
    story = Story(place, prefect_server, shop.history(), marks={1: len(shop.history())})
    assert rows_in(place) == expected(story, 1, gone={ERASED, LATE})
    assert done["rows"] == sum(expected(story, 1, gone=()).values()) - rows_in(place).total()
    assert place.versions() == []
    [evidence] = place.state.glob("evidence/restore-*.json")
    assert read_json(evidence)["people"] == 2


def test_a_champion_against_whom_nothing_speaks_serves_again(
    first_night: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LETHE_REGISTER_URL", raising=False)
    place, backup = first_night.restore(), tmp_path / "backup.tar.gz"
    back_up(Workspace.find(place.root), backup)
    before = rows_in(place)
    place.ask("erase", "nobody-ever-heard-of")
    let_go_of_databases()
    done = restore(Workspace(place.root), backup)
    assert (done["champion"], done["people"], done["rows"], done["versions"]) == (1, 1, 0, 0)
    assert place.alias("champion") == 1
    assert rows_in(place) == before
    assert place.versions() == [1]
    let_go_of_databases()
