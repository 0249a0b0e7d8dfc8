"""A workspace as the first Lethe left it: today's opens it, says what it doubts, and goes on.

Laid out by taking today's small night and undoing what came since, as a workspace of that time was
seen to differ: no tables of extensions and merges, no list of the suppressed, a catalogue and a
training set with fewer fields, a version whose certificate covers its arrays but not what serves
them, and parameters, pipeline and tags that know less.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from lethe.adapters.packing import model_folder
from lethe.durable import read_json, write_json
from lethe.estate.stores import undeclared
from lethe.estate.workspace import Workspace
from lethe.nights import steps
from lethe.nights.frame import under_way
from lethe.solutions.factors import artifact_digest
from tests.cli.door import Door
from tests.watched import Shop

SINCE = ("suppressed", "suppressed.lock", "canaries.json", "register.anchor", "merges.anchor",
         "reports/dvc", "prefect/runs", "outbox")  # fmt: skip
SERVES = "# what served a version then knew no list of the suppressed\n"


def as_the_first_left_it(root: Path) -> None:
    """Undo in a workspace what the layout has gained since the first."""
    state = root / ".lethe"
    with closing(sqlite3.connect(state / "register.db")) as link:
        for table in ("extensions", "merges"):
            link.execute(f"DROP TABLE {table}")
        link.commit()
    for name in SINCE:
        path = state / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    catalogue = read_json(state / "catalogue.json")
    for version in catalogue["versions"]:
        del version["formerly"], version["names"]
    write_json(state / "catalogue.json", catalogue)
    last = read_json(state / "last-night.json")
    write_json(state / "last-night.json", {**last, "key": "0" * 64})  # of other things, then
    snapshot = root / "data" / "training" / "snapshot.json"
    record = read_json(snapshot)
    del record["canaries"], record["counts"]["canaries"]
    snapshot.chmod(0o600)
    write_json(snapshot, record)
    _without(root / "params.yaml", "recipients", "canaries", "restricted_days")
    _without(root / "dvc.yaml", "metrics", "plots")
    _recorded_then(state / "mlflow")


def _without(file: Path, *names: str) -> None:
    def kept(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: kept(inner) for key, inner in value.items() if key not in names}

    file.write_text(yaml.safe_dump(kept(yaml.safe_load(file.read_text())), sort_keys=False))


def _recorded_then(mlflow: Path) -> None:
    [served] = mlflow.rglob("serving.py")
    (served.parent / "__pycache__").unlink()
    served.write_text(SERVES)
    digest = artifact_digest(served.parent / "artifacts" / "solution")
    with closing(sqlite3.connect(mlflow / "mlflow.db")) as link, link:
        link.execute("DELETE FROM model_version_tags WHERE key IN ('solution_digest', 'asked_by')")
        link.execute("UPDATE model_version_tags SET value = ? WHERE key = 'artifact_digest'",
                     (digest,))  # fmt: skip


@pytest.fixture
def old(small_night: Shop, tmp_path: Path) -> Shop:
    """Such a workspace, after one night."""
    shop = small_night.copied(tmp_path / "old")
    as_the_first_left_it(shop.root)
    params = shop.root / "params.yaml"
    settings = yaml.safe_load(params.read_text())
    # How good the model of so small a shop is does not matter here.
    settings["promotion"] |= {"tolerance": 0.5, "significance": 0.001}
    params.write_text(yaml.safe_dump(settings, sort_keys=False))
    return shop


def people(root: Path, number: int) -> list[str]:
    with closing(sqlite3.connect(root / ".lethe" / "vault.db")) as link:
        found = link.execute("SELECT id FROM people ORDER BY id LIMIT ?", (number,))
        return [str(row[0]) for row in found]


def test_it_opens_and_its_champion_is_refused_and_not_taken_on_trust(
    old: Shop, door: Door, tmp_path: Path
) -> None:
    at = ("--workspace", str(old.root), "--json")
    status, kept, listed = door(*at, "status"), door(*at, "du"), door(*at, "data", "list")
    backed_up = door(*at, "backup", str(tmp_path / "shop.tar.gz"))
    refused = door("--workspace", str(old.root), "verify")

    assert (status.code, status.json["champion"]) == (0, 1)
    [version] = status.json["versions"]
    assert version["safe"] is False
    assert kept.code == listed.code == backed_up.code == 0
    assert refused.code == 1
    assert "version 1 is REFUSED" in refused.err
    assert "what serves the artifact is not what Lethe writes" in refused.err
    assert undeclared(Workspace(old.root)) == ()


def test_requests_are_taken_and_the_next_night_replaces_what_the_first_recorded(
    old: Shop, door: Door, tmp_path: Path
) -> None:
    at = ("--workspace", str(old.root))
    erased, objecting, one, other = people(old.root, 4)
    for command, text in (
        (("erase",), erased),
        (("object",), objecting),
        (("extend", "--reason", "complex"), erased),
        (("merge",), f"{one},{other}"),
    ):
        taken = door(*at, *command, text=f"{text}\n")
        assert taken.code == 0, taken.err

    night = old.lethe("--json", "night")
    assert night.returncode == 0, night.stderr
    told = json.loads(night.stdout)
    assert (told["outcome"], told["champion"], told["retired"]["versions"]) == ("promoted", 2, 1)
    (tmp_path / "erased").write_text(f"{erased}\n")
    assert door(*at, "scan", "--file", str(tmp_path / "erased")).code == 0
    verified = door(*at, "verify")
    assert "version 2 is VERIFIED" in verified.out, verified.err
    state = old.root / ".lethe"
    checked = door("certificate", "check", str(state / "certificates" / "version-2.json"),
                   "--key", str(state / "keys" / "signing.pub"))  # fmt: skip
    assert checked.code == 0
    assert undeclared(Workspace(old.root)) == ()


def test_what_serves_otherwise_is_learned_anew_though_nothing_else_has_changed(
    small_night: Shop, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = small_night.copied(tmp_path / "same")
    (tmp_path / "serving.py").write_text(SERVES)
    assert door("--workspace", str(shop.root), "status").code == 0

    with under_way(str(shop.root)) as night:
        assert not steps.is_new(night)
        monkeypatch.setattr(model_folder, "SERVING", tmp_path / "serving.py")
        assert steps.is_new(night)


def test_a_ledger_that_a_newer_lethe_wrote_is_refused_by_name(old: Shop, door: Door) -> None:
    path = old.root / ".lethe" / "catalogue.json"
    write_json(path, {**read_json(path), "format": 2})

    refused = door("--workspace", str(old.root), "status")

    assert refused.code == 3
    assert "catalogue.json is of format 2, and this Lethe reads format 1" in refused.err
