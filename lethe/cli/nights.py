"""`night` and `experiment`, the flows, run here and now; `compare` and `audit` at leisure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lethe.cli.main import in_workspace
from lethe.estate.workspace import Workspace

_SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value of params.yaml, such as tuning.trials=20; can be repeated.",
)
_DATA = click.option("--data", "data_version", help="A data version's digest; default: the newest.")


@click.command()
@click.option(
    "--if-asked",
    is_flag=True,
    help="Only if a request of a person waits that a night now could bring further.",
)
@in_workspace
def night(workspace: Workspace, if_asked: bool) -> dict[str, Any]:
    """Run one night, from what landed to the report.

    The steps: intake, purge, version, split, tune, train, record, verify, promote, retire, report.
    Whatever is refused or fails, the champion stays. A night that was killed is taken up again.
    """
    if if_asked:
        from lethe.desk.rights import waiting_for_a_night

        if not waiting_for_a_night(workspace):
            return {"outcome": "nothing to do", "text": "no request waits for a night"}
    from flows.own_server import own_server
    from lethe.estate.process import importing
    from lethe.nights.saying.screen import screen

    with screen(), own_server() as ready:
        with importing():
            from flows.retrain import retrain
            from lethe.adapters.dvc_commands import start_ahead
            from lethe.adapters.packing.connecting import import_ahead

            import_ahead()
        start_ahead()
        ready()
        return dict(retrain(workspace=str(workspace.root)))


@click.command()
@click.option(
    "--space",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A YAML file of recipes and their search spaces, as below tuning.recipes in params.yaml.",
)
@_SET
@_DATA
@in_workspace
def experiment(
    workspace: Workspace, space: Path | None, overrides: tuple[str, ...], data_version: str | None
) -> dict[str, Any]:
    """Tune and compare recipes without ever promoting one."""
    from lethe.desk.experiments.experimenting import chosen
    from lethe.params import space_override

    if space is not None:
        overrides = (space_override(space), *overrides)
    chosen(workspace, overrides, data_version)  # a slip is told before anything is started
    from flows.own_server import own_server
    from lethe.estate.process import importing
    from lethe.nights.saying.screen import screen

    with screen(), own_server() as ready:
        with importing():
            from flows.experiment import experiment as flow
        ready()
        return dict(
            flow(
                workspace=str(workspace.root), overrides=list(overrides), data_version=data_version
            )
        )


@click.command()
@click.argument("first")
@click.argument("second")
@_SET
@_DATA
@in_workspace
def compare(
    workspace: Workspace,
    first: str,
    second: str,
    overrides: tuple[str, ...],
    data_version: str | None,
) -> dict[str, Any]:
    """Compare what two MLflow runs found, user by user.

    FIRST and SECOND are ids of runs, or their beginnings: nights, experiments or single trials.
    What they found is fitted again before the test window of one data version; shown are the
    differences with 95 % intervals. Nothing is stored or promoted.
    """
    from lethe.desk.experiments.comparing import compare_runs

    return compare_runs(workspace, (first, second), overrides, data_version)


@click.command()
@click.option(
    "--shadows",
    type=click.IntRange(4, 1_000),
    default=16,
    show_default=True,
    help="How many shadow models to fit.",
)
@click.option(
    "--targets",
    type=click.IntRange(20),
    default=1_000,
    show_default=True,
    help="How many people to ask about, at most.",
)
@in_workspace
def audit(workspace: Workspace, shadows: int, targets: int) -> dict[str, Any]:
    """Attack the champion with shadow models; a report, no gate.

    Fits the champion's recipe on random halves of its people and measures how well an attacker
    tells who was trained on (LiRA). Writes a page beside those of the nights; changes nothing.
    """
    from lethe.desk.auditing import audit as attack

    return attack(workspace, shadows, targets)


COMMANDS = (night, experiment, compare, audit)
