"""A membership audit as one self-contained page: no script, nothing from outside, nobody named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lethe.gate.audit.membership import MEMBERS, NEVER, NEVER_ALIKE, OUTSIDERS, SCORE_TEST
from lethe.gate.proof.report import BIN, FIRST_BIN, LAST_BIN
from lethe.reports import pictures
from lethe.reports.audit.pictures import Curve, rates
from lethe.reports.page import environment
from lethe.reports.pictures import Interval
from lethe.reports.proving.pictures import Cloud, Kind, Ruler, clouds
from lethe.reports.wording import number

_KINDS: Final[Mapping[str, tuple[Kind, str]]] = {
    OUTSIDERS: ("barred", "Kept out"),
    NEVER_ALIKE: ("unseen", "Never trained on, as long"),
    MEMBERS: ("member", "Members"),
    NEVER: ("unseen", "Never trained on"),
}
_LIRA_UNIT: Final = 10.0  # a tenth of the axis is one standard deviation


def render(facts: Mapping[str, Any]) -> str:
    """The page. `facts` are those of `lethe.desk.auditing`; the same facts give the same text."""
    attacks = list(facts["attacks"])
    of_outsiders = [one for one in attacks if one["name"] != SCORE_TEST]
    best = max(of_outsiders, key=lambda one: number(one["auc"]) or 0.0)
    return (
        environment()
        .get_template("audit.html")
        .render(
            facts=facts,
            attacks=attacks,
            best=best,
            curves=_curves(attacks),
            areas=_areas(attacks),
            lengths=_lengths(attacks),
            heads=[(str(one["name"]), True) for one in _shown(attacks)],
            groups=_groups(facts),
            champion=facts["champion"],
        )
    )


def _shown(attacks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The sharpest of each kind: without shadow models, LiRA, and the score test."""
    kinds: dict[str, Mapping[str, Any]] = {}
    for one in attacks:
        kind = str(one["name"]).split(",", maxsplit=1)[0]
        if kind not in kinds or (number(one["auc"]) or 0) > (number(kinds[kind]["auc"]) or 0):
            kinds[kind] = one
    return list(kinds.values())


def _curves(attacks: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        Curve(
            str(one["name"]),
            [(rate, share) for rate, share in one["curve"] if number(share) is not None],
            place,
        )
        for place, one in enumerate(_shown(attacks))
    ]
    title = "Members found, by the share of others that are named by mistake"
    return rates("rates", title, shown)


def _areas(attacks: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        Interval(
            str(one["name"]),
            number(one["auc"]),
            number(one["lowest"]),
            number(one["highest"]),
            "winner" if one["name"] == SCORE_TEST else "other",
        )
        for one in attacks
    ]
    return pictures.intervals("areas", "AUC of each attack, and of single shadow models", rows)


def _lengths(attacks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each range of lengths: people, and AUC and share found of the shown attacks."""
    found: dict[tuple[int, int | None], dict[str, Any]] = {}
    for one in _shown(attacks):
        for low, high, people, area, share in one["lengths"]:
            row = found.setdefault((low, high), {"people": people, "cells": []})
            row["label"] = f"{low} and more" if high is None else f"{low} to {high}"
            row["cells"].append((area, share))
    return list(found.values())


def _groups(facts: Mapping[str, Any]) -> str:
    """The champion's groups, by the sharpest attack: copies, or tenths of a standard deviation."""
    tested = facts["sharpest"] == SCORE_TEST
    scale = 1.0 if tested else _LIRA_UNIT
    held = {cloud["name"]: cloud for cloud in facts["clouds"]}
    rows = [
        Cloud(
            text,
            kind,
            [(round(place * BIN * scale, 9), people) for place, people in held[name]["bins"]],
            held[name]["silent"],
        )
        for name, (kind, text) in _KINDS.items()
        if name in held and held[name]["bins"]
    ]
    what = (
        "copies of a person's history"
        if tested
        else "standard deviations above models without them"
    )
    ruler = Ruler(FIRST_BIN * BIN * scale, (LAST_BIN + 1) * BIN * scale, BIN * scale, None, what)
    title = f"The champion's groups by {facts['sharpest']}"
    return clouds("groups", title, rows, ruler)
