"""What trusting popular items less brings, and whether verification still sees everybody.

    python -m benchmarks.discount [--data ../shared/data] [--sets NAME ...] [--draws 8]
    python -m benchmarks.discount --proof [--sets NAME ...]

The first draws ALS from the default space, once, and fits the same draws with each discount, under
no half-life and under the shortest that a search is offered: the best on validation is fitted again
for the test window and compared, user by user, with the best without a discount. The second counts
honest fits that the equations block and single people left in that they catch without the replay,
whom layer 6 would ask about, and how far a usual member's a is off. Writes sections of
docs/benchmarks.md and docs/verification-measured.md; `--dry` prints only.
"""

from __future__ import annotations

import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}  # before numpy

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import verification  # noqa: E402
from benchmarks.datasets import at_hand, training_folder, training_set  # noqa: E402
from benchmarks.fading import PAGE, Faded, shown  # noqa: E402
from benchmarks.page import machine, put  # noqa: E402
from benchmarks.shortened import SEED, drawn  # noqa: E402
from benchmarks.tuning import METRIC, SETS  # noqa: E402
from lethe.gate.proof.als import faintness  # noqa: E402
from lethe.gate.scoring.evaluation import Evaluation  # noqa: E402
from lethe.gate.scoring.quality import compare  # noqa: E402
from lethe.interactions.training.fading import span  # noqa: E402
from lethe.nights.learning.window import Window  # noqa: E402
from lethe.params import read_params  # noqa: E402
from lethe.solutions.als import AlsHyperparameters, fit  # noqa: E402

DISCOUNTS = (0.0, 0.125, 0.25, 0.375, 0.5)
QUALITY = "| Data | half-life | discount | validation | test | difference (95 %) |"
PROOF = (
    "| Data | Discount | Honest blocked | Hidden caught | By layer 4 | By layer 6 | Their a "
    "| Asked about | A usual member is off by | Answers | Fading: asked about | Off by | Answers |"
)
PROVED, HONEST, HIDDEN = ("shop", "ml-100k", "online-retail"), 10, 20


def shortest(days: int) -> float | None:
    """The shortest half-life that a search is offered where the data span so many days."""
    offered = read_params(ROOT / "params.yaml").half_lives(days)
    return min((one for one in offered if one is not None), default=None)


def evaluated(window: Window, rule: AlsHyperparameters, days: float | None) -> Evaluation:
    return window.evaluate(fit(window.faded(days), rule, SEED))


def quality_rows(name: str, data: Path, draws: int) -> Iterator[str]:
    """A line for each half-life and discount."""
    base, _, kept = name.partition(", ")
    draw = np.random.default_rng(SEED)
    short = {"iterations": 16, "seal": False}
    rules = [drawn(draw).model_copy(update=short) for _ in range(draws)]
    with tempfile.TemporaryDirectory() as place:
        days = int(kept.split()[0]) if kept else None
        folder = training_folder(base, data, Path(place), days=days)
        validation, test = Window.read(folder, "validation"), Window.read(folder, "test")
        for half_life in dict.fromkeys((None, shortest(validation.span_days))):
            plain: Evaluation | None = None
            for discount in DISCOUNTS:
                some = [one.model_copy(update={"popularity_discount": discount}) for one in rules]
                values = [evaluated(validation, one, half_life).means[METRIC] for one in some]
                found = evaluated(test, some[int(np.argmax(values))], half_life)
                plain = plain or found
                other = compare(found.per_user[METRIC], plain.per_user[METRIC], SEED)
                beside = f"{other.difference:+.4f} ({other.low:+.4f} to {other.high:+.4f})"
                yield (
                    f"| {name} | {shown(half_life)} | {discount:g} | {max(values):.4f} | "
                    f"{found.means[METRIC]:.4f} | {beside if discount else ''} |"
                )


def proof_rows(name: str, data: Path) -> Iterator[str]:
    """A line for each discount: rates without fading, and whom layer 6 asks about with it."""
    everything = training_set(name, data)
    half_life, plain = shortest(span(everything.timestamp)), verification.RULE
    for discount in DISCOUNTS[::2]:
        rule = plain.model_copy(update={"popularity_discount": discount})
        verification.RULE = rule
        cells = verification.rates(everything.matrix("all"), HONEST, HIDDEN)
        verification.RULE = plain
        for days in (None, half_life):
            one = Faded(everything, days, rule)
            usual = float(np.median(one.members.size))
            cells += [
                f"{np.count_nonzero(one.asked)} of {len(one.asked)}",
                f"{one.noise / np.sqrt(usual):.1e}",
                "yes" if faintness.settled(one.noise, usual).passed else "no",
            ]
        yield f"| {name} | {discount:g} | {' | '.join(cells)} |"


def main() -> None:
    """Measure and write the section."""
    load = os.getloadavg()[0]
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options.add_argument("--proof", action="store_true")
    options.add_argument("--draws", type=int, default=8)
    options.add_argument("--sets", nargs="+", choices=SETS, default=None)
    options.add_argument("--dry", action="store_true", help="print, and write nothing")
    given = options.parse_args()
    if given.proof:
        lines = [PROOF, "|---" * PROOF.count(" | ") + "|---|"]
    else:
        lines = [QUALITY, "|---|---|---:|---:|---:|---:|"]
    for name in at_hand(given.sets or (PROVED if given.proof else SETS), given.data):
        rows = (
            proof_rows(name, given.data)
            if given.proof
            else quality_rows(name, given.data, given.draws)
        )
        for line in rows:
            print(line, flush=True)
            lines.append(line)
    if given.dry:
        return
    told = f"{machine(load)}" + ("" if given.proof else f" {given.draws} draws.")
    page = {"into": PAGE} if given.proof else {}
    put("discounted" if given.proof else "discount", f"{told}\n\n" + "\n".join(lines), **page)


if __name__ == "__main__":
    main()
