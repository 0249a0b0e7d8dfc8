"""Solution versions in memory, with the words of lethe.adapters.solution_versions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lethe.adapters.night_runs import allowed
from lethe.adapters.packing import id_lists
from lethe.adapters.packing.descriptions import described_with
from lethe.adapters.packing.id_lists import IdList
from lethe.adapters.packing.model_folder import SOLUTION
from lethe.adapters.solution_versions import VersionInfo
from lethe.errors import BadInput, StoreUnavailable
from lethe.solutions.factors import artifact_digest


@dataclass
class FakeRun:
    """What one run was told."""

    tags: dict[str, str]
    parent: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    datasets: list[tuple[str, dict[str, int]]] = field(default_factory=list)
    note: str = ""
    status: str = "RUNNING"


class FakeNightRuns:
    """Stands where NightRuns stands; `kept` shows every run."""

    def __init__(self) -> None:
        self.kept: dict[str, FakeRun] = {}
        self.arranged_by = ""

    def open_night(
        self, night_id: str, tags: Mapping[str, object], title: str | None = None
    ) -> str:
        labels = allowed(tags) | {"night": night_id}
        for run_id, run in self.kept.items():
            if run.parent is None and run.tags["night"] == night_id:
                run.status = run.status if run.status == "FINISHED" else "RUNNING"
                return run_id
        return self._new(FakeRun(labels))

    def log_trial(
        self,
        parent: str,
        recipe: str,
        number: int,
        *,
        params: Mapping[str, Any],
        values: Mapping[str, float],
        state: str,
        duration: float,
        steps: Sequence[tuple[int, float]] = (),
        step_metric: str = "validation",
        tags: Mapping[str, object] | None = None,
    ) -> str:
        label = f"{recipe}/{number}"
        for run_id, run in self.kept.items():
            if run.parent == parent and run.tags["lethe.trial"] == label:
                return run_id
        labels = allowed({**(tags or {}), "recipe": recipe, "outcome": state})
        run_id = self._new(FakeRun(labels | {"lethe.trial": label}, parent))
        self.log_params(run_id, params)
        self.log_curve(run_id, step_metric, steps)
        self.log_metrics(run_id, {**values, "seconds": duration})
        status = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}[state]
        self.kept[run_id].status = status
        return run_id

    def arrange(self, metric: str) -> str:
        self.arranged_by = metric
        return "#/experiments/1"

    def log_dataset(self, run_id: str, digest: str, counts: Mapping[str, int]) -> None:
        self.kept[run_id].datasets.append((digest, dict(counts)))

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        for name, value in metrics.items():
            self.kept[run_id].metrics.setdefault(name, []).append((step, value))

    def log_curve(self, run_id: str, name: str, points: Sequence[tuple[int, float]]) -> None:
        self.kept[run_id].metrics.setdefault(name, []).extend(points)

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        self.kept[run_id].params |= {key: str(value) for key, value in params.items()}

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        self.kept[run_id].texts[artifact_file] = text

    def describe(self, run_id: str, markdown: str) -> None:
        self.kept[run_id].note = markdown

    def tag(self, run_id: str, tags: Mapping[str, object]) -> None:
        self.kept[run_id].tags |= allowed(tags)

    def end_run(self, run_id: str, status: str = "FINISHED") -> None:
        self.kept[run_id].status = status

    def _new(self, run: FakeRun) -> str:
        run_id = f"{len(self.kept):032x}"
        self.kept[run_id] = run
        return run_id


class FakeSolutionVersions:
    """Stands where SolutionVersions stands; a version's model folder is `folder`/<version>."""

    def __init__(self, folder: Path, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.folder, self.clock = folder, clock
        self.runs = FakeNightRuns()
        self.kept: dict[int, VersionInfo] = {}
        self.aliases: dict[str, int] = {}
        self.descriptions: dict[int, str] = {}
        self.last = 0

    def initialise(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def record(
        self, run_id: str, solution_folder: Path, description: str, tags: Mapping[str, object]
    ) -> int:
        digest = artifact_digest(solution_folder)
        labels = allowed(tags) | {"solution_digest": digest}
        for info in self.kept.values():
            if info.tags["solution_digest"] == digest:
                return info.version
        self.last += 1
        model = self.folder / str(self.last)
        shutil.copytree(solution_folder, model / SOLUTION)
        (model / "serving.py").write_text("pass\n")
        labels["artifact_digest"] = artifact_digest(model)
        self.descriptions[self.last] = description
        self.kept[self.last] = VersionInfo(self.last, labels, run_id, int(self.clock()))
        return self.last

    def versions(self) -> tuple[VersionInfo, ...]:
        return tuple(self.kept[version] for version in sorted(self.kept))

    def champion(self) -> int | None:
        return self.aliases.get("champion")

    def challenger(self) -> int | None:
        return self.aliases.get("challenger")

    def set_champion(self, version: int | None) -> None:
        self._point("champion", version)

    def set_challenger(self, version: int | None) -> None:
        self._point("challenger", version)

    def tag(self, version: int, tags: Mapping[str, object]) -> None:
        old = self._known(version)
        labels = dict(old.tags) | allowed(tags)
        self.kept[version] = VersionInfo(version, labels, old.run_id, old.created)

    def describe(self, version: int, lines: Mapping[str, str]) -> None:
        self._known(version)
        self.descriptions[version] = described_with(self.descriptions.get(version, ""), lines)

    def fetch(self, version: int, into: Path) -> Path:
        self._known(version)
        shutil.rmtree(into / "model", ignore_errors=True)
        return Path(shutil.copytree(self.folder / str(version), into / "model")) / SOLUTION

    def id_lists(self) -> tuple[IdList, ...]:
        return tuple(id_lists.fetched(str(self.folder / str(one)) for one in self.kept))

    def artifact_digest(self, version: int) -> str:
        self._known(version)
        return artifact_digest(self.folder / str(version))

    def destroy(self, version: int, run: bool = False) -> None:
        if version == self.champion():
            raise BadInput(f"version {version} is the champion and cannot be destroyed")
        info = self.kept.pop(version, None)
        self.aliases = {a: v for a, v in self.aliases.items() if v != version}
        shutil.rmtree(self.folder / str(version), ignore_errors=True)
        if run and info is not None:
            del self.runs.kept[info.run_id]

    def sweep(self) -> None:
        for path in self.folder.iterdir():
            if path.is_dir() and int(path.name) not in self.kept:
                shutil.rmtree(path)

    def _known(self, version: int) -> VersionInfo:
        if version not in self.kept:
            raise StoreUnavailable("MLflow, reading a version: RESOURCE_DOES_NOT_EXIST")
        return self.kept[version]

    def _point(self, alias: str, version: int | None) -> None:
        if version is None:
            self.aliases.pop(alias, None)
        else:
            self._known(version)
            self.aliases[alias] = version
