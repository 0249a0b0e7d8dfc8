"""The rights of people: `erase`, `object`, `withdraw`, `restrict`, `release`, `reconsent`.

Ids come from a file or from standard input, never from the command line, where other users of the
machine and the shell's history would see them.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import IO, Any, Literal

import click

from lethe.cli import printing
from lethe.cli.main import in_workspace
from lethe.errors import BadRequest
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.standing import Action

_HOW = (
    "Ids are one a line, or a CSV column headed like the users' column in params.yaml. All are "
    "entered or none."
)
Which = Literal["open", "due", "closed", "all"]
_VERBS = {
    "erase": (Action.ERASE, "Erase people from every copy (GDPR Art. 17)."),
    "object": (Action.OBJECT, "Keep people out of training (GDPR Art. 21)."),
    "withdraw": (Action.WITHDRAW_OBJECTION, "Take an objection back."),
    "restrict": (Action.RESTRICT, "Put people under restriction or legal hold (GDPR Art. 18)."),
    "release": (Action.RELEASE, "End a restriction."),
    "reconsent": (Action.RECONSENT, "Let erased people start afresh under a new pseudonym."),
}


def _verb(name: str, action: Action, sentence: str) -> click.Command:
    @click.command(
        name,
        short_help=sentence,
        help=f"{sentence}\n\n{_HOW}",
        context_settings={"allow_extra_args": True},
    )
    @click.option(
        "--file",
        "source",
        type=click.File("rb"),
        default="-",
        help="Where the ids are; default: standard input.",
    )
    @click.option(
        "--received",
        type=click.DateTime(["%Y-%m-%d"]),
        help="When the request came in; default: now.",
    )
    @click.option(
        "--reason",
        default="data-subject-request",
        show_default=True,
        help="A code, without personal data.",
    )
    @in_workspace
    def run(
        workspace: Workspace, source: IO[bytes], received: datetime | None, reason: str
    ) -> dict[str, Any]:
        from lethe.desk.rights import enter

        if click.get_current_context().args:
            raise BadRequest("ids come from --file or standard input, never from the command line")
        if source.isatty():
            print("ids, one a line; Ctrl-D ends the list", file=sys.stderr)
        name_of_source = getattr(source, "name", "standard input")
        return enter(workspace, action, source.read(), str(name_of_source), received, reason)

    return run


@click.command()
@click.option(
    "--state",
    type=click.Choice(["open", "due", "closed", "all"]),
    default="all",
    show_default=True,
    help="`due` is open and due within a week, or overdue.",
)
@in_workspace
def requests(workspace: Workspace, state: Which) -> dict[str, Any]:
    """List requests and where each stands.

    No ids are shown, only positions in the register.
    """
    from lethe.reports.requests import listing
    from lethe.stages import opening

    register = opening.open_register(workspace, opening.open_params(workspace))
    found = listing(register, state, opening.now())
    headings = ("position", "action", "received", "due", "state", "rows_removed")
    rows = [[entry[name] for name in headings] for entry in found]
    text = printing.table(headings, rows) if rows else f"no requests ({state})"
    return {"requests": found, "text": text}


COMMANDS = (*(_verb(name, *verb) for name, verb in _VERBS.items()), requests)
