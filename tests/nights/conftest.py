"""One Prefect server for all nights, one first night copied for each test, one way to run `lethe`.

MLflow stores absolute paths, so every copy is laid at the one place where the first was made.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lethe.durable import read_json
from lethe.estate.vault import Vault
from lethe.interactions.rights.identity import Identities, Keys
from lethe.interactions.rights.register import Register
from lethe.interactions.rights.standing import Standing
from tests.conftest import shared
from tests.fixed_keys import lay_keys
from tests.listening import answers
from tests.nights import shop
from tests.nights.warm import Warm
from tests.watched import Shop

LETHE = Path(sys.executable).with_name("lethe")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """A workspace as its operator sees it: commands in, text out. And its ledgers, for looking."""

    root: Path
    forks: ClassVar[Warm | None] = None

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The real command, running; its standard error can be read line by line."""
        return subprocess.Popen(
            [LETHE, *arguments],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, ids: str = "", exits: int = 0) -> str:
        """Run a command to its end, check its exit code, return all that it said."""
        code, out, errors = self._ended(*arguments, ids=ids)
        assert code == exits, out + errors
        return out + errors

    def json(self, *arguments: str) -> dict[str, Any]:
        """A command's answer for machines."""
        code, out, errors = self._ended("--json", *arguments)
        assert code == 0, out + errors
        return dict(json.loads(out))

    def _ended(self, *arguments: str, ids: str = "") -> tuple[int, str, str]:
        """Forked from a process that has loaded its tools, where one stands by."""
        if self.forks is not None and not self.forks.busy:
            done = self.forks.start(self.root, *arguments, given=ids)
            return done.exit_status(), done.out.read_text(), done.progress()
        process = self.start(*arguments)
        out, errors = process.communicate(ids, timeout=240)
        return process.returncode, out, errors

    def ask(self, verb: str, *people: str, received: str = "2025-03-31") -> str:
        """Enter requests of some people on a day."""
        return self.run(verb, "--received", received, ids="\n".join(people) + "\n")

    @property
    def state(self) -> Path:
        """The private folder."""
        return self.root / ".lethe"

    @property
    def landing(self) -> Path:
        """Where exports land."""
        return self.root / "data" / "landing"

    def keys(self) -> Keys:
        """The workspace's two secrets."""
        pair = ((self.state / "keys" / f"{n}.key").read_text() for n in ("pseudonym", "tombstone"))
        pseudonym, tombstone = (bytes.fromhex(text.strip()) for text in pair)
        return Keys(pseudonym, tombstone)

    def register(self) -> Register:
        """The register of rights."""
        return Register.open(f"sqlite:///{self.state / 'register.db'}")

    def first_life(self, user: str) -> str:
        """The pseudonym of a person who never came back."""
        return Identities(self.keys(), Standing()).resolve([user])[0].pseudonym

    def present_life(self, user: str) -> str:
        """The pseudonym under which a person would be taken in today."""
        return Identities(self.keys(), self.register().standing()).resolve([user])[0].pseudonym

    def vault(self) -> Vault:
        """The vault of ids."""
        return Vault(self.state / "vault.db", self.keys())

    def mlflow(self, query: str, *values: object) -> list[Any]:
        """Rows of MLflow's database, read past MLflow: it keeps files open that tests replace."""
        with closing(sqlite3.connect(self.state / "mlflow" / "mlflow.db")) as link:
            return link.execute(query, values).fetchall()

    def alias(self, name: str) -> int | None:
        """The version that an alias of the registered model points to."""
        found = self.mlflow("SELECT version FROM registered_model_aliases WHERE alias = ?", name)
        return int(found[0][0]) if found else None

    def versions(self) -> list[int]:
        """Registered versions that are not destroyed."""
        query = "SELECT version FROM model_versions WHERE current_stage <> 'Deleted_Internal'"
        return sorted(int(row[0]) for row in self.mlflow(query))

    def solution(self, version: int) -> Path:
        """The folder in which MLflow keeps a version."""
        query = "SELECT storage_location FROM model_versions WHERE version = ?"
        return (
            Path(self.mlflow(query, version)[0][0].removeprefix("file://"))
            / "artifacts"
            / "solution"
        )

    def manifest(self, version: int) -> dict[str, Any]:
        """What a version was made of."""
        return dict(read_json(self.solution(version) / "manifest.json"))

    def users(self, version: int) -> set[str]:
        """The pseudonyms in a version's id list."""
        return set((self.solution(version) / "users.txt").read_text().split())

    def told(self) -> dict[str, Any]:
        """The facts of the last night's report."""
        return dict(read_json(sorted(self.state.glob("reports/????-*.json"))[-1]))


@pytest.fixture(autouse=True)
def _register_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here works on a register that the machine's own environment names."""
    monkeypatch.delenv("LETHE_REGISTER_URL", raising=False)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Prefect server on loopback for all nights of this process; its private folder."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    settings = {"PREFECT_HOME": str(home), "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1",
         "--port", str(port), "--no-services"],
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**settings, "PREFECT_API_URL": address}.items():
            patch.setenv(name, value)
        try:
            deadline = time.monotonic() + 120
            while not answers(f"{address}/health"):
                assert server.poll() is None, "the Prefect server ended by itself"
                assert time.monotonic() < deadline, "the Prefect server did not start"
                time.sleep(0.1)
            yield home
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(10)


@pytest.fixture(scope="session")
def warm(prefect_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """The process from which kill tests fork their nights."""
    process = Warm(tmp_path_factory.mktemp("warm"))
    yield process
    process.close()


@pytest.fixture(scope="session")
def forks(warm: Warm) -> Iterator[None]:
    """Commands that are only waited for are forked too, from a process of their own."""
    process = warm.another()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Place, "forks", process)
        yield
    process.close()


@pytest.fixture
def nothing_runs_on(warm: Warm) -> Iterator[None]:
    """What a failed test left running would work in the next one's workspace."""
    yield
    warm.rest()


@dataclass(frozen=True)
class Saved:
    """A finished first night, and the one place where copies of it work."""

    root: Path
    copy: Path

    def restore(self) -> Place:
        """The workspace as it was after the first night."""
        let_go_of_databases()
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.copy, self.root, symlinks=True)
        return Place(self.root)

    def keep(self, name: str) -> Saved:
        """Save the place as it is now under another name."""
        copy = self.copy.with_name(name)
        shutil.copytree(self.root, copy, symlinks=True)
        return Saved(self.root, copy)


def let_go_of_databases() -> None:
    """Close what MLflow keeps open in this process: it would go on reading a file that is gone."""
    for name in ("tracking", "model_registry"):
        module = sys.modules.get(f"mlflow.store.{name}.sqlalchemy_store")
        for engine in list(module.SqlAlchemyStore._engine_map.values()) if module else ():
            engine.dispose()


@pytest.fixture(scope="session")
def first_night(forks: None, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Saved:
    """`lethe init`, thirty days of history, `lethe night`: version 1 is champion."""

    def make(folder: Path, made: Shop) -> None:
        (folder / "first-night.params.yaml").write_text(shop.SPACES)
        place = Place(made.root)
        place.root.mkdir()
        lay_keys(place.root)
        place.run("init", "--params", str(folder / "first-night.params.yaml"))
        shop.export(place.landing / "history.csv.gz", shop.history())
        shop.catalogue(place.landing)
        told = place.run("night")
        assert "night of" in told
        assert "promoted" in told

    made = shared(tmp_path_factory, worker_id, "first-night", make)
    place = made.copied(tmp_path_factory.mktemp("nights") / "shop")
    return Saved(place.root, place.root).keep("after-the-first-night")
