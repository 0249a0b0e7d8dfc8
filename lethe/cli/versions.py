"""`status`, `verify`, `recommend`, `certificate` and others: what was trained, and the proof."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from lethe.cli import printing
from lethe.cli.main import anywhere, in_workspace
from lethe.errors import VerificationRefused
from lethe.estate.workspace import Workspace


@click.command()
@in_workspace
def status(workspace: Workspace) -> dict[str, Any]:
    """Show champion, versions, register and requests.

    One screen: champion, challenger, solution and data versions, the register's position, and how
    many requests are open, due or overdue. And the safe set: what a rollback could go to. Exits 1
    if a request is overdue, or the last night was killed.
    """
    from lethe.desk.reviewing import status as look

    found = look(workspace)
    amiss = found["requests"]["overdue"] > 0 or found["night_killed"]
    return {**found, "text": _screen(found), "exit_code": int(amiss)}


def _screen(found: dict[str, Any]) -> str:
    """Everything `status` knows, for one look."""
    from lethe.reports.requests import warning

    champion = found["champion"]
    lines = [
        f"{found['name']}: "
        + ("no champion yet" if champion is None else f"champion is version {champion}")
        + ("" if found["challenger"] is None else f", challenger {found['challenger']}"),
    ]
    asked = printing.plain(found["requests"])
    lines.append(f"register at position {found['register_position']}; requests: {asked}")
    if found["evidence_page"]:
        lines.append(f"evidence of the requests closed last: {found['evidence_page']}")
    if found["night_killed"]:
        lines.insert(0, "the last night was killed: `lethe night` takes it up again")
    if late := warning(found["requests"]["overdue"]):
        lines.insert(0, late)
    hidden = found["suppressed"]
    if hidden["people"] is not None:
        lines.append(f"suppressed: {hidden['people']} people, by {hidden['file']}")
    if hidden["fault"]:
        lines.append(f"list of the suppressed: {hidden['fault']}")
    if found["notices_waiting"]:
        lines.append(f"{found['notices_waiting']} notices wait in the outbox: `lethe notices`")
    if found["unfinished_promotions"]:
        lines.append("a promotion was cut off; the next night ends it")
    if found["night_under_way"]:
        lines.append("a night is under way")
    if found["versions"]:
        headings = list(found["versions"][0])
        rows = [[entry[name] for name in headings] for entry in found["versions"]]
        lines += ["", printing.table(headings, rows)]
        safe = [f"version {number}" for number in found["safe_set"]]
        lines += [f"a rollback could go to: {', '.join(safe) or 'no version'}"]
        lines += [
            f"  version {n} is not safe: {'; '.join(why)}" for n, why in found["unsafe"].items()
        ]
    if found["data_versions"]:
        headings = list(found["data_versions"][0])
        rows = [[entry[name] for name in headings] for entry in found["data_versions"]]
        lines += ["", printing.table(headings, rows)]
    return "\n".join(lines)


@click.command()
@click.argument("version", required=False, type=click.IntRange(1))
@in_workspace
def verify(workspace: Workspace, version: int | None) -> dict[str, Any]:
    """Verify a version against today's register.

    VERSION defaults to the champion. A new certificate replaces the old one; exits 1 if the
    verdict is not VERIFIED. A proof that can only not be repeated here exits 1 too, and the old
    certificate stays.
    """
    from lethe.desk.reviewing import verify_again

    return verify_again(workspace, version)


@click.command()
@click.argument("version", type=click.IntRange(1))
@in_workspace
def rollback(workspace: Workspace, version: int) -> dict[str, Any]:
    """Make an older VERSION champion again.

    It is verified anew, against today's register, and promoted only if it passes; the quality
    rule is not asked. Exits 1 if it does not pass: the champion stays.
    """
    from lethe.desk.rolling_back import roll_back

    return roll_back(workspace, version)


@click.command()
@click.option(
    "--k", type=click.IntRange(1, 10_000), help="How many items each list has at most; 100."
)
@click.option(
    "--items-already-seen",
    type=click.Choice(["drop", "keep"]),
    help="What becomes of items that a user has in the training set; drop.",
)
@click.option("--format", type=click.Choice(["csv", "parquet"]), help="How it is written; csv.")
@in_workspace
def recommend(workspace: Workspace, **told: Any) -> dict[str, Any]:
    """Write what the champion recommends to everybody.

    The top items of every user who may be served, with the shop's own ids, into
    data/recommendations, whole or not at all. Whoever is erased, objects or is restricted
    afterwards is taken out at once. What is not told here is as in params.yaml.
    """
    from lethe.desk.estate.recommending import recommend as write

    return write(workspace, **told)


@click.command()
@click.argument("version", required=False, type=click.IntRange(1))
@in_workspace
def report(workspace: Workspace, version: int | None) -> dict[str, Any]:
    """Say where an HTML report lies.

    That of the night that made VERSION; without one, that of the last night.
    """
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
@anywhere
@click.pass_context
def check_certificate(context: click.Context, file: Path, key: Path) -> None:
    """Check FILE offline against a public key.

    Needs no workspace. Exits 1 if another key signed it, a byte was changed, or its verdict is
    not VERIFIED.
    """
    from lethe.gate.proof.certificate import check, read_public_key

    found = check(file.read_bytes(), [read_public_key(key)])
    if found.verdict != "VERIFIED":
        raise VerificationRefused(f"the certificate is genuine, and its verdict is {found.verdict}")
    facts = {"signature": "valid", "digest": found.digest, **found.predicate}
    printing.answer({**facts, "text": _reading(facts)}, context.obj["json"])


def _reading(facts: Mapping[str, Any]) -> str:
    """A certificate's facts for a person; each layer on a line of its own."""
    layers = [
        f"  {layer['layer']}: {'passed' if layer['passed'] else 'not passed'} ({layer['value']}; "
        f"asked for: {layer['threshold']})"
        for layer in facts["layers"]
    ]
    issued = datetime.fromtimestamp(facts["issued"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    rest = {
        name: value
        for name, value in facts.items()
        if name not in {"signature", "verdict", "claim", "layers", "issued"}
    }
    return "\n".join(
        [
            f"signature: {facts['signature']}",
            f"verdict: {facts['verdict']}, issued {issued}",
            *layers,
            facts["claim"],
            *(f"{name}: {printing.plain(value)}" for name, value in rest.items()),
        ]
    )


COMMANDS = (status, verify, rollback, recommend, report, certificate)
