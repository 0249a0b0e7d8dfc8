"""Data versions against real DVC in a folder, and the fake beside it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lethe import errors
from lethe.adapters.catalogue import Catalogue, DataVersion
from lethe.adapters.data_versions import DataVersions
from tests.fakes.data_versions import FakeDataVersions

STAGE = """
import json, pathlib, shutil, sys, time
source = pathlib.Path("source.txt").read_text()
if source.startswith("{"):
    pathlib.Path(".lethe/stage-error.json").write_text(source)
    sys.exit(json.loads(source)["exit_code"])
if source == "crash":
    sys.exit("boom")
if source.startswith("slow"):
    pathlib.Path("started").touch()
    time.sleep(float(source[4:]))
out = pathlib.Path("data/interactions")
shutil.rmtree(out, ignore_errors=True)
(out / "2011-03").mkdir(parents=True)
(out / "2011-03/b0.txt").write_text("everybody's month")
(out / "2011-03/b3.txt").write_text(source)
"""
DVC_YAML = """
stages:
  intake:
    cmd: python stage.py
    deps: [source.txt, stage.py]
    outs: [data/interactions]
"""
STORES = ".lethe/remote", ".dvc/cache"
Writer = Callable[[str], None]


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one stage; made once and copied, because each dvc command takes a second."""
    root = tmp_path_factory.mktemp("blank")
    DataVersions(root).init()
    (root / "stage.py").write_text(STAGE)
    (root / "dvc.yaml").write_text(DVC_YAML)
    return root


@pytest.fixture
def root(blank: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(blank, tmp_path / "workspace"))


def write(root: Path, text: str) -> None:
    (root / "source.txt").write_text(text)


@pytest.fixture(params=["dvc", "fake"])
def ledger(request: pytest.FixtureRequest, root: Path) -> tuple[Any, Writer]:
    if request.param == "dvc":
        return DataVersions(root), lambda value: write(root, value)
    text: list[str] = [""]

    def make() -> None:
        out = root / "data/interactions/2011-03"
        out.mkdir(parents=True, exist_ok=True)
        (out / "b0.txt").write_text("everybody's month")
        (out / "b3.txt").write_text(text[0])

    fake = FakeDataVersions(root, {"intake": ("data/interactions", make)})
    return fake, lambda value: text.__setitem__(0, value)


def test_a_version_is_recorded_kept_materialised_and_destroyed(
    ledger: tuple[Any, Writer], tmp_path: Path
) -> None:
    versions, put = ledger
    put("with the erased user")
    old = versions.reproduce("intake")
    versions.push()
    put("without")
    new = versions.reproduce("intake")
    versions.push()
    assert old.changed
    assert new.changed
    assert not versions.reproduce("intake").changed
    assert versions.digest("data/interactions") == new.digest
    assert versions.held() == {old.digest, new.digest}
    kept = versions.objects(new.digest)
    assert kept.keys() == {"2011-03/b0.txt", "2011-03/b3.txt"}
    folder = versions.checkout(old.digest, tmp_path / "old")
    assert (folder / "2011-03/b3.txt").read_text() == "with the erased user"
    assert (folder / "2011-03/b3.txt").stat().st_mode & 0o777 == 0o400

    with pytest.raises(errors.BadInput, match="1 data versions"):
        versions.destroy([new.digest], keep=[])
    assert versions.destroy([old.digest], keep=[new.digest]).versions == 1
    assert versions.held() == {new.digest}
    with pytest.raises(errors.StoreUnavailable):
        versions.objects(old.digest)
    assert versions.objects(new.digest) == kept
    versions.checkout(new.digest, tmp_path / "new")
    assert versions.destroy([old.digest], keep=[new.digest]).objects == 0


def test_the_fake_records_the_digests_that_dvc_records(root: Path) -> None:
    real = DataVersions(root)
    write(root, "same")
    digest = real.reproduce("intake").digest
    fake = FakeDataVersions(root, {"intake": ("data/interactions", lambda: None)})
    assert fake.commit("intake") == digest == real.commit("intake")
    assert fake.objects(digest) == real.objects(digest)


def everything_under(root: Path) -> bytes:
    return b"".join(p.read_bytes() for p in root.rglob("*") if p.is_file())


def test_destruction_reaches_every_remote_and_the_caches_beside_them(
    root: Path, tmp_path: Path
) -> None:
    second, versions = tmp_path / "second remote", DataVersions(root)
    with (root / ".dvc/config").open("a") as config:
        config.write(f"['remote \"second\"']\n    url = {second}\n")
    versions.init()
    write(root, "rows of one person")
    old = versions.reproduce("intake").digest
    versions.push()
    shutil.copytree(root / ".lethe/remote", second)
    write(root, "purged")
    versions.reproduce("intake")
    assert (second / "files/md5" / old[:2] / old[2:]).exists()
    versions.destroy([old], keep=[])
    assert b"rows of one person" not in everything_under(tmp_path)
    assert not list(tmp_path.rglob(old[2:]))
    assert not (root / ".dvc/cache/runs").exists()
    assert not any((root / ".lethe/site-cache").iterdir())
    assert (root / ".lethe/site-cache").stat().st_mode & 0o777 == 0o700
    assert not versions.reproduce("intake").changed


def test_a_version_put_beside_others_is_one_of_dvcs_own_in_every_store(
    root: Path, tmp_path: Path
) -> None:
    """Substituting one file gives the digest that dvc gives to a folder with that file."""
    versions = DataVersions(root)
    write(root, "with the erased user")
    old = versions.reproduce("intake").digest
    versions.push()
    new = tmp_path / "b3.txt"
    new.write_text("without")
    with versions.rewriting() as stores:
        files = stores.files(old) | {"2011-03/b3.txt": stores.copy_in(new)}
        digest = stores.put_version(files, tmp_path)
        assert stores.put_version(files, tmp_path) == digest
    assert list(tmp_path.glob("*.dir")) == []
    assert new.read_text() == "without"
    for store in (".dvc/cache/files/md5", ".lethe/remote/files/md5"):
        assert (root / store / digest[:2] / digest[2:]).is_file()
        for md5 in files.values():
            assert (root / store / md5[:2] / md5[2:]).is_file()
    versions.checkout(digest, tmp_path / "rewritten")
    assert (tmp_path / "rewritten/2011-03/b3.txt").read_text() == "without"
    write(root, "without")
    assert versions.reproduce("intake").digest == digest
    assert versions.destroy([old], keep=[digest]).versions == 1
    assert b"with the erased user" not in everything_under(tmp_path / "workspace/.dvc/cache")


def test_a_lost_cache_is_filled_from_the_remote_and_altered_bytes_are_refused(
    root: Path, tmp_path: Path
) -> None:
    versions = DataVersions(root)
    write(root, "rows")
    digest = versions.reproduce("intake").digest
    versions.push()
    md5 = versions.objects(digest)["2011-03/b3.txt"]
    (root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    versions.checkout(digest, tmp_path / "again")
    assert (tmp_path / "again/2011-03/b3.txt").read_text() == "rows"
    stored = root / ".lethe/remote/files/md5" / md5[:2] / md5[2:]
    stored.chmod(0o600)
    stored.write_text("r0ws")
    with pytest.raises(errors.ArtifactCorrupt, match=r"b3\.txt"):
        versions.checkout(digest, tmp_path / "third")
    assert not (tmp_path / "third/2011-03/b3.txt").exists()


@pytest.mark.parametrize("lost", STORES)
def test_a_push_puts_back_a_file_that_a_store_lost_beside_its_list(lost: str, root: Path) -> None:
    """DVC looks for the list alone: it would say that everything is up to date for ever."""
    versions = DataVersions(root)
    write(root, "rows")
    md5 = versions.objects(versions.reproduce("intake").digest)["2011-03/b3.txt"]
    versions.push()
    files = {store: root / store / "files/md5" / md5[:2] / md5[2:] for store in STORES}
    files[lost].unlink()
    versions.push()
    assert files[lost].read_text() == "rows"
    for file in files.values():
        file.unlink()
    with pytest.raises(errors.StoreUnavailable):
        versions.push()


def test_a_sweep_removes_what_a_killed_command_left_and_nothing_else(
    root: Path, tmp_path: Path
) -> None:
    versions = DataVersions(root)
    write(root, "rows")
    digest = versions.reproduce("intake").digest
    store = root / ".dvc/cache/files/md5"
    (store / "ab").mkdir(exist_ok=True)
    (store / "ab" / ("0" * 30)).write_text("saved, never listed")
    (store / "ab" / ".k3jd.tmp").write_text("half a copy")
    (store / ".k3jd.tmp").write_text("half a copy")
    assert versions.sweep().objects == 3
    assert b"half a copy" not in everything_under(store)
    versions.checkout(digest, tmp_path / "whole")
    assert versions.sweep().objects == 0


@pytest.mark.parametrize(
    ("note", "kind"),
    [
        ('{"exit_code": 1, "message": "12 interactions", "error": "TooFewInteractions"}', None),
        ('{"exit_code": 1, "message": "12 interactions"}', errors.RefusedByGate),
        (
            '{"exit_code": 2, "message": "a.csv, row 3: blank id", "error": "BadFile"}',
            errors.BadInput,
        ),
        ('{"exit_code": 3, "message": "disk", "error": "os"}', errors.LetheError),
    ],
)
def test_the_error_of_a_stage_comes_through_dvc_as_its_own(
    root: Path, note: str, kind: type[errors.LetheError] | None
) -> None:
    versions = DataVersions(root)
    write(root, note)
    with pytest.raises(kind or errors.TooFewInteractions) as caught:
        versions.reproduce("intake")
    assert str(caught.value) in note
    assert f'"exit_code": {caught.value.exit_code}' in note
    assert not isinstance(caught.value, errors.BadFile)
    assert not (root / ".lethe/stage-error.json").exists()


def test_a_stage_that_crashes_is_an_outside_failure_whatever_an_older_one_left(
    root: Path, tmp_path: Path
) -> None:
    versions = DataVersions(root)
    write(root, "crash")
    (root / ".lethe/stage-error.json").write_text('{"exit_code": 2, "message": "old"}')
    with pytest.raises(errors.StoreUnavailable, match="intake"):
        versions.reproduce("intake")


def test_a_second_process_waits_for_a_running_stage_or_says_busy(root: Path) -> None:
    versions = DataVersions(root)
    write(root, "slow3")
    code = (
        "import sys; from pathlib import Path; "
        "from lethe.adapters.data_versions import DataVersions; "
        "DataVersions(Path(sys.argv[1])).reproduce('intake')"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(root)])
    while not (root / "started").exists():
        time.sleep(0.02)
    with pytest.raises(errors.Busy):
        DataVersions(root, wait_seconds=0.1).reproduce("intake")
    other.send_signal(signal.SIGKILL)  # its dvc goes on as an orphan; we wait for that too
    other.wait()
    assert versions.reproduce("intake").digest in versions.held()


def test_the_catalogue_keeps_versions_by_age_and_survives_a_reader(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "catalogue.json")
    assert catalogue.list() == ()
    newer = DataVersion("b.dir", 10, 2, 3, 5, "ff", created=200)
    older = DataVersion("a.dir", 11, 3, 3, 4, "ee", created=100)
    catalogue.add(newer)
    catalogue.add(older)
    catalogue.add(newer)
    assert Catalogue(tmp_path / "catalogue.json").list() == (older, newer)
    assert catalogue.drop(["a.dir", "unknown.dir"]) == 1
    assert catalogue.list() == (newer,)
    catalogue.path.write_text('{"versions": [{"digest": 1}]}')
    with pytest.raises(errors.ArtifactCorrupt):
        catalogue.list()
