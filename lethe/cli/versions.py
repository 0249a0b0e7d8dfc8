"""`status`, `verify`, `report`, `certificate`: what was trained, and the proof."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lethe.cli import printing
from lethe.cli.main import in_workspace
from lethe.estate.workspace import Workspace


@click.command()
@in_workspace
def status(workspace: Workspace) -> dict[str, Any]:
    """Champion, challenger, versions, data versions, register head, and what is due."""
    from lethe.desk.reviewing import status as look

    found = look(workspace)
    return {**found, "text": _screen(found)}


def _screen(found: dict[str, Any]) -> str:
    """Everything `status` knows, for one look."""
    champion = found["champion"]
    lines = [
        f"{found['name']}: "
        + ("no champion yet" if champion is None else f"champion is version {champion}")
        + ("" if found["challenger"] is None else f", challenger {found['challenger']}"),
    ]
    asked = printing.plain(found["requests"])
    lines.append(f"register at position {found['register_position']}; requests: {asked}")
    if found["unfinished_promotions"]:
        lines.append("a promotion was cut off; the next night ends it")
    if found["night_under_way"]:
        lines.append("a night is under way, or was killed; the next one takes it up")
    if found["versions"]:
        headings = list(found["versions"][0])
        rows = [[entry[name] for name in headings] for entry in found["versions"]]
        lines += ["", printing.table(headings, rows)]
    if found["data_versions"]:
        headings = list(found["data_versions"][0])
        rows = [[entry[name] for name in headings] for entry in found["data_versions"]]
        lines += ["", printing.table(headings, rows)]
    return "\n".join(lines)


@click.command()
@click.argument("version", required=False, type=click.IntRange(1))
@in_workspace
def verify(workspace: Workspace, version: int | None) -> dict[str, Any]:
    """Verify VERSION (default: the champion) against today's register; exits 1 if refused."""
    from lethe.desk.reviewing import verify_again

    return verify_again(workspace, version)


@click.command()
@click.argument("version", required=False, type=click.IntRange(1))
@in_workspace
def report(workspace: Workspace, version: int | None) -> dict[str, Any]:
    """Write the HTML report of VERSION (default: the last night) and say where it is."""
    from lethe.desk.reviewing import find_report

    return find_report(workspace, version)


@click.group()
def certificate() -> None:
    """Certificates of deletion verification."""


@certificate.command("check")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The public key (PEM).",
)
@click.pass_context
def check_certificate(context: click.Context, file: Path, key: Path) -> None:
    """Check FILE offline against a public key; needs no workspace."""
    from lethe.gate.proof.certificate import check, read_public_key

    found = check(file.read_bytes(), [read_public_key(key)])
    printing.answer(
        {"signature": "valid", "digest": found.digest, **found.predicate}, context.obj["json"]
    )


COMMANDS = (status, verify, report, certificate)
