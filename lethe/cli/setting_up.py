"""A workspace, an invented shop, the reviewer's window, the servers, keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lethe.cli import printing
from lethe.cli.main import anywhere, in_workspace
from lethe.estate.workspace import Workspace


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--params",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Sections to lay over the default params.yaml, such as a file of examples/.",
)
@anywhere
@click.pass_context
def init(context: click.Context, folder: Path | None, params: Path | None) -> None:
    """Make FOLDER (default: here) a workspace.

    What is there already is kept: a second time changes nothing.
    """
    from flows.own_server import own_server
    from lethe.desk.setting_up import initialise

    workspace = Workspace((folder or context.obj["workspace"]).resolve())
    printing.answer(initialise(workspace, params, own_server), context.obj["json"])


@click.command()
@click.option(
    "--days",
    type=click.IntRange(1),
    default=120,
    show_default=True,
    help="Length of the history to write.",
)
@click.option("--next-day", is_flag=True, help="One more day instead, with requests of rights.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Another seed is another shop.",
)
@click.option(
    "--users",
    type=click.IntRange(50),
    default=2_000,
    show_default=True,
    help="Shoppers, once all have arrived.",
)
@click.option(
    "--items",
    type=click.IntRange(20),
    default=800,
    show_default=True,
    help="Items, once all have arrived.",
)
@in_workspace
def sample(workspace: Workspace, **size: Any) -> dict[str, Any]:
    """Write the export files of an invented shop.

    They go to data/landing, and look like any other shop's.

    --next-day writes the day after the last one and files of ids who ask to be erased, and who
    object, into .lethe/requests.
    """
    from lethe.desk.setting_up import write_sample

    return write_sample(workspace, **size)


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=5000,
    show_default=True,
    help="Where it listens, on 127.0.0.1.",
)
@in_workspace
def ui(workspace: Workspace, port: int) -> None:
    """Open the MLflow UI on this workspace.

    It listens on loopback only and runs until it is interrupted.
    """
    from lethe.desk.setting_up import serve_ui

    serve_ui(workspace, port)


@click.command()
@click.option(
    "--move",
    is_flag=True,
    help="Carry nights and requests that lie in this workspace's files over into the databases.",
)
@in_workspace
def up(workspace: Workspace, move: bool) -> dict[str, Any]:
    """Start PostgreSQL, MLflow, Prefect's server and a worker.

    On 127.0.0.1, each with a password, in the background. What runs already is left alone, and
    what died is started again. From the first time on, every command of this workspace uses them.
    """
    from lethe.desk.stack.running import Deploying, bring_up

    def before() -> None:
        from flows.deploying import make_ready

        make_ready(workspace)

    def beside() -> None:
        from flows.deploying import deploy
        from lethe.desk.stack.deployments import written

        deploy(workspace, written(workspace), workspace.stack / "logs" / "deploy.log")

    return bring_up(workspace, Deploying(before, beside), move)


@click.command()
@in_workspace
def down(workspace: Workspace) -> dict[str, Any]:
    """End what `lethe up` started, and wait until it has ended."""
    from flows.killed import processes
    from lethe.desk.stack.running import take_down

    return take_down(workspace, lambda: processes(workspace))


@click.command()
@in_workspace
def serve(workspace: Workspace) -> None:
    """Run the deployments on their schedules, without a worker.

    Prefect's `serve`. Needs a Prefect server (PREFECT_API_URL, or `lethe up`), and runs until it
    is interrupted.
    """
    from flows.deploying import serve as run
    from lethe.desk.stack.deployments import written

    run(workspace, written(workspace))


@click.group()
def keys() -> None:
    """The keys of a workspace."""


@keys.command("replace")
@click.argument("name", type=click.Choice(["signing", "pseudonym"]))
@in_workspace
def replace_key(workspace: Workspace, name: str) -> dict[str, Any]:
    """Replace a key by a new one from now on.

    NAME is `signing`: certificates are signed by the new key, and those by the former still count.
    Or it is `pseudonym`: every stored name is changed under a new key, in every retained data
    version; run `lethe night` right after it. The tombstone key cannot be replaced.
    """
    from lethe.desk.estate.replacing import replace_key as replace

    return replace(workspace, name)


COMMANDS = (init, sample, ui, up, down, serve, keys)
