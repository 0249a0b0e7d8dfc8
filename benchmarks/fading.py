"""Deletion verification where weights fade: whom the equations still find, by age and half-life.

    python -m benchmarks.fading [--short] [--sets NAME ...]
    python -m benchmarks.fading --searched [--sets NAME ...]    # what a search may choose

For each half-life one honest fit tells, by exact identity, what layers 4 and 6 would say of every
member pretended erased: of those whose weights faded most, of those who faded least, and of all.
Then some of both are really left in a fit, one at a time, and the verdict is asked without the
replay, as if the recipe itself remembered them. Writes a section of docs/verification-measured.md.
"""

from __future__ import annotations

import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}  # before numpy

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.datasets import at_hand, training_set  # noqa: E402
from benchmarks.mutants import World, remembering  # noqa: E402
from benchmarks.page import machine, put  # noqa: E402
from benchmarks.verification import RULE, table  # noqa: E402
from lethe.gate.proof.als import controls, faintness  # noqa: E402
from lethe.gate.proof.als.contribution import People  # noqa: E402
from lethe.gate.proof.als.equations import LARGEST_RESIDUAL  # noqa: E402
from lethe.gate.proof.als.objective import Objective  # noqa: E402
from lethe.gate.proof.als.presence import APART, CONTROLS  # noqa: E402
from lethe.gate.proof.verification import verify  # noqa: E402
from lethe.interactions.training.fading import span  # noqa: E402
from lethe.interactions.training.matrix import InteractionMatrix  # noqa: E402
from lethe.interactions.training.windows import TrainingSet  # noqa: E402
from lethe.params import read_params  # noqa: E402
from lethe.solutions.als import AlsHyperparameters  # noqa: E402

PAGE = ROOT / "docs" / "verification-measured.md"
SETS = ("shop", "ml-100k")
HALVES = (None, 365.0, 90.0, 30.0, 14.0, 7.0)
GROUPS = ("oldest", "newest")
TENTH = 10
SIZES = (0.0, 1e-12, 1e-9, 1e-6, 1e-3, np.inf)  # of people, as shares of the usual one


@dataclass(frozen=True, eq=False)
class Faded:
    """A data set under one half-life: the matrix, its honest fit, and all members on it."""

    data: TrainingSet
    days: float | None
    rule: AlsHyperparameters = RULE

    @cached_property
    def matrix(self) -> InteractionMatrix:
        return replace(self.data, half_life_days=self.days).matrix("all")

    @cached_property
    def world(self) -> World:
        return self.of(())

    def of(self, erased: tuple[int, ...]) -> World:
        rules = {} if self.days is None else {"half_life_days": self.days}
        return World(self.matrix, erased, self.rule, 5, definition=rules)

    @cached_property
    def objective(self) -> Objective:
        return Objective.of(self.world.case(self.world.honest))

    @cached_property
    def members(self) -> People:
        return People.of(self.objective.confidence, self.objective.minimised().field)

    @cached_property
    def noise(self) -> float:
        """As the layer finds it, of all members and of people never seen."""
        draw, c = np.random.default_rng(5), self.objective.confidence
        lengths = draw.choice(np.diff(c.indptr), CONTROLS)
        return faintness.noise(
            (self.members, People.of(controls.never_seen(c, lengths, draw), self.members.field))
        )

    @cached_property
    def asked(self) -> Any:
        """Whom layer 6 asks about."""
        return self.members.size > faintness.least_size(self.noise)

    @cached_property
    def residuals(self) -> Any:
        """The largest relative residual that each member would leave, had they been hidden."""
        sides = self.objective.minimised().sides
        whole = sides.scale
        people, items = self.members, self.objective.items
        largest = np.empty(len(people.factors))
        for row, x in enumerate(people.factors):
            adds = np.abs(items @ x + people.corrections[[row]].toarray()[0]) * np.linalg.norm(x)
            largest[row] = (adds / whole).max()
        return largest


def ages(data: TrainingSet) -> dict[str, Any]:
    """Rows of the tenth of the people who fade most, and of the tenth who fade least."""
    plain, faded = (
        np.asarray(replace(data, half_life_days=days).matrix("all").csr.sum(axis=1)).ravel()
        for days in (None, 30.0)
    )
    order = np.argsort(faded / plain, kind="stable")
    tenth = len(order) // TENTH
    return {"oldest": order[:tenth], "newest": order[-tenth:], "all": order}


def shown(days: float | None) -> str:
    return "none" if days is None else f"{days:g}"


def member_rows(name: str, data: TrainingSet) -> Iterator[list[str]]:
    """By half-life and age: asked about, found by either layer, and how far a is off."""
    plain = np.asarray(data.matrix("all").csr.sum(axis=1)).ravel()
    for days in HALVES:
        one = Faded(data, days)
        left = np.asarray(one.matrix.csr.sum(axis=1)).ravel() / plain
        usual = float(np.median(one.members.size))
        answers = "yes" if faintness.settled(one.noise, usual).passed else "no"
        a = 1.0 + one.members.alone()
        for group, rows in ages(data).items():
            asked = rows[one.asked[rows]]
            off = f"{np.abs(a[asked] - 1).max():.3f}" if len(asked) else "-"
            yield [
                name,
                shown(days),
                group,
                f"{np.median(left[rows]):.1e}",
                f"{len(asked)} of {len(rows)}",
                f"{(a[asked] > APART).sum()} of {len(asked)}",
                off,
                f"{(a[rows] > APART).sum()} of {len(rows)}",
                f"{(one.residuals[rows] > LARGEST_RESIDUAL).sum()} of {len(rows)}",
                answers,
            ]


def noise_rows(name: str, data: TrainingSet) -> Iterator[list[str]]:
    """How far a is from 1, times sqrt(size / usual size), of 99 of 100 members, by their size."""
    for days in HALVES:
        one = Faded(data, days)
        share = one.members.size / np.median(one.members.size)
        off = np.abs(one.members.alone()) * np.sqrt(share)
        cells = []
        for low, high in pairwise(SIZES):
            band = (share >= low) & (share < high) & np.isfinite(off)
            many = np.count_nonzero(band)
            cells.append(f"{np.quantile(off[band], 0.99):.1e} of {many}" if many >= TENTH else "-")
        yield [name, shown(days), *cells]


def planted_rows(name: str, data: TrainingSet, each: int) -> Iterator[list[str]]:
    """People really left in, one a fit, and the same people really out."""
    people = ages(data)
    for days in HALVES:
        one = Faded(data, days)
        for group in GROUPS:
            rows = people[group][np.linspace(0, len(people[group]) - 1, each).astype(int)]
            kept, out, replayed = [], [], []
            for row in rows.tolist():
                world = one.of((row,))
                left = world.case(world.hiding([row]))
                replayed.append(verify(left))
                kept.append(verify(remembering(left)))
                out.append(verify(remembering(world.case(world.honest))))
            layers = [{f.layer for f in report.findings} for report in kept]
            yield [
                name,
                shown(days),
                group,
                *(
                    f"{sum(layer in found for found in layers)} of {each}"
                    for layer in ("normal_equations", "contribution")
                ),
                told(kept),
                told(replayed),
                told(out),
            ]


def searched_rows(name: str, data: TrainingSet) -> Iterator[list[str]]:
    """Whom layer 6 asks about under each half-life that a search may choose, by setting."""
    days = span(data.timestamp)
    ladder = read_params(ROOT / "params.yaml").half_lives(days)
    for half_life in ladder:
        for changes in SETTINGS:
            one = Faded(data, half_life, RULE.model_copy(update=changes))
            usual = float(np.median(one.members.size))
            yield [
                name,
                f"{days}",
                shown(half_life),
                f"{one.rule.regularization:g}, {one.rule.alpha:g}",
                f"{np.count_nonzero(one.asked)} of {len(one.asked)}",
                f"{one.noise / np.sqrt(usual):.1e}",
                "yes" if faintness.settled(one.noise, usual).passed else "no",
            ]


def told(reports: list[Any]) -> str:
    """How many of each verdict, and of the verified how many claim the residual test."""
    verdicts = [report.verdict.value for report in reports]
    counts = [f"{verdicts.count(name)} {name}" for name in sorted(set(verdicts))]
    verified = [report for report in reports if report.verdict.value == "VERIFIED"]
    claimed = sum(report.residual_tested for report in verified)
    return ", ".join(counts) + (f" (claimed: {claimed})" if verified else "")


SETTINGS: tuple[dict[str, float], ...] = (
    {},
    {"regularization": 10.0, "alpha": 10.0},
    {"regularization": 100.0, "alpha": 10.0},
)
SEARCHED = ("Data", "Days", "Half-life", "Regularization, alpha", "Asked about",
            "A usual member is off by", "Answers")  # fmt: skip
MEMBERS = ("Data", "Half-life", "People", "Weight left", "Asked about", "Of those found by layer 6",
           "Largest error", "All by layer 6", "All by layer 4", "Answers")  # fmt: skip
NOISE = ("Data", "Half-life", "below 1e-12", "to 1e-9", "to 1e-6", "to 1e-3", "above")
PLANTED = (
    "Data",
    "Half-life",
    "People",
    "By layer 4",
    "By layer 6",
    "Left in",
    "The same, replayed",
    "Out",
)


def main() -> None:
    """Measure and write the section."""
    load = os.getloadavg()[0]
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options.add_argument("--short", action="store_true", help="shop, and two people of each age")
    options.add_argument("--sets", nargs="+", default=SETS)
    options.add_argument("--left-in", nargs="+", default=SETS[:1], help="sets of the third table")
    options.add_argument("--searched", action="store_true", help="what a search may choose")
    given = options.parse_args()
    if given.searched:
        chosen = [
            row
            for name in at_hand(given.sets, given.data)
            for row in searched_rows(name, training_set(name, given.data))
        ]
        put("fading-searched", f"{machine(load)}\n\n{table(SEARCHED, chosen)}".rstrip(), PAGE)
        return
    found: list[list[str]] = []
    noise: list[list[str]] = []
    planted: list[list[str]] = []
    for name in at_hand(given.sets[:1] if given.short else given.sets, given.data):
        data = training_set(name, given.data)
        for kept, rows in (
            (noise, noise_rows(name, data)),
            (found, member_rows(name, data)),
            (planted, planted_rows(name, data, 2 if given.short else 6)),
        )[: 3 if name in given.left_in else 2]:
            for row in rows:
                print(" | ".join(row), flush=True)
                kept.append(row)
    if not given.short:
        text = f"{machine(load)}\n\n{table(NOISE, noise)}\n{table(MEMBERS, found)}"
        text += f"\n{table(PLANTED, planted)}"
        put("fading", text.rstrip("\n"), PAGE)


if __name__ == "__main__":
    main()
