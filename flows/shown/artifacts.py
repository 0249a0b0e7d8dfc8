"""Artifacts of a run: progress, funnel, leaderboard and certificate, on Prefect's pages.

Made only on a server that outlives the run: on a command's own nobody could look at them. They
hold counts, scores and digests. One that cannot be made changes nothing about the night.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows import own_server
from lethe.nights.saying.events import STEPS, Counts, heard_by, say
from lethe.nights.telling import stored_facts
from lethe.reports.brief import tables

_WHOLE = 100.0


def lasting() -> bool:
    """Whether this is a flow run whose server is there when it has ended."""
    from prefect.runtime import flow_run
    from prefect.settings import get_current_settings

    address = get_current_settings().api.url
    return bool(flow_run.get_id() and address and not own_server.passes(address))


@contextlib.contextmanager
def progress(name: str) -> Iterator[None]:
    """Show during the block which of the eleven steps the night of the shop `name` has come to."""
    if not lasting():
        yield
        return
    from prefect.artifacts import create_progress_artifact, update_progress_artifact

    made: list[Any] = []  # the id of the one artifact
    _attempt(lambda: made.append(create_progress_artifact(0.0, _key(name, "progress"), "begins")))

    def hear(step: str, event: str, _: Counts) -> None:
        if made and event == "start" and step in STEPS and shown[-1] != step:
            shown.append(step)
            number = STEPS.index(step)
            told = f"step {number + 1} of {len(STEPS)}: {step}"
            _update(update_progress_artifact, made, _WHOLE * number / len(STEPS), told)

    shown = [""]
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
