"""Solution versions: a registered MLflow model with the aliases `champion` and `challenger`.

A version is a logged model (the folder of `lethe.adapters.packing.model_folder`) and an
entry of the registry that points to it. MLflow knows no transaction over the two, so each call here
finds what a killed one left, by the artifact's digest, and ends it or clears it away. One process
at a time may record or destroy: the night's lock sees to that.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lethe.adapters.night_runs import ALLOWED_TAGS, NightRuns, allowed
from lethe.adapters.packing import id_lists, model_folder
from lethe.adapters.packing.connecting import at_server, connect, mlflow_errors
from lethe.adapters.packing.descriptions import described_with
from lethe.adapters.packing.destroying import hard_deleting, remove_files
from lethe.adapters.packing.id_lists import IdList
from lethe.durable import locked
from lethe.errors import BadInput, StoreUnavailable
from lethe.solutions.factors import artifact_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["ALLOWED_TAGS", "SolutionVersions", "VersionInfo"]

_CHAMPION, _CHALLENGER = "champion", "challenger"
_DIGEST, _SAME = "artifact_digest", "solution_digest"
_SHOWN = "mlflow.modelVersions"  # MLflow's page of a logged model lists its versions from this


@dataclass(frozen=True)
class VersionInfo:
    """A version in the registry; `created` in Unix seconds."""

    version: int
    tags: Mapping[str, str]
    run_id: str
    created: int


class SolutionVersions:
    """The solution versions of one workspace, and its `runs`.

    Args:
        tracking_uri: a database, `sqlite:///...` by default (destruction needs a database).
        artifacts: folder of the files.
        name: of the experiment and of the registered model.
        clock: Unix seconds.
    """

    def __init__(
        self,
        tracking_uri: str,
        artifacts: Path,
        name: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.tracking_uri, self.artifacts, self.name = tracking_uri, artifacts, name
        self.clock = clock

    @functools.cached_property
    def client(self) -> MlflowClient:
        """MLflow's client; the first use opens the store."""
        return connect(self.tracking_uri)

    @functools.cached_property
    def runs(self) -> NightRuns:
        """The runs of the experiment."""
        return NightRuns(self.client, self.artifacts, self.name, self.clock)

    @mlflow_errors("creating the store")
    def initialise(self) -> None:
        """Create database, experiment and registered model once; again changes nothing.

        MLflow's migration breaks a database that several processes create at once: call this
        before any worker starts, and it lets one process in at a time.
        """
        self.artifacts.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(self.artifacts.parent / "mlflow.lock", wait_seconds=300.0):
            self.runs.initialise()
            if not self.client.search_registered_models(f"name = '{self.name}'"):
                self.client.create_registered_model(self.name)
            if database := self._database():
                database.chmod(0o600)

    @mlflow_errors("recording a version")
    def record(
        self, run_id: str, solution_folder: Path, description: str, tags: Mapping[str, object]
    ) -> int:
        """Store a solution folder as a new version, or find the one that holds the same bytes.

        One that is served by anything but what Lethe writes today is not the same.

        Raises:
            BadInput: a tag that is not allowed.
        """
        labels = allowed(tags) | {_SAME: artifact_digest(solution_folder)}
        for known in self.versions():
            if known.tags.get(_SAME) == labels[_SAME] and self._as_written(known.version):
                return known.version
        self._clear()
        model = self.client.create_logged_model(
            self.runs.experiment_id, "solution", run_id, {_SAME: labels[_SAME]}
        )
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(solution_folder, Path(folder) / "solution")
            packed = Path(folder) / "model"
            model_folder.write(Path(folder) / "solution", packed, model.model_id)
            labels[_DIGEST] = artifact_digest(packed)
            self.client.log_model_artifacts(model.model_id, str(packed))
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        of = model.model_id if at_server(self.client) else None  # a server takes no source without
        created = self.client.create_model_version(
            self.name, model.artifact_location, run_id, labels, description=description, model_id=of
        )
        registered = json.dumps([{"name": self.name, "version": int(created.version)}])
        self.client.set_logged_model_tags(model.model_id, {_SHOWN: registered})
        return int(created.version)

    @mlflow_errors("listing versions")
    def versions(self) -> tuple[VersionInfo, ...]:
        """Every version that is not destroyed, ascending."""
        found = (
            VersionInfo(int(v.version), dict(v.tags), str(v.run_id), v.creation_timestamp // 1000)
            for v in self._registered()
        )
        return tuple(sorted(found, key=lambda info: info.version))

    def champion(self) -> int | None:
        """The version that serves, if there is one."""
        return self._alias(_CHAMPION)

    def challenger(self) -> int | None:
        """The version under judgement, if there is one."""
        return self._alias(_CHALLENGER)

    def set_champion(self, version: int | None) -> None:
        """Point `champion` to a version, or to none. Only the promotion protocol calls this."""
        self._set_alias(_CHAMPION, version)

    def set_challenger(self, version: int | None) -> None:
        """Point `challenger` to a version, or to none."""
        self._set_alias(_CHALLENGER, version)

    @mlflow_errors("tagging a version")
    def tag(self, version: int, tags: Mapping[str, object]) -> None:
        """Set tags of a version; BadInput for one that is not allowed."""
        for key, value in allowed(tags).items():
            self.client.set_model_version_tag(self.name, str(version), key, value)

    @mlflow_errors("describing a version")
    def describe(self, version: int, lines: Mapping[str, str]) -> None:
        """Write `Name: text` lines into the version's description, each over its older one."""
        described = self.client.get_model_version(self.name, str(version)).description or ""
        self.client.update_model_version(self.name, str(version), described_with(described, lines))

    @mlflow_errors("reading a version")
    def fetch(self, version: int, into: Path) -> Path:
        """Copy a version's model folder out of the store, to `into`/model; its solution folder.

        The files come as they are stored: `read_solution` judges them, and
        `lethe.adapters.packing.model_folder` those around them.
        """
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        stored = self.client.get_model_version(self.name, str(version))
        shutil.rmtree(target := into / "model", ignore_errors=True)
        into.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=into) as folder:
            repository: Any = get_artifact_repository(str(stored.source))
            (copy := Path(folder) / "model").mkdir()
            repository.download_artifacts("", str(copy))
            copy.rename(target)
        model_folder.tidy(target)
        if not (target / model_folder.SOLUTION).is_dir():
            raise StoreUnavailable(f"version {version} holds no solution any more")
        return target / model_folder.SOLUTION

    @mlflow_errors("reading id lists")
    def id_lists(self) -> tuple[IdList, ...]:
        """Who is in each stored version; one that cannot be read, nor served, is left out."""
        if (database := self._database()) is None:
            places = [str(stored.source) for stored in self._registered()]
        else:
            places = id_lists.sources(database, self.name) if database.is_file() else []
        return tuple(id_lists.fetched(places))

    def artifact_digest(self, version: int) -> str:
        """The digest of all that a version serves, code included, from the stored bytes now."""
        with tempfile.TemporaryDirectory() as folder:
            return artifact_digest(model_folder.around(self.fetch(version, Path(folder))))

    def _as_written(self, version: int) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            fetched = model_folder.around(self.fetch(version, Path(folder)))
            return all(model_folder.as_written(fetched).values())

    @mlflow_errors("destroying a version")
    def destroy(self, version: int, run: bool = False) -> None:
        """Delete a version for good: tags, entry, logged model, its files, free pages.

        MLflow keeps a redacted row, so a version number is never used again. With `run` the run
        that recorded it goes as well. A killed call is ended by repeating it.

        Raises:
            BadInput: the version is the champion.
            StoreUnavailable: a file or a record of it is left, or the store is no database.
        """
        if version == self.champion():
            raise BadInput(f"version {version} is the champion and cannot be destroyed")
        for stored in self._registered():
            if int(stored.version) == version:
                for key in stored.tags:
                    self.client.delete_model_version_tag(self.name, str(version), key)
                if run:
                    self.runs.destroy(str(stored.run_id))
                self.client.delete_model_version(self.name, str(version))
        self.sweep()
        if version in {info.version for info in self.versions()}:
            raise StoreUnavailable(f"version {version} is still registered")

    @mlflow_errors("sweeping")
    def sweep(self) -> None:
        """Destroy what a killed `record` or `destroy` left: models that no version points to."""
        self._clear()
        self._vacuum()

    def _registered(self) -> list[ModelVersion]:
        where = f"name = '{self.name}'"
        return list(self.client.search_model_versions(where, max_results=10_000))

    @mlflow_errors("reading an alias")
    def _alias(self, alias: str) -> int | None:
        version = self.client.get_registered_model(self.name).aliases.get(alias)
        return None if version is None else int(version)

    @mlflow_errors("moving an alias")
    def _set_alias(self, alias: str, version: int | None) -> None:
        if version is not None:
            self.client.set_registered_model_alias(self.name, alias, str(version))
        elif self._alias(alias) is not None:
            self.client.delete_registered_model_alias(self.name, alias)

    def _clear(self) -> None:
        """Destroy every logged model of ours that no version points to: files first, then rows."""
        store, used = hard_deleting(self.client), {v.source for v in self._registered()}
        listed = self.client.search_logged_models([self.runs.experiment_id], max_results=1000)
        for model in listed:
            if {_DIGEST, _SAME} & model.tags.keys() and model.artifact_location not in used:
                self.client.delete_logged_model(model.model_id)
        for model_id in store._get_deleted_logged_models():
            location = store.get_logged_model(model_id, allow_deleted=True).artifact_location
            remove_files(location)
            store._hard_delete_logged_model(model_id)

    def _database(self) -> Path | None:
        scheme, _, path = self.tracking_uri.partition(":///")
        return Path(path) if scheme == "sqlite" else None

    def _vacuum(self) -> None:
        """Rewrite the SQLite file, so that no free page keeps a deleted row."""
        if (database := self._database()) is None:
            return
        with contextlib.closing(
            sqlite3.connect(database, timeout=60, isolation_level=None)
        ) as link:
            link.execute("PRAGMA secure_delete=ON").close()
            link.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
            link.execute("VACUUM").close()
