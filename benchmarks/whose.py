"""Whose a night's seconds are: one night in this process, its calls timed at the adapters' edges.

    python -m benchmarks.whose WORKSPACE BEGAN INTO

For benchmarks/orchestration.py. Each second belongs to whoever was entered last: a tool where the
night calls its adapter, a recipe's fit and the evaluation of what it learned, Lethe within a step
outside of these. What is left is Prefect's: its server's start, its engine, Python's own start.
The tools' threads and processes count as far as the night waits for them. BEGAN is this process's
start by the monotonic clock; owners and seconds are written to INTO as one JSON object.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

FITS, PREFECT, DVC, MLFLOW, OPTUNA = "fits and scores", "Prefect", "DVC", "MLflow", "Optuna"
PURGE, PROOF, REPORT, REST = (
    "Lethe: intake, purge, split",
    "Lethe: replay and verification",
    "Lethe: report",
    "Lethe: the rest",
)
STEPS = {
    "intake": PURGE, "purge": PURGE, "version": PURGE, "split": PURGE, "verify": PROOF,
    "report": REPORT, "tune": REST, "train": REST, "record": REST, "promote": REST, "retire": REST,
    "take_up": REST, "is_new": REST, "put_down": REST, "remember": REST, "conclude": REST,
}  # fmt: skip


class Clock:
    """Seconds by owner: of whoever was entered last, until that is left."""

    def __init__(self, owner: str, began: float) -> None:
        self.owners, self.since = [owner], began
        self.spent: dict[str, float] = defaultdict(float)

    def turn(self) -> None:
        """Write down what the present owner has had until now."""
        now = time.perf_counter()
        self.spent[self.owners[-1]] += now - self.since
        self.since = now

    @contextlib.contextmanager
    def of(self, owner: str) -> Iterator[None]:
        """Whose the block is, unless another is entered in it. A replay's fit is the proof's."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        if owner == FITS and PROOF in self.owners:
            owner = PROOF
        self.turn()
        self.owners.append(owner)
        try:
            yield
        finally:
            self.turn()
            self.owners.pop()

    def owned(self, owner: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, whose seconds are the owner's."""

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with self.of(owner):
                return function(*args, **kwargs)

        return run


def at_the_edges(clock: Clock) -> None:
    """Put the clock around every step, and around every tool where a step calls it."""
    from lethe.adapters import data_versions, night_runs, solution_versions
    from lethe.nights import frame, steps
    from lethe.nights.learning import tuning, window
    from lethe.solutions import setting

    for name, owner in STEPS.items():
        setattr(steps, name, clock.owned(owner, getattr(steps, name)))
    for owner, adapter in (
        (DVC, data_versions.DataVersions),
        (MLFLOW, night_runs.NightRuns),
        (MLFLOW, solution_versions.SolutionVersions),
    ):
        for name, method in vars(adapter).copy().items():
            if callable(method) and not name.startswith("__"):
                setattr(adapter, name, clock.owned(owner, method))
    for place, name, timing in (
        (tuning, "tune", _searching),
        (window, "evaluate", _scoring),
        (setting, "recipe", _fitting),
        (frame, "under_way", _framed),
    ):
        setattr(place, name, timing(clock, getattr(place, name)))


def _searching(clock: Clock, search: Callable[..., Any]) -> Callable[..., Any]:
    """A study is Optuna's; what it calls back is ours, until that calls Optuna again."""

    def tune(storage: Any, study: Any, space: Any, objective: Any, **options: Any) -> Any:
        def tried(values: Any, report: Any) -> Any:
            with clock.of(REST):
                return objective(values, clock.owned(OPTUNA, report))

        options["on_trial"] = clock.owned(REST, options["on_trial"])
        return search(storage, study, space, tried, **options)

    return clock.owned(OPTUNA, tune)


def _scoring(clock: Clock, evaluate: Callable[..., Any]) -> Callable[..., Any]:
    return clock.owned(FITS, evaluate)


def _fitting(clock: Clock, recipe: Callable[..., Any]) -> Callable[..., Any]:
    def timed(name: str) -> Any:
        entry = recipe(name)
        further = entry.fit_to_rest
        return dataclasses.replace(
            entry,
            fit=clock.owned(FITS, entry.fit),
            fit_to_rest=None if further is None else clock.owned(FITS, further),
        )

    return timed


def _framed(clock: Clock, under_way: Callable[..., Any]) -> Callable[..., Any]:
    @contextlib.contextmanager
    def timed(folder: str) -> Iterator[Any]:
        with contextlib.ExitStack() as stack:
            with clock.of(REST):
                night = stack.enter_context(under_way(folder))
            yield night
            with clock.of(REST):
                stack.close()

    return timed


def main() -> None:
    """Run the night as `lethe night` does, and write down whose its seconds were."""
    workspace, began, into = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    clock = Clock(PREFECT, began)
    from flows import own_server
    from lethe.adapters.packing import connecting
    from lethe.cli.main import main as lethe
    from lethe.estate.process import importing

    starting = own_server.own_server

    @contextlib.contextmanager
    def started(wait_seconds: float = 120.0) -> Iterator[Callable[[], None]]:
        with starting(wait_seconds) as ready:
            with importing():
                with clock.of(REST):
                    import lethe.nights.steps  # noqa: F401
                with clock.of(MLFLOW):
                    connecting.import_ahead()
            at_the_edges(clock)
            yield ready

    own_server.own_server = started
    try:
        lethe(["--workspace", workspace, "night"])
    finally:
        clock.turn()
        into.write_text(json.dumps(clock.spent), encoding="utf-8")


if __name__ == "__main__":
    main()
