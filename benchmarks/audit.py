"""The membership audit on two data sets, written into docs/verification-audit.md.

    python -m benchmarks.audit --data FOLDER

A tenth of the people are kept out of each champion, as objecting people are, and are set beside
people never trained on. ALS is fitted with the defaults and with a low regularization.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import read
from lethe.gate.audit import membership, shadows
from lethe.gate.audit.membership import ALONE, LIRA, SCORE_TEST, Found, Subject
from lethe.gate.audit.statistics import STATISTICS, Equations
from lethe.gate.proof.als.objective import discount
from lethe.solutions.recipes import recipe

PAGE = Path(__file__).resolve().parent.parent / "docs" / "verification-audit.md"
CASES: tuple[tuple[str, str, str, Mapping[str, Any], int], ...] = (
    ("shop", "ALS, defaults", "als", {}, 16),
    ("shop", "ALS, regularization 0.1", "als", {"regularization": 0.1}, 16),
    ("shop", "LightFM, defaults", "lightfm", {}, 16),
    ("ml-100k", "ALS, defaults", "als", {}, 16),
    ("ml-100k", "LightFM, defaults", "lightfm", {}, 12),
)
TARGETS, SEED = 1_000, 7


def measured(name: str, how: Mapping[str, Any], data: Path, models: int) -> tuple[Found, float]:
    """An audit of one recipe, and the seconds it took."""
    started = time.monotonic()
    chosen = recipe(name)
    values = chosen.hyperparameters.model_validate(dict(how))
    everybody = read(str(data.name), data.parent)
    out = np.random.default_rng(SEED).random(len(everybody.users)) < 0.1
    whole = shadows.only(everybody, ~out)

    def fit(matrix: Any) -> Any:
        return chosen.fit(matrix, values, SEED, None)

    equations = None
    if name == "als":
        stated = values.model_dump()
        equations = Equations(stated["alpha"], stated["regularization"], discount(stated))
    subject = Subject(whole, whole, everybody.csr[out], fit(whole), equations)
    found = membership.audit(subject, fit, models, TARGETS, SEED, lambda k, s: None)
    return found, time.monotonic() - started


def rows(data: Path) -> Iterator[tuple[str, Found, int, float]]:
    """(title, what was found, models, seconds) of each case."""
    for place, title, name, how, models in CASES:
        found, seconds = measured(name, how, data / place, models)
        print(f"{place}, {title}: {seconds:.0f} s", file=sys.stderr, flush=True)
        yield f"{place} | {title}", found, models, seconds


def page(done: list[tuple[str, Found, int, float]]) -> str:
    """The three tables."""
    lines = [
        "# The membership audit, measured",
        "",
        "Written by `benchmarks/audit.py`; do not edit. What the figures mean stands in",
        "[verification.md](verification.md#the-membership-audit). Up to 1,000 people asked about;",
        "a tenth of the people kept out of the champion.",
        "",
        "## Attacks on shadow models",
        "",
        "AUC over all models and people, and in brackets the members found while 1 % of the others",
        "are named by mistake. The best statistic of each kind.",
        "",
        "| Data | Recipe | Models | One model | LiRA | Score test a | Seconds |",
        "|---|---|---:|---|---|---|---:|",
    ]
    for title, found, models, seconds in done:
        cells = [_best(found, ALONE), _best(found, LIRA), _best(found, SCORE_TEST)]
        lines.append(f"| {title} | {models} | {' | '.join(cells)} | {seconds:.0f} |")
    lines += ["", "## LiRA by the length of the history", ""]
    heads = ("2 to 5", "6 to 15", "16 to 60", "61 and more")
    lines += [f"| Data | Recipe | {' | '.join(heads)} |", "|---|---|---|---|---|---|"]
    for title, found, _, _ in done:
        sharpest = max(
            (one for one in found.attacks if one.name.startswith(LIRA)), key=lambda one: one.auc
        )
        held = {
            low: f"{area:.3f} ({share:.0%}) of {n}" for low, _, n, area, share in sharpest.lengths
        }
        cells = [held.get(low, "-") for low, _ in membership.LENGTHS]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += [
        "",
        "## The champion: members and people kept out, each against people never trained on",
        "",
        "AUC with about 95 %. Those kept out were never trained on: their true value is 0.5.",
        "",
        "| Data | Recipe | Attack | Members | Kept out | People kept out |",
        "|---|---|---|---|---|---:|",
    ]
    for title, found, _, _ in done:
        names = [f"{LIRA}, {name}" for name in STATISTICS] + [SCORE_TEST]
        for name in names:
            pair = [one for one in found.champion if one.name == name]
            if len(pair) == 2:
                cells = [f"{one.auc:.3f} ({one.low:.3f} to {one.high:.3f})" for one in pair]
                lines.append(f"| {title} | {name} | {' | '.join(cells)} | {pair[1].people} |")
    return "\n".join([*lines, ""])


def _best(found: Found, kind: str) -> str:
    tried = [one for one in found.attacks if one.name.startswith(kind)]
    if not tried:
        return "-"
    best = max(tried, key=lambda one: one.auc)
    what = best.name.removeprefix(f"{kind}, ")
    shown = "" if what == kind else f", {what}"
    return f"{best.auc:.3f} ({best.found:.0%}){shown}"


def main() -> None:
    """Measure everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="the folder of data sets")
    PAGE.write_text(page(list(rows(parser.parse_args().data))), encoding="utf-8")


if __name__ == "__main__":
    main()
