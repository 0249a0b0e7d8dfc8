"""What each rule of section `training` brings, one at a time, judged on the same people and pairs.

    python -m benchmarks.knobs --short       # ml-100k, 3 draws; prints, writes nothing
    python -m benchmarks.knobs [--draws 8] [--sets NAME ...]
    python -m benchmarks.knobs --only half_life_days    # one rule; prints, writes nothing

A data set's own rules (examples/, or the defaults, without a half-life) say what is held out and
when. A variant changes one rule of what is *learned from*, before the same cuts; whom it no longer
knows gets its popular items, what it no longer knows is never recommended. ALS with each of the
same draws from the default space, 16 iterations, unsealed; the best on validation is fitted again
for the test window and compared with the same of the unchanged rules, user by user. Writes a
section of docs/benchmarks.md.
"""

from __future__ import annotations

import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}  # before numpy

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.datasets import at_hand, shards  # noqa: E402
from benchmarks.page import machine, put  # noqa: E402
from benchmarks.shortened import SEED, drawn  # noqa: E402
from benchmarks.tuning import METRIC, SETS  # noqa: E402
from lethe.gate.scoring.evaluation import Evaluation, evaluate  # noqa: E402
from lethe.gate.scoring.quality import compare  # noqa: E402
from lethe.interactions.training.matrix import InteractionMatrix  # noqa: E402
from lethe.interactions.training.snapshot import SnapshotRules, build  # noqa: E402
from lethe.interactions.training.splits import HeldOutWindow, Window  # noqa: E402
from lethe.interactions.training.windows import TrainingSet  # noqa: E402
from lethe.solutions.als import AlsHyperparameters, fit  # noqa: E402
from lethe.solutions.baselines import popularity  # noqa: E402

LEARNED: Mapping[HeldOutWindow, Window] = {"validation": "train", "test": "train+validation"}
EVERYWHERE: tuple[dict[str, Any], ...] = (
    {"minimum_user_items": 2},
    {"minimum_user_items": 5},
    {"minimum_item_users": 3},
    {"minimum_item_users": 10},
    {"maximum_weight": 1.0},
    {"maximum_weight": 5.0},
    {"maximum_weight": 100.0},
    {"half_life_days": 30},
    {"half_life_days": 90},
    {"half_life_days": 365},
)
OWN: Mapping[str, tuple[dict[str, Any], ...]] = {
    "ml-100k": tuple({"event_value_minimum": value} for value in (None, 2, 3, 5)),
    "shop": (
        {"event_weights": {"view": 0.1, "cart": 0.5}},
        {"event_weights": {"view": 0.3, "cart": 0.6}},
        {"event_weights": {"view": 0.0}},
    ),
    "online-retail": ({"event_value_minimum": 2}, {"event_value_minimum": 6}),
    "personalize-sample": (
        {"event_weights": {"click": 0.3}},
        {"event_weights": {"click": 0.0}},
        {"event_weights": {"watch": 0.3}},
    ),
}


@dataclass(frozen=True)
class Placed:
    """Factors of one matrix, in the rows and columns of another."""

    learned: Any
    users: Any
    items: Any
    popular: Any

    @classmethod
    def of(cls, learned: Any, own: InteractionMatrix, other: InteractionMatrix) -> Placed:
        places = []
        for mine, theirs in ((own.users, other.users), (own.items, other.items)):
            index = {name: place for place, name in enumerate(mine)}
            places.append(np.array([index.get(name, -1) for name in theirs]))
        return cls(learned, places[0], places[1], popularity(own).astype(np.float32))

    def scores(self, rows: Any) -> Any:
        """float32 (len(rows), items of the other): -inf for what was not learned."""
        mine = self.users[rows]
        known = self.learned.scores(np.maximum(mine, 0))
        known = np.where((mine >= 0)[:, None], known, self.popular[None, :])
        found = known[:, np.maximum(self.items, 0)]
        found[:, self.items < 0] = -np.inf
        return np.ascontiguousarray(found, dtype=np.float32)


class Judge:
    """What the data set's own rules hold out, and the draws that everybody is given."""

    def __init__(self, data: TrainingSet, draws: int) -> None:
        self.split = data.split
        self.matrices = {name: data.matrix(window) for name, window in LEARNED.items()}
        self.held = {name: data.held_out(name, self.matrices[name]).csr for name in LEARNED}
        draw = np.random.default_rng(SEED)
        short = {"iterations": 16, "seal": False}
        self.draws = [drawn(draw).model_copy(update=short) for _ in range(draws)]

    def scored(
        self, data: TrainingSet, rule: AlsHyperparameters, window: HeldOutWindow
    ) -> Evaluation:
        own = data.matrix(LEARNED[window])
        placed = Placed.of(fit(own, rule, SEED), own, self.matrices[window])
        return evaluate(placed, self.matrices[window].csr, self.held[window])

    def best(self, data: TrainingSet) -> tuple[float, Evaluation]:
        """The best draw's validation, and its test."""
        data = replace(data, split=self.split)
        scores = [self.scored(data, rule, "validation").means[METRIC] for rule in self.draws]
        rule = self.draws[int(np.argmax(scores))]
        return max(scores), self.scored(data, rule, "test")


def rows(name: str, given: argparse.Namespace) -> Iterator[str]:
    """The unchanged rules, then each variant."""
    base, _, days = name.partition(", ")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sections, store = shards(base, given.data, folder, int(days.split()[0]) if days else None)
        known: dict[str, Any] = sections["training"]

        def made(changed: Mapping[str, Any]) -> TrainingSet:
            rules = SnapshotRules.model_validate({**known, **changed})
            build(store, frozenset(), rules, folder / "training", 0, "")
            return TrainingSet.read(folder / "training")

        unchanged = made({})
        judge = Judge(unchanged, given.draws)
        best, test = judge.best(unchanged)
        yield (
            f"| {name} | as it is | {len(unchanged.user):,} | {best:.4f} | "
            f"{test.means[METRIC]:.4f} | |"
        )
        for variant in (*OWN.get(base, ()), *EVERYWHERE):
            if all(known.get(key) == value for key, value in variant.items()):
                continue
            if given.only and given.only not in variant:
                continue
            data = made(variant)
            value, found = judge.best(data)
            assert (found.rows == test.rows).all()
            other = compare(found.per_user[METRIC], test.per_user[METRIC], SEED)
            told = ", ".join(f"`{key}: {shown(value)}`" for key, value in variant.items())
            yield (
                f"| {name} | {told} | {len(data.user):,} | "
                f"{value:.4f} | {found.means[METRIC]:.4f} | {other.difference:+.4f} "
                f"({other.low:+.4f} to {other.high:+.4f}) |"
            )


def shown(value: Any) -> str:
    """As it stands in params.yaml."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {inner:g}" for key, inner in value.items()) + "}"
    return "null" if value is None else f"{value:g}"


def main() -> None:
    """Measure and write the table."""
    load = os.getloadavg()[0]
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options.add_argument("--short", action="store_true")
    options.add_argument("--draws", type=int, default=None)
    options.add_argument("--sets", nargs="+", choices=SETS, default=None)
    options.add_argument("--only", default=None, help="a rule of section training")
    given = options.parse_args()
    given.draws = given.draws or (3 if given.short else 8)
    lines = [
        "| Data | learned from | rows | validation | test | difference (95 %) |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name in at_hand(given.sets or (SETS[:1] if given.short else SETS), given.data):
        for line in rows(name, given):
            print(line, flush=True)
            lines.append(line)
    if not given.short and not given.only:
        put("knobs", f"{machine(load)} {given.draws} draws.\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
