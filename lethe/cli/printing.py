"""What a command prints: one JSON object for machines, plain lines for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from lethe.nights.saying import events


def answer(result: Mapping[str, Any] | None, as_json: bool) -> None:
    """Print a command's result on standard output; a `text` entry is what people read."""
    if result is None:
        return
    if as_json:
        machine = {key: value for key, value in result.items() if key != "text"}
        click.echo(json.dumps(machine, indent=2, sort_keys=True, default=str))
    elif "text" in result:
        click.echo(result["text"])
    else:
        click.echo("\n".join(f"{key}: {plain(value)}" for key, value in result.items()))


def failure(
    message: str, exit_code: int, as_json: bool, summary: Mapping[str, Any] | None = None
) -> None:
    """Print why a command failed: JSON on standard output, or a line on standard error.

    What a command had to tell all the same goes to standard output as on success.
    """
    if as_json:
        machine = {key: value for key, value in (summary or {}).items() if key != "text"}
        told = {**machine, "error": message, "exit_code": exit_code}
        click.echo(json.dumps(told, indent=2, sort_keys=bool(machine), default=str))
    else:
        if summary is not None:
            answer(summary, as_json=False)
        if events.as_json():
            events.failed(message, exit_code)
        else:
            click.echo(f"lethe: {message}", err=True)


def plain(value: Any) -> str:
    """A value in one line.

    >>> plain({"rows": 3, "users": 2})
    'rows 3, users 2'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(plain(inner) for inner in value) or "none"
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value)


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns aligned with spaces.

    >>> print(table(("what", "n"), [("rows", 10)]))
    what  n
    rows  10
    """
    cells = [list(headings), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)
