"""`scan`, `access`, `du`, `data`, `backup`, `restore`: the stores, who is in them, what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, Literal

import click

from lethe.cli import printing
from lethe.cli.main import anywhere, id_list, in_workspace, takes_ids
from lethe.estate.workspace import Workspace


@click.command(context_settings={"allow_extra_args": True})
@takes_ids
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

    found = look(workspace, *id_list(source), also)
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
@takes_ids
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
    from lethe.desk.access.disclosing import access as disclose

    return disclose(workspace, *id_list(source), form, out)


@click.command()
@in_workspace
def du(workspace: Workspace) -> dict[str, Any]:
    """Show the disk that each store takes."""
    from lethe.desk.estate.keeping import disk_use

    found = disk_use(workspace)
    total = {name: sum(entry[name] for entry in found) for name in ("files", "bytes")}
    rows = [[entry["store"], entry["files"], _size(entry["bytes"])] for entry in found]
    rows.append(["all", total["files"], _size(total["bytes"])])
    text = printing.table(("store", "files", "size"), rows)
    return {"stores": found, **total, "text": text}


def _size(size: float) -> str:
    """A size for people.

    >>> _size(999), _size(2_500_000)
    ('999 B', '2.5 MB')
    """
    for unit in ("B", "kB", "MB"):
        if size < 1_000:  # noqa: PLR2004
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1_000
    return f"{size:.1f} GB"


@click.group()
def data() -> None:
    """Retained data versions. VERSION is the beginning of a digest."""


@data.command("list")
@in_workspace
def list_versions(workspace: Workspace) -> dict[str, Any]:
    """List the retained versions, the oldest first."""
    from lethe.desk.estate.keeping import versions

    found = versions(workspace)
    rows = [list(entry.values()) for entry in found]
    text = printing.table(list(found[0]), rows) if found else "no data version yet"
    return {"data_versions": found, "text": text}


@data.command()
@click.argument("version")
@in_workspace
def show(workspace: Workspace, version: str) -> dict[str, Any]:
    """Show one version: counts, shards, what was trained on it."""
    from lethe.desk.estate.keeping import show as look

    return look(workspace, version)


@data.command()
@click.argument("version")
@click.argument("folder", type=click.Path(path_type=Path))
@in_workspace
def checkout(workspace: Workspace, version: str, folder: Path) -> dict[str, Any]:
    """Copy a version into FOLDER, which is empty and outside.

    No erasure reaches the copy: delete it when you are done.
    """
    from lethe.desk.estate.keeping import checkout as copy

    return copy(workspace, version, folder)


@data.command()
@click.argument("one")
@click.argument("other")
@in_workspace
def diff(workspace: Workspace, one: str, other: str) -> dict[str, Any]:
    """Count what differs between two versions."""
    from lethe.desk.estate.keeping import difference

    found = difference(workspace, one, other)
    first, second = found["versions"]
    headings = ("what", f"only in {first}", f"only in {second}", "in both")
    kinds = ("rows", "users", "items", "files")
    return {
        **found,
        "text": printing.table(headings, [[kind, *found[kind].values()] for kind in kinds]),
    }


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--register-only", is_flag=True, help="The register alone, into FILE (*.db).")
@in_workspace
def backup(workspace: Workspace, file: Path, register_only: bool) -> dict[str, Any]:
    """Write all stores but the register and the keys into FILE (*.tar.gz).

    Not beside a night, and of a workspace at rest only. The file is personal data that no erasure
    reaches.
    """
    from lethe.desk.backups.backing_up import back_up
    from lethe.desk.backups.registers import copy_out

    if register_only:
        return copy_out(workspace, file)
    return back_up(workspace, file)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--register",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The newest copy of the register, where the one here is empty.",
)
@anywhere
@click.pass_context
def restore(context: click.Context, file: Path, register: Path | None) -> None:
    """Put the stores of a backup in place and replay the register over them.

    Keys and register must be there; the folder must be the one that the backup was made in. Until
    the restore has ended every other command refuses. Killed, it is started again.
    """
    from lethe.desk.backups.restoring import restore as bring_back

    workspace = Workspace(context.obj["workspace"].resolve())
    printing.answer(bring_back(workspace, file, register), context.obj["json"])


COMMANDS = (scan, access, du, data, backup, restore)
