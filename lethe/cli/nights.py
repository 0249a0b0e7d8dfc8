"""`night` and `experiment`: the flows, run here and now."""

from __future__ import annotations

from typing import Any

import click

from lethe.cli.main import in_workspace
from lethe.estate.workspace import Workspace


@click.command()
@in_workspace
def night(workspace: Workspace) -> dict[str, Any]:
    """Run one night, from what landed to the report.

    The steps: intake, purge, version, split, tune, train, record, verify, promote, retire, report.
    Whatever is refused or fails, the champion stays. A night that was killed is taken up again.
    """
    from flows.retrain import retrain

    return dict(retrain(workspace=str(workspace.root)))


@click.command()
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value of params.yaml, such as tuning.trials=20; can be repeated.",
)
@click.option("--data", "data_version", help="A data version's digest; default: the newest.")
@in_workspace
def experiment(
    workspace: Workspace, overrides: tuple[str, ...], data_version: str | None
) -> dict[str, Any]:
    """Tune and compare recipes without ever promoting one."""
    from lethe.desk.experimenting import chosen

    chosen(workspace, overrides, data_version)  # a slip is told before anything is started
    from flows.experiment import experiment as flow

    return dict(
        flow(workspace=str(workspace.root), overrides=list(overrides), data_version=data_version)
    )


COMMANDS = (night, experiment)
