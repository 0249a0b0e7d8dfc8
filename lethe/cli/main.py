"""The `lethe` command: every door a person uses, each a few lines over a step of the core."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import click

from lethe.cli import printing
from lethe.errors import BadRequest, LetheError

_FOLDER = click.Path(path_type=Path, file_okay=False)
_LAST_RESORT = 3
_OURS = (Path(__file__).parents[1], Path(__file__).parents[2] / "flows")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--workspace", type=_FOLDER, default=Path(), show_default="here", help="The workspace folder."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for machines.")
@click.version_option(package_name="lethe")
@click.pass_context
def lethe(context: click.Context, workspace: Path, as_json: bool) -> None:
    """Recommendation training that can forget.

    Exit codes: 0 done, 1 refused by a gate, 2 bad input or configuration, 3 an outside system
    failed.
    """
    context.obj = {"workspace": workspace, "json": as_json}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end with the exit code of the error, if any.

    `arguments` default to those of the process.
    """
    from lethe.cli import estate, nights, rights, setting_up, versions

    for module in (setting_up, nights, rights, versions, estate):
        for command in module.COMMANDS:
            lethe.add_command(command)
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = lethe(given, prog_name="lethe", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        message, code = _told(error)
        printing.failure(message, code, "--json" in given, getattr(error, "summary", None))
    if code:
        sys.exit(code)


def _told(error: BaseException) -> tuple[str, int]:
    """The one sentence and the exit code of whatever ended a command.

    An exception that is not ours is named by its class and place only: its message and its
    traceback could hold a row or an id.
    """
    if isinstance(error, LetheError):
        return str(error), error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError) or (
        isinstance(error, click.UsageError) and error.message.startswith("Missing command")
    ):
        return "a command is needed; `lethe --help` lists them", 2
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{error.format_message()} See `{error.ctx.command_path} --help`.", 2
    if isinstance(error, click.ClickException):
        return error.format_message(), 2
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return "stopped", _LAST_RESORT
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if any(Path(frame.filename).is_relative_to(folder) for folder in _OURS)
    ]
    place = f" at {frames[-1]}" if frames else ""
    return f"unexpected {type(error).__name__}{place}; nothing more is shown", _LAST_RESORT


def anywhere(function: Callable[..., Any]) -> Callable[..., Any]:
    """Take --workspace and --json after the command's name too."""

    def note(context: click.Context, option: click.Parameter, value: Any) -> None:
        if value:
            context.obj[option.name] = value

    for option in (
        click.option(
            "--json", is_flag=True, expose_value=False, callback=note, help="See `lethe --help`."
        ),
        click.option(
            "--workspace", type=_FOLDER, expose_value=False, callback=note,
            help="See `lethe --help`.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def in_workspace(function: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the opened, settled workspace to a command as its first argument, print its answer.

    An answer with an `exit_code` ends the process with it.
    """

    @click.pass_context
    @functools.wraps(function)
    def run(context: click.Context, /, **options: Any) -> None:
        from lethe.estate.process import settle
        from lethe.estate.workspace import Workspace

        workspace = Workspace.find(context.obj["workspace"])
        settle(workspace)
        found = function(workspace, **options)
        printing.answer(found, context.obj["json"])
        if found and found.get("exit_code"):
            context.exit(int(found["exit_code"]))

    return anywhere(run)


def takes_ids(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option --file to a command that takes ids, as the argument `source`."""
    return click.option(
        "--file",
        "source",
        type=click.File("rb"),
        default="-",
        help="Where the ids are; default: standard input.",
    )(function)


def id_list(source: IO[bytes]) -> tuple[bytes, str]:
    """The content and the name of an id list, which is never on the command line.

    Raises:
        BadRequest: there are words on the command line, where others would see them.
    """
    if click.get_current_context().args:
        raise BadRequest("ids come from --file or standard input, never from the command line")
    if source.isatty():
        print("ids, one a line; Ctrl-D ends the list", file=sys.stderr)
    return source.read(), str(getattr(source, "name", "standard input"))
