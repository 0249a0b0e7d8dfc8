"""Layer 6: is anybody who must not be there in the item factors all the same?

The layer measures its own power in every run (`controls`). Where members pretended erased and
people never seen cannot be told apart, it does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy

from lethe.gate.proof.algebra import Doubles, confidences
from lethe.gate.proof.als import controls, faintness
from lethe.gate.proof.als.contribution import Field, People
from lethe.gate.proof.als.objective import Objective
from lethe.gate.proof.layers import findings_of
from lethe.gate.proof.report import LARGEST_DETAILS, Cloud, Control, Finding, LayerResult

LARGEST_SHARE = 0.25
APART = 0.5
LEAST_RIGHT = 0.99
COHORT_CHANCE = 1e-3
CONTROLS = 400
BARRED = "people who must not be there"
UNSEEN = "people never seen"
MEMBERS = "members pretended erased"
ADVICE = "more iterations, or a higher regularization, so that the fit comes to rest"

# Below this part of a usual member's weight, the quotient a is noise over noise.
_NEGLIGIBLE = 1e-9
# People solved for at once: the joint regression holds their square.
_JOINT = 1_000


@dataclass(frozen=True, eq=False, repr=False)
class Group:
    """Some people who must not be there. `alone` and `joint` are a, NaN without a measurable
    contribution; `lengths` counts the items of each that the artifact knows.
    """

    name: str
    alone: Doubles
    joint: Doubles
    lengths: controls.Indices
    chance: float = 1.0

    def lowest(self) -> float:
        """The smallest a, 0 for a group without a measurable contribution."""
        return float(min(np.nanmin(a, initial=0.0) for a in (self.alone, self.joint)))

    def told(self) -> str:
        """Counts and extremes, in one clause."""
        held = self.joint[np.isfinite(self.joint)]
        silent = len(self.joint) - len(held)
        parts = [f"{len(self.joint)} {self.name}"]
        if len(held):
            parts.append(f"a {held.min():.3f} to {held.max():.3f}, cohort p {self.chance:.2g}")
        if silent:
            parts.append(f"{silent} without a measurable contribution")
        return ": ".join((parts[0], ", ".join(parts[1:])))


def contribution(  # noqa: PLR0913
    objective: Objective,
    field: Field,
    suspects: Mapping[str, Any],
    seed: int,
    canaries: Sequence[int] = (),
    untested: int = 0,
    scale: Doubles | None = None,
) -> LayerResult:
    """Layer 6: the share of each suspect's history in the item factors.

    `suspects` maps a group's name to weights in the retained items, float32 CSR, one row a person.
    `seed` draws the controls. An empty mapping is answered by the controls alone. `canaries` are
    retained rows who must be found like members; `untested` counts erased canaries without one.
    `scale`, |left| + |right| of each item, is given where weights are uneven, since they fade or
    are discounted: then whoever is too faint is not asked about, as a suspect or as a control
    (`lethe.gate.proof.als.faintness`).
    """
    draw = np.random.default_rng(seed)
    members = controls.members(objective.confidence, CONTROLS, draw)
    usual = float(np.median(People.of(objective.confidence[members], field).size))
    least = usual * _NEGLIGIBLE
    groups, adjusted = _measured(objective, field, suspects, least)
    lengths = _lengths(objective, members, groups, draw)
    unseen = controls.never_seen(objective.confidence, lengths, draw)
    settled: tuple[Control, ...] = ()
    faint = 0
    if scale is not None:
        known = (People.of(rows, adjusted) for rows in (objective.confidence[members], unseen))
        noise = faintness.noise(tuple(known))
        settled = (faintness.settled(noise, usual),)
        least = max(least, faintness.least_size(noise))
        groups, adjusted = _measured(objective, field, suspects, least)
        faint = sum(int(np.isnan(group.joint).sum()) for group in groups)
    groups = [_against(group, _shares(People.of(unseen, field), least)) for group in groups]
    present = 1.0 + _shares(People.of(objective.confidence[members], adjusted), least)
    absent = _shares(People.of(unseen, adjusted), least)
    highest = float(np.max(absent, initial=0.0, where=np.isfinite(absent)))
    threshold = float(np.clip(highest, LARGEST_SHARE, APART))
    answers: tuple[Control, ...] = (
        *settled,
        _right("members pretended erased, a above 0.5", present, present > APART),
        _right("people never seen, a below 0.5", absent, absent < APART),
    )
    if canaries:
        living = People.of(objective.confidence[list(canaries)], adjusted)
        whole = 1.0 + _shares(living, least)
        answers += (_right("living canaries pretended erased, a above 0.5", whole, whole > APART),)
    power = [f"{untested} erased canaries whose histories are gone: not tested"] * bool(untested)
    if groups:
        # Nobody can be in the factors less than not at all: far below 0 is a fit that still moves.
        answers += (_lowest(groups),)
        alike = controls.alike(objective.confidence, lengths, draw)
        power.append(_power(People.of(objective.confidence[alike], adjusted), least))
    valid = all(answer.passed for answer in answers)
    if faint and scale is not None:
        answers += (faintness.negligible(_faint(objective, field, suspects, groups), scale),)
    told = all(answer.passed for answer in answers)
    judged = _judged(groups, threshold)
    return LayerResult(
        layer="contribution",
        question="Is the history of anybody who must not be there in the item factors?",
        threshold=f"a below {threshold:.2f} for each person, chance of each group above "
        f"{COHORT_CHANCE}, controls right in {LEAST_RIGHT:.0%}",
        value="; ".join([*(group.told() for group in groups)] or ["nobody to test; controls only"])
        + "".join(f"; {clause}" for clause in power),
        findings=_findings(groups, judged, threshold) if valid else (),
        conclusive=told,
        statistic="a: copies of one person's history in the item factors "
        "(joint regression; alone against people never seen)",
        controls=answers,
        advice="" if told else ADVICE if scale is None else f"{faintness.ADVICE}, or {ADVICE}",
        details=tuple(_shares_of(group) for group in groups),
        measured=_highest(judged),
        limit=threshold,
        power=_reaching("members pretended erased would be found", present, threshold)
        + (
            f"; {int(np.isnan(present).sum())} were too faint to be asked about"
            * (scale is not None)
        ),
        false_alarms=_reaching("people never seen would be named", absent, threshold),
        faint=faint,
        clouds=(
            Cloud.of(BARRED, np.concatenate([np.empty(0), *judged])),
            Cloud.of(UNSEEN, absent),
            Cloud.of(MEMBERS, present),
        ),
    )


def _shares_of(group: Group) -> dict[str, Any]:
    """The largest a of a group, without whose each one is."""
    held = np.sort(group.joint[np.isfinite(group.joint)])[::-1][:LARGEST_DETAILS]
    return {"group": group.name, "shares": [round(float(a), 4) for a in held]}


def _faint(
    objective: Objective, field: Field, suspects: Mapping[str, Any], groups: list[Group]
) -> People:
    """Suspects without a share, whatever their group."""
    rows = scipy.sparse.vstack(
        [rows for _, rows in sorted(suspects.items()) if rows.shape[0]], "csr"
    )
    silent = np.flatnonzero(np.isnan(np.concatenate([group.joint for group in groups])))
    return People.of(confidences(rows[silent], objective.alpha), field)


def _measured(
    objective: Objective, field: Field, suspects: Mapping[str, Any], least: float
) -> tuple[list[Group], Field]:
    """The groups with their shares, and the field with all of those put back."""
    named = [(name, rows) for name, rows in sorted(suspects.items()) if rows.shape[0]]
    if not named:
        return [], field
    stacked = confidences(scipy.sparse.vstack([rows for _, rows in named], "csr"), objective.alpha)
    alone, joint, adjusted = [], [], field
    for first in range(0, stacked.shape[0], _JOINT):
        people = People.of(stacked[first : first + _JOINT], field)
        shares = np.where(people.size > least, people.jointly(), np.nan)
        adjusted = adjusted.without(people, shares)
        alone.append(_shares(people, least))
        joint.append(shares)
    ends = np.cumsum([rows.shape[0] for _, rows in named])[:-1]
    parts = (np.concatenate(alone), np.concatenate(joint), np.diff(stacked.indptr))
    alone, joint, lengths = (np.split(part, ends) for part in parts)
    groups = [
        Group(name, alone[k], joint[k], lengths[k].astype(np.int64))
        for k, (name, _) in enumerate(named)
    ]
    return groups, adjusted


def _shares(people: People, least: float) -> Doubles:
    shares: Doubles = np.where(people.size > least, people.alone(), np.nan)
    return shares


def _lengths(
    objective: Objective, members: controls.Indices, groups: list[Group], draw: np.random.Generator
) -> controls.Indices:
    """As many as members, drawn from the suspects' lengths, or the members' own."""
    own = np.diff(objective.confidence.indptr)[members].astype(np.int64)
    wanted = np.concatenate([group.lengths[np.isfinite(group.alone)] for group in groups] or [own])
    return own if len(wanted) == 0 else draw.choice(wanted, len(members))


def _against(group: Group, unseen: Doubles) -> Group:
    """With the one-sided Mann-Whitney p of the group's a, alone, against people never seen."""
    from scipy.stats import mannwhitneyu

    held, null = group.alone[np.isfinite(group.alone)], unseen[np.isfinite(unseen)]
    if not len(held) or not len(null):
        return group
    found = mannwhitneyu(held, null, alternative="greater", method="asymptotic")
    return replace(group, chance=float(found.pvalue))


def _judged(groups: list[Group], threshold: float) -> list[Doubles]:
    """a of each group: jointly; or alone, where people alike share what one of them left."""
    joint, alone = [group.joint for group in groups], [group.alone for group in groups]
    over = any(bool((a >= threshold).any()) for a in joint)
    return joint if over or not any(bool((a >= threshold).any()) for a in alone) else alone


def _highest(judged: list[Doubles]) -> float | None:
    """The largest a that was measured, None if there is none."""
    held = [a[np.isfinite(a)] for a in judged]
    return max((float(a.max()) for a in held if len(a)), default=None)


def _reaching(what: str, shares: Doubles, threshold: float) -> str:
    """How many of those measured reach the threshold."""
    measured = int(np.count_nonzero(np.isfinite(shares)))
    return f"{int(np.count_nonzero(shares >= threshold))} of {measured} {what}"


def _findings(groups: list[Group], judged: list[Doubles], threshold: float) -> tuple[Finding, ...]:
    """Who is over the threshold, and which group stands out."""
    counted = {}
    for group, shares in zip(groups, judged, strict=True):
        counted[f"the history of a person ({group.name}) is in the item factors"] = int(
            np.count_nonzero(shares >= threshold)
        )
        counted[f"a group ({group.name}) stands out against people never seen"] = int(
            group.chance <= COHORT_CHANCE
        )
    return findings_of("contribution", counted)


def _lowest(groups: list[Group]) -> Control:
    lowest = min(group.lowest() for group in groups)
    return Control(
        "the lowest a of those who must not be there",
        f"above {-APART}",
        f"{lowest:.3f}",
        lowest > -APART,
    )


def _power(people: People, least: float) -> str:
    """How many members with histories as long as the suspects' would be found; told, no control.

    The shortest histories are the hardest to see, and layer 4 does not depend on their length.
    """
    found = 1.0 + _shares(people, least) > APART
    return f"members with histories as long: {int(np.count_nonzero(found))} of {len(found)} found"


def _right(name: str, shares: Doubles, right: Any) -> Control:
    measured = int(np.count_nonzero(np.isfinite(shares)))
    correct = int(np.count_nonzero(right & np.isfinite(shares)))
    middle = f", median {np.nanmedian(shares):.3f}" if measured else ""
    return Control(
        name,
        f"at least {LEAST_RIGHT:.0%}",
        f"{correct} of {measured}{middle}",
        measured > 0 and correct >= LEAST_RIGHT * measured,
    )
