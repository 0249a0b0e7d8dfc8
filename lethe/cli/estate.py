"""`scan` and `access`: the stores of a workspace, who is in them, and what is held on whom."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Any, Literal

import click

from lethe.cli import printing
from lethe.cli.main import in_workspace
from lethe.errors import BadRequest
from lethe.estate.workspace import Workspace

_IDS = click.option(
    "--file",
    "source",
    type=click.File("rb"),
    default="-",
    help="Where the ids are; default: standard input.",
)


def _read(source: IO[bytes]) -> tuple[bytes, str]:
    """The content and the name of an id list, which is never on the command line."""
    if click.get_current_context().args:
        raise BadRequest("ids come from --file or standard input, never from the command line")
    if source.isatty():
        print("ids, one a line; Ctrl-D ends the list", file=sys.stderr)
    return source.read(), str(getattr(source, "name", "standard input"))


@click.command(context_settings={"allow_extra_args": True})
@_IDS
@click.option(
    "--also",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="A folder or file beside the workspace's stores, such as a backup; can be repeated.",
)
@in_workspace
def scan(workspace: Workspace, source: IO[bytes], also: tuple[Path, ...]) -> dict[str, Any]:
    """Search every store for people.

    Looks for ids and their pseudonyms in all encodings, archives, tables and databases. Says in
    which files they are, and never who. Exits 1 if anybody was found.

    The vault forgets the erased, so their ids must be given here.
    """
    from lethe.desk.estate.searching import scan as look

    found = look(workspace, *_read(source), also)
    return {**found, "text": _places(found)}


def _places(found: dict[str, Any]) -> str:
    lines = []
    if found["places"]:
        headings = ("store", "path", "how", "count")
        rows = [[place[name] for name in headings] for place in found["places"]]
        lines += [printing.table(headings, rows), ""]
    lines += [
        f"{'link, not followed' if one['link'] else 'not decoded to its end'}: {one['path']}"
        for one in found["undecoded"]
    ]
    told = f"found in {found['found']} files" if found["found"] else "nothing found"
    lines.append(
        f"{told}; searched for {found['asked']} people in {found['files_searched']} files, "
        f"{found['megabytes']} MB at {found['megabytes_per_second']} MB/s; "
        f"{len(found['undecoded'])} files not searched to their end"
    )
    if found["short_ids"]:
        lines.append(
            f"{found['short_ids']} ids have fewer than 8 bytes: they were looked for as they are, "
            "and only where ids may lie"
        )
    return "\n".join(lines)


@click.command(context_settings={"allow_extra_args": True})
@_IDS
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "csv"]),
    default="json",
    show_default=True,
    help="How the archive's members are written.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The archive (*.zip), or the folder it goes to; outside the workspace.",
)
@in_workspace
def access(
    workspace: Workspace, source: IO[bytes], form: Literal["json", "csv"], out: Path
) -> dict[str, Any]:
    """Write all that is held on people into one archive (GDPR Art. 15).

    Interactions, attributes, rows not taken in, factors and what they mean, recommendations,
    versions trained on, requests, recipients and retention. People are numbered in the order
    given. That nothing is held on somebody is an answer too: exits 0.
    """
    from lethe.desk.estate.disclosing import access as disclose

    return disclose(workspace, *_read(source), form, out)


COMMANDS = (scan, access)
