"""The rights of people: requests entered (`erase`, ...), extended and listed, and ids merged.

Ids come from a file or from standard input, never from the command line, where other users of the
machine and the shell's history would see them.
"""

from __future__ import annotations

from datetime import datetime
from typing import IO, Any, Literal

import click

from lethe.cli import printing
from lethe.cli.main import anywhere, id_list, in_workspace, takes_ids
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
    @takes_ids
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

        return enter(workspace, action, *id_list(source), received, reason)

    return run


@click.command(context_settings={"allow_extra_args": True})
@takes_ids
@click.option("--reason", required=True, help="A code that says why, without personal data.")
@in_workspace
def extend(workspace: Workspace, source: IO[bytes], reason: str) -> dict[str, Any]:
    """Extend the open requests of people by two months (GDPR Art. 12(3)).

    Once for each request, and only within a month of its receipt; within it you must tell the
    person so, and why. All are extended or none.
    """
    from lethe.desk.rights import extend as prolong

    return prolong(workspace, *id_list(source), reason)


@click.command(context_settings={"allow_extra_args": True})
@takes_ids
@in_workspace
def merge(workspace: Workspace, source: IO[bytes]) -> dict[str, Any]:
    """Say that two ids are the same person.

    What is asked for one is then entered for both. A CSV of two ids a row; all rows are entered or
    none. Two ids that stand differently are refused: first enter for the other what was asked for
    the one.
    """
    from lethe.desk.merging import merge as join

    return join(workspace, *id_list(source))


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

    No ids are shown, only positions in the register. With `--state due`, exits 1 if one is
    overdue.
    """
    from lethe.nights.forgetting.suppressing import made_at
    from lethe.reports.evidence import newest_page
    from lethe.reports.requests import listing, warning
    from lethe.stages import opening

    register = opening.open_register(workspace, opening.open_params(workspace))
    found = listing(register, state, opening.now(), made_at(workspace))
    headings = ("position", "action", "received", "due", "extended", "state", "rows_removed")
    rows = [["-" if entry[name] is None else entry[name] for name in headings] for entry in found]
    text = printing.table(headings, rows) if rows else f"no requests ({state})"
    page = newest_page(workspace)
    text += f"\nevidence of the requests closed last: {page}" if page else ""
    late = warning(sum(entry["overdue"] for entry in found)) if state == "due" else None
    return {
        "requests": found,
        "evidence_page": page,
        "text": text if late is None else f"{late}\n{text}",
        "exit_code": int(late is not None),
    }


@click.group("notices", invoke_without_command=True)
@anywhere
@click.pass_context
def notices(context: click.Context) -> None:
    """List the notices that recipients of people's data must be told (GDPR Art. 19).

    One a recipient and batch of requests: what was asked, of how many people, since when. No ids
    are shown; they stand in the files alone.
    """
    if context.invoked_subcommand is None:
        _waiting()


@in_workspace
def _waiting(workspace: Workspace) -> dict[str, Any]:
    from lethe.desk.estate.notices import waiting

    found = waiting(workspace)
    headings = ("file", "recipient", "asked", "people", "received")
    rows = [[notice[name] for name in headings] for notice in found]
    table = printing.table(headings, rows)
    where = f"they lie in {workspace.outbox}; `lethe notices sent` once they were delivered"
    return {
        "notices": found,
        "text": f"{table}\n\n{where}" if found else "no notice waits in the outbox",
    }


@notices.command()
@click.argument("files", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All notices that wait.")
@in_workspace
def sent(workspace: Workspace, files: tuple[str, ...], every: bool) -> dict[str, Any]:
    """Record that notices were delivered, and delete them.

    FILES as `lethe notices` names them. Their requests can be closed then. What is recorded holds
    no ids: recipient, what was asked, of how many people, the file's digest, when.
    """
    from lethe.desk.estate.notices import sent as deliver

    return deliver(workspace, files, every)


_REQUESTS = tuple(_verb(name, *verb) for name, verb in _VERBS.items())
COMMANDS = (*_REQUESTS, extend, merge, requests, notices)
