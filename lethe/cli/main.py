"""The `lethe` command: every door a person uses, each a few lines over a step of the core."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lethe.cli import printing
from lethe.errors import LetheError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--workspace",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="here",
    help="The workspace folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for machines.")
@click.version_option(package_name="lethe")
@click.pass_context
def lethe(context: click.Context, workspace: Path, as_json: bool) -> None:
    """Recommendation training that can forget.

    Exit codes: 0 done, 1 refused by a gate, 2 bad input or configuration, 3 an outside system
    failed.
    """
    context.obj = {"folder": workspace, "json": as_json}


def main() -> None:
    """Run the command and end with the exit code of the error, if any."""
    from lethe.cli import nights, rights, setting_up, versions

    for module in (setting_up, nights, rights, versions):
        for command in module.COMMANDS:
            lethe.add_command(command)
    as_json = "--json" in sys.argv
    try:
        lethe(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.Abort:
        click.echo("stopped", err=True)
        sys.exit(3)
    except click.ClickException as error:
        printing.failure(error.format_message(), 2, as_json)
        sys.exit(2)
    except LetheError as error:
        printing.failure(str(error), error.exit_code, as_json)
        sys.exit(error.exit_code)


def in_workspace(function: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the opened, settled workspace to a command as its first argument, print its answer."""
    import functools

    @click.pass_context
    @functools.wraps(function)
    def run(context: click.Context, /, **options: Any) -> None:
        from lethe.estate.process import settle
        from lethe.estate.workspace import Workspace

        workspace = Workspace.find(context.obj["folder"])
        settle(workspace)
        printing.answer(function(workspace, **options), context.obj["json"])

    return run
