"""The facts of a night as plain tables and Markdown: counts, scores, names of recipes, digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lethe.reports.page import intake_steps, split_steps
from lethe.reports.proving import layers
from lethe.reports.verdict import dig, proof, records
from lethe.reports.wording import count, decimal, digest, metric, number, solution

Row = dict[str, str | int]


def funnel(facts: Mapping[str, Any]) -> list[Row]:
    """What became of each row, from tonight's files to the windows, as far as it was counted."""
    parts = (("tonight's files", intake_steps(facts)), ("training", split_steps(facts)))
    return [
        {"part": part, "step": label, "rows": int(rows)}
        for part, bars in parts
        for label, rows, _ in bars
        if rows is not None
    ]


def leaderboard(rows: Sequence[Mapping[str, Any]], name: Any) -> list[Row]:
    """Who is how good by the metric `name`, with the 95 % interval; the best first."""
    return [
        {
            "place": int(number(row.get("place")) or 0),
            "solution": solution(row.get("name")),
            metric(name): decimal(row.get("mean")),
            "95 % interval": f"{decimal(row.get('low'))} to {decimal(row.get('high'))}",
        }
        for row in records(list(rows))
    ]


def certificate(facts: Mapping[str, Any]) -> str:
    """Whether deletion is proved, by which certificate and layers, as Markdown."""
    found, told = dig(facts, "certificate"), proof(facts)
    lines = [f"## {told.title}", "", *(f"{line}\n" for line in told.lines)]
    if told.tone == "good" and dig(found, "claim"):
        lines += [f"> {found['claim']}", ""]
    known = (
        ("Certificate", digest(dig(found, "digest"))),
        ("Version", f"{digest(dig(found, 'artifact_digest'))}, {dig(found, 'recipe')}"),
        ("Data version", digest(dig(found, "data_version"))),
        ("Register position", count(dig(found, "register_position"))),
    )
    lines += ["| | |", "|---|---|", *(f"| {name} | `{value}` |" for name, value in known), ""]
    lines += ["| Question | Answer | Measured | Limit |", "|---|---|---|---|"]
    lines += [
        f"| {layer['question']} | {layer['answer']} | {layer['number']} | {layer['limit']} |"
        for layer in layers.plain(facts)
    ]
    return "\n".join(lines)
