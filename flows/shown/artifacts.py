"""Artifacts of a run: progress, funnel, leaderboard and certificate, on Prefect's pages.

Made only on a server that outlives the run: on a command's own nobody could look at them. They
hold counts, scores and digests. One that cannot be made changes nothing about the night.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows import own_server
from lethe.nights.saying.events import STEPS, Counts, heard_by, say
from lethe.nights.telling import stored_facts
from lethe.reports.brief import tables

_WHOLE = 100.0
_SEARCH = "tune"
_PAUSE_SECONDS, _PAUSE_TIMES = 5.0, 100.0  # at least, and in times of what the last one took


def lasting() -> bool:
    """Whether this is a flow run whose server is there when it has ended."""
    from prefect.runtime import flow_run
    from prefect.settings import get_current_settings

    address = get_current_settings().api.url
    return bool(flow_run.get_id() and address and not own_server.passes(address))


@dataclass
class _Standing:
    """Where a night is; `searches` are the studies of its step tune, `best` is over all of them."""

    searches: int
    step: str = ""
    begun: int = 0
    iterations: int = 0
    trial: Counts = field(default_factory=dict)
    best: float = -math.inf

    def happened(self, step: str, event: str, counts: Counts) -> bool:
        """Take in an event; whether another step begins."""
        before, value = self.step, counts.get("value")
        if event == "start" and step in STEPS:
            self.step, self.trial, self.iterations = step, {}, 0
            self.begun += step == _SEARCH
        elif event == "trial":
            self.trial, self.iterations = counts, 0
            if isinstance(value, float) and value > self.best:
                self.best = value
        elif event == "iteration":
            self.iterations = int(counts["iterations"] or 0)
        return self.step != before

    def share(self) -> float:
        """Percent of the night: each step is as long as the others, each study as its like."""
        within = 0.0
        if self.step == _SEARCH and self.searches:
            done = (
                int(self.trial["trial"] or 0) / int(self.trial["trials"] or 1) if self.trial else 0
            )
            within = min(1.0, (self.begun - 1 + done) / self.searches)
        return _WHOLE * (STEPS.index(self.step) + within) / len(STEPS)

    def __str__(self) -> str:
        """The step; of a search its trials, the best score so far, and the present trial."""
        parts = [f"step {STEPS.index(self.step) + 1} of {len(STEPS)}: {self.step}"]
        if self.step == _SEARCH:
            if self.trial:
                parts.append("{recipe} {trial} of {trials} trials".format_map(self.trial))
            if self.best > -math.inf:
                parts.append(f"best {self.best:.4f}")
            if self.iterations:
                parts.append(f"next: {self.iterations} iterations")
        return ", ".join(parts)


@contextlib.contextmanager
def progress(
    name: str, searches: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Show during the block where the night of the shop `name` is.

    Which of the eleven steps; and while it tunes, with so many `searches`, trials and iterations,
    every few seconds at most, by a `clock` in seconds.
    """
    if not lasting():
        yield
        return
    from prefect.artifacts import create_progress_artifact, update_progress_artifact

    made: list[Any] = []  # the id of the one artifact
    _attempt(lambda: made.append(create_progress_artifact(0.0, _key(name, "progress"), "begins")))
    standing, due = _Standing(searches), [-math.inf]

    def hear(step: str, event: str, counts: Counts) -> None:
        another = standing.happened(step, event, counts)
        if made and (another or (standing.step == _SEARCH and clock() >= due[0])):
            asked = clock()
            _update(update_progress_artifact, made, standing.share(), str(standing))
            # A slow server is asked less often: it must not take time from the search.
            due[0] = (now := clock()) + max(_PAUSE_SECONDS, _PAUSE_TIMES * (now - asked))

    try:
        with heard_by(hear):
            yield
    finally:
        _update(update_progress_artifact, made, _WHOLE, "ended")


def night(name: str, result: Mapping[str, Any]) -> None:
    """Show what the night of the shop `name` found, from the facts beside its report."""
    if not lasting():
        return
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    def make() -> None:
        facts = stored_facts(Path(result["report"]))
        outcome = f"{facts['night']['outcome']}, night of {facts['night']['name']}"
        rows: list[dict[str, Any]] = [dict(row) for row in tables.funnel(facts)]
        create_table_artifact(rows, _key(name, "funnel"), outcome)
        if facts["leaderboard"]:
            board = _board(facts["leaderboard"], facts["metric"])
            create_table_artifact(board, _key(name, "leaderboard"), outcome)
        if facts["certificate"]:
            words = tables.certificate(facts)
            create_markdown_artifact(words, _key(name, "certificate"), outcome)

    _attempt(make)


def experiment(result: Mapping[str, Any]) -> None:
    """Show the leaderboard of an experiment."""
    if not lasting():
        return
    from prefect.artifacts import create_table_artifact

    board = _board(result["leaderboard"], result["metric"])
    key, said = _key(result["shop"], "experiment"), "experiment: nothing was promoted"
    _attempt(lambda: create_table_artifact(board, key, said))


def _board(rows: Sequence[Mapping[str, Any]], metric: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in tables.leaderboard(rows, metric)]


def _key(name: str, what: str) -> str:
    """Prefect's keys know small letters, digits and dashes; one shop has the same every night."""
    return re.sub(r"[^a-z0-9]+", "-", f"{name}-{what}".lower()).strip("-")


def _update(update: Callable[..., Any], made: list[Any], share: float, told: str) -> None:
    """One refusal is enough: a server that is gone must not cost a wait in every step."""
    if made and not _attempt(lambda: update(made[0], share, told)):
        made.clear()


def _attempt(make: Callable[[], Any]) -> bool:
    try:
        make()
    except Exception as error:  # whatever the server says: it is a picture less
        say("prefect", f"an artifact was not made: {type(error).__name__}")
        return False
    return True
