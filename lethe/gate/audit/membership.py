"""The audit: attacks on shadow models, and the same attacks on the champion.

On shadow models it is known who was trained on: there the attacks are measured. On the champion
members, and people who were kept out of it by their own wish or by law, are set beside people never
trained on: some of the pool, on a few more models, each fitted without a part of them. Invented
people would not do: a real person who was never trained on scores unlike them. Nobody who was kept
out enters a shadow model, so here the attack knows one side only
(`lethe.gate.audit.lira.against_outside`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from lethe.errors import BadConfiguration
from lethe.gate.audit import curves, lira, shadows
from lethe.gate.audit.curves import Doubles
from lethe.gate.audit.statistics import STATISTICS, Asked, Equations, measured
from lethe.gate.proof.als.controls import alike
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions.learned import Factors

ALONE, LIRA, SCORE_TEST = "one model", "LiRA", "score test a"
RATES = tuple(float(rate) for rate in np.logspace(-3, 0, 31))
LENGTHS = ((2, 5), (6, 15), (16, 60), (61, None))
CONTROLS = 400
WITHOUT = 4
MEMBERS, OUTSIDERS = "members", "kept out"
NEVER, NEVER_ALIKE = "never trained on", "never trained on, as long"
LEAST_PEOPLE = 20


@dataclass(frozen=True)
class Attack:
    """How well one attack tells members of shadow models from others.

    `auc` and `found` (at 1 % false positives) are over all (model, person) pairs; `lowest` and
    `highest` are the AUCs of single models. `curve` is (false positives, found). `lengths` are
    (fewest items, most items or None, people, AUC, found).
    """

    name: str
    auc: float
    found: float
    lowest: float
    highest: float
    curve: tuple[tuple[float, float], ...]
    lengths: tuple[tuple[int, int | None, int, float, float], ...]


@dataclass(frozen=True)
class Beside:
    """One attack on the champion: AUC of a group against people never trained on, about 95 %."""

    name: str
    group: str
    people: int
    auc: float
    low: float
    high: float


@dataclass(frozen=True)
class Found:
    """What the audit measured; `groups` are the champion's scores by the sharpest attack, sorted.

    The scores are for a picture in bins; they say of nobody whose they are.
    """

    targets: int
    outsiders: int
    sharpest: str
    attacks: tuple[Attack, ...]
    champion: tuple[Beside, ...]
    groups: dict[str, Doubles]


@dataclass(frozen=True, eq=False, repr=False)
class Subject:
    """What is attacked: the champion's item factors, and who was kept out of them.

    `pool` are the people who may be asked about and trained on, `whole` those the champion was
    trained on. `outsiders` are histories of who was kept out, float32 CSR in the same columns.
    `equations` is None for a recipe that has none.
    """

    whole: InteractionMatrix
    pool: InteractionMatrix
    outsiders: Any
    factors: Factors
    equations: Equations | None


def audit(  # noqa: PLR0913
    subject: Subject, fit: shadows.Fit, models: int, targets: int, seed: int, hear: shadows.Hear
) -> Found:
    """Fit `models` shadow models with `fit` and attack them and the champion.

    `targets` is how many people are asked about at most; only those with two items or more are.
    `hear` is told each model's number and seconds, 0 for those without some members. The same
    arguments give the same answer.

    Raises:
        BadConfiguration: fewer than `LEAST_PEOPLE` people have two items.
    """
    draw = np.random.default_rng(seed)
    pool, popularity = (
        subject.pool,
        np.bincount(subject.pool.csr.indices, minlength=len(subject.pool.items)),
    )
    held = np.flatnonzero(np.diff(pool.csr.indptr) > 1)
    if len(held) < LEAST_PEOPLE:
        raise BadConfiguration(
            f"an audit needs {LEAST_PEOPLE} people with two items or more, not {len(held)}"
        )
    members = np.sort(draw.choice(held, min(targets, len(held)), replace=False))
    outsiders = subject.outsiders[np.flatnonzero(np.diff(subject.outsiders.indptr) > 1)]
    rows = [pool.csr[members], outsiders]
    asked = Asked.of(scipy.sparse.vstack(rows, "csr").astype(np.float32), popularity)
    inside = shadows.drawn(models, len(pool.users), draw)
    seen = shadows.fitted(pool, inside, members, asked, fit, subject.equations, draw, hear)
    champion = _scored(subject.whole, subject.factors, asked, seen, subject.equations)
    if SCORE_TEST in champion:
        champion[SCORE_TEST][: len(members)] += 1.0
    left = draw.permutation(len(members))[: max(1, min(len(members) // 2, len(held) // 10))]
    never = _never_trained(subject, fit, members, left, asked, seen, hear)
    attacks = _attacks(seen, inside[:, members], np.diff(asked.histories.indptr)[: len(members)])
    sharpest = SCORE_TEST if SCORE_TEST in champion else _best(attacks)
    like = _as_long(pool.csr[members[left]], outsiders, draw)
    parts = {
        name: _groups(scores, len(members), never[name], like) for name, scores in champion.items()
    }
    return Found(
        targets=len(members),
        outsiders=outsiders.shape[0],
        sharpest=sharpest,
        attacks=attacks,
        champion=tuple(
            entry for name, groups in parts.items() for entry in _beside(name, groups, len(left))
        ),
        groups=parts[sharpest],
    )


def _never_trained(  # noqa: PLR0913
    subject: Subject,
    fit: shadows.Fit,
    members: Any,
    left: Any,
    asked: Asked,
    seen: shadows.Shadows,
    hear: shadows.Hear,
) -> dict[str, Doubles]:
    """Scores of the members at `left` on models like the champion, fitted without some of them.

    They are real, and nothing but that they were not trained on sets them apart. Each model misses
    few, because scores move with the number of people that a model has learned from.
    """
    found: dict[str, Doubles] = {}
    for part in np.array_split(left, min(WITHOUT, len(left))):
        started = time.monotonic()
        rows = np.isin(np.arange(len(subject.pool.users)), members[part])
        rest = shadows.only(subject.pool, ~rows)
        factors = fit(rest)
        hear(0, time.monotonic() - started)
        for name, scores in _scored(rest, factors, asked, seen, subject.equations).items():
            found.setdefault(name, np.full(len(members), np.nan))[part] = scores[part]
    return {name: scores[left] for name, scores in found.items()}


def _as_long(left: Any, outsiders: Any, draw: np.random.Generator) -> Any:
    """Places in `left`, drawn so that their histories are about as long as the outsiders'."""
    lengths = np.diff(outsiders.indptr).astype(np.int64)
    if not len(lengths):
        return np.empty(0, dtype=np.int64)
    return alike(left, draw.choice(lengths, CONTROLS), draw)


def _groups(scores: Doubles, members: int, never: Doubles, like: Any) -> dict[str, Doubles]:
    """The scores of each group, ascending, without who could not be measured."""
    parts = (scores[:members], scores[members:], never, never[like])
    names = (MEMBERS, OUTSIDERS, NEVER, NEVER_ALIKE)
    return {name: np.sort(part[np.isfinite(part)]) for name, part in zip(names, parts, strict=True)}


def _scored(
    trained: InteractionMatrix,
    factors: Factors,
    asked: Asked,
    seen: shadows.Shadows,
    equations: Equations | None,
) -> dict[str, Doubles]:
    """Scores of everybody who is asked about on one model, by attack."""
    found = measured(asked, factors.item_factors, factors.item_biases, equations)
    scores = {
        f"{LIRA}, {name}": lira.against_outside(found[name], seen.values[name], seen.without)
        for name in STATISTICS
    }
    if equations is not None:
        scores[SCORE_TEST] = shadows.score_test(trained, factors, asked.histories, equations)
    return scores


def _attacks(seen: shadows.Shadows, inside: Any, lengths: Any) -> tuple[Attack, ...]:
    """Every attack on the shadow models."""
    people = inside.shape[1]
    values = {name: seen.values[name][:, :people] for name in STATISTICS}
    scores = {f"{ALONE}, {name}": _standard(found) for name, found in values.items()}
    scores |= {
        f"{LIRA}, {name}": lira.leave_one_out(found, inside) for name, found in values.items()
    }
    if seen.shares is not None:
        scores[SCORE_TEST] = seen.shares[:, :people]
    return tuple(attack(name, found, inside, lengths) for name, found in scores.items())


def _standard(values: Doubles) -> Doubles:
    """Each model's values around its own mean, in its own standard deviations."""
    spread = values.std(axis=1, keepdims=True)
    centred = values - values.mean(axis=1, keepdims=True)
    found: Doubles = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    return found


def attack(name: str, scores: Doubles, inside: Any, lengths: Any) -> Attack:
    """What float64 `scores` (models, people) tell about bool `inside`, NaN left out."""

    def split(rows: Any, columns: Any) -> tuple[Doubles, Doubles]:
        some, member = scores[rows][:, columns], inside[rows][:, columns]
        finite = np.isfinite(some)
        return some[finite & member], some[finite & ~member]

    everyone, everything = np.arange(scores.shape[1]), np.arange(len(scores))
    single = [curves.auc(*split([model], everyone)) for model in everything]
    pairs = split(everything, everyone)
    by_length = []
    for low, high in LENGTHS:
        columns = np.flatnonzero((lengths >= low) & (lengths <= (high or np.inf)))
        if len(columns):
            part = split(everything, columns)
            by_length.append((low, high, len(columns), curves.auc(*part), curves.found_at(*part)))
    known = [area for area in single if np.isfinite(area)]
    return Attack(
        name=name,
        auc=curves.auc(*pairs),
        found=curves.found_at(*pairs),
        lowest=min(known, default=float("nan")),
        highest=max(known, default=float("nan")),
        curve=curves.curve(*pairs, RATES),
        lengths=tuple(by_length),
    )


def _best(attacks: tuple[Attack, ...]) -> str:
    """The LiRA with the highest AUC on the shadow models."""
    tried = [one for one in attacks if one.name.startswith(LIRA)]
    return max(tried, key=lambda one: np.nan_to_num(one.auc)).name


def _beside(name: str, groups: dict[str, Doubles], left: int) -> list[Beside]:
    """Members, and those kept out, against people never trained on, `left` of them in all."""
    found = []
    for group, control in ((MEMBERS, NEVER), (OUTSIDERS, NEVER_ALIKE)):
        inside, outside = groups[group], groups[control]
        if len(inside) and len(outside):
            area = curves.auc(inside, outside)
            low, high = curves.interval(area, len(inside), min(left, len(outside)))
            found.append(Beside(name, group, len(inside), area, low, high))
    return found
