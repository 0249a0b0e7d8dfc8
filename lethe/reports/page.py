"""One night as one page: what was trained, on what, how good it is, and the proof.

`render` shows named facts only, so that an id which strayed into them stays out of the page, and
says of each missing one that it is missing. The page is one HTML file without a script or an
outside reference; its content security policy forbids both.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

import jinja2

from lethe.gate.scoring.quality import CHAMPION
from lethe.reports import pictures, wording
from lethe.reports.pictures import Curve, Interval, Step
from lethe.reports.proving import layers
from lethe.reports.studies import page as studies
from lethe.reports.verdict import alarms, dig, proof, records, texts, verdict
from lethe.reports.wording import count, decimal, number

BASELINES: Final = ("popular", "item_knn")
MOST_TRIALS: Final = 20
Bar = tuple[str, float | None, Any]
"""A bar of a funnel: label, rows (None: not counted) and kind."""

_FILTERS: Final = (
    *("count", "decimal", "setting", "settings", "moment", "day", "duration", "digest"),
    *("metric", "chance", "solution", "action", "state", "rule", "number", "sentence"),
)
_FURTHER: Final = (
    "precision_at_10",
    "recall_at_10",
    "mean_reciprocal_rank_at_25",
    "coverage",
    "popularity_of_lists",
)


def render(facts: Mapping[str, Any]) -> str:
    """The report as one self-contained HTML document.

    `facts` is JSON-like; any part may be missing, null, NaN or of another shape. The same facts
    give the same text.
    """
    known = _clean(facts)
    further = _further(known)
    template = environment().get_template("report.html")
    return template.render(
        facts=known,
        verdict=verdict(known),
        proof=proof(known),
        alarms=alarms(known),
        good=goodness(known),
        comparisons=compared(known),
        board=_board(known),
        trials=_trials(known),
        most_trials=MOST_TRIALS,
        curves=_curves(known),
        studies=studies.told(known),
        intake=_funnel("intake", "Tonight's files: what became of each row", intake_steps(known)),
        training=_funnel("training", "From all interactions to this training", split_steps(known)),
        further=further,
        board_heads=[
            *(("Solution", False), ("Place", True), ("Users", True)),
            (wording.metric(known.get("metric")), True),
            ("95 % interval", True),
            *((wording.metric(name), True) for name in further),
        ],
        rules=left_out(known),
        **layers.told(known),
    )


@cache
def environment() -> jinja2.Environment:
    """Templates of this package, every value escaped; a chain of missing facts is just missing."""
    folder = resources.files("lethe.reports") / "templates"
    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {name: getattr(wording, name) for name in _FILTERS}
    made.filters |= {"records": records, "texts": texts, "pairs": _pairs, "total": _total}
    return made


def _clean(value: Any) -> Any:
    """The same facts with text keys and lists; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner) for inner in value]
    return None if isinstance(value, float) and number(value) is None else value


def _pairs(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _total(counts: Any) -> float | None:
    """Sum of the values of a mapping, None if it is missing or one of them is no number."""
    if not isinstance(counts, Mapping):
        return None
    values = [number(value) for value in counts.values()]
    return None if None in values else sum(value for value in values if value is not None)


def _means(facts: Any) -> dict[str, float]:
    """Mean of the ranking metric by solution, of those that were scored."""
    found = {str(row.get("name")): number(row.get("mean")) for row in _rows(facts)}
    return {name: mean for name, mean in found.items() if mean is not None}


def _rows(facts: Any) -> list[Mapping[str, Any]]:
    return records(dig(facts, "leaderboard"))


def goodness(facts: Any) -> tuple[str, tuple[str, ...]]:
    """How good the winner is: a headline, and sentences against baseline and champion."""
    means, winner = _means(facts), dig(facts, "winner", "recipe")
    if winner is None or str(winner) not in means:
        return "Not recorded", ("No score of a winner is on record.",)
    mean = means[str(winner)]
    told = []
    beaten = {name: means[name] for name in BASELINES if name in means}
    if beaten:
        best = max(beaten, key=lambda name: beaten[name])
        by = f" {mean / beaten[best]:.2f} times" if beaten[best] > 0 else ""
        told.append(
            f"{by.strip() or 'Beside'} the best baseline, {wording.solution(best).lower()}: "
            f"{decimal(beaten[best])}."
        )
    else:
        told.append("No baseline was scored.")
    if CHAMPION in means:
        words = _against(dig(facts, "comparisons", CHAMPION))[0]
        told.append(f"The champion has {decimal(means[CHAMPION])} on the same test: {words}.")
    else:
        told.append("There was no champion to compare with.")
    return f"{wording.metric(dig(facts, 'metric'))} {decimal(mean)}", tuple(told)


def _against(comparison: Any) -> tuple[str, str]:
    """A comparison in words, and a tone; the interval decides, not the point."""
    low, high = number(dig(comparison, "low")), number(dig(comparison, "high"))
    if low is None or high is None:
        return "not compared", "idle"
    if low > 0:
        return "better, beyond chance", "good"
    if high < 0:
        return "worse, beyond chance", "bad"
    return "no clear difference", "idle"


def compared(facts: Any) -> list[dict[str, Any]]:
    """One line for each comparison of the winner: figures, words and a tone."""
    found = []
    for name, comparison in _pairs(dig(facts, "comparisons")):
        words, tone = _against(comparison)
        figures = {key: dig(comparison, key) for key in ("difference", "low", "high", "p_worse")}
        found.append({"name": name, "words": words, "tone": tone, **figures})
    return found


def _further(facts: Any) -> list[str]:
    """Metrics besides the ranking one that at least one solution has."""
    held = [dig(row, "means") for row in _rows(facts)]
    return [
        name
        for name in _FURTHER
        if name != dig(facts, "metric") and any(number(dig(one, name)) is not None for one in held)
    ]


def _board(facts: Any) -> str | None:
    winner = dig(facts, "winner", "recipe")
    lines = []
    for row in _rows(facts):
        name = row.get("name")
        kind: Any = "winner" if name is not None and name == winner else "other"
        kind = "champion" if name == CHAMPION else kind
        mean, low, high = (number(row.get(key)) for key in ("mean", "low", "high"))
        lines.append(Interval(wording.solution(name).split(" (")[0], mean, low, high, kind))
    title = f"{wording.metric(dig(facts, 'metric'))} of each solution, with 95 % intervals"
    return pictures.intervals("board", title, lines) if lines else None


def _trials(facts: Any) -> list[Mapping[str, Any]]:
    """All trials, best value first; those without a value last."""

    def order(trial: Mapping[str, Any]) -> tuple[bool, float]:
        return not _complete(trial), -(number(trial.get("value")) or 0.0)

    return sorted(records(dig(facts, "trials")), key=order)


def _complete(trial: Mapping[str, Any]) -> bool:
    return str(trial.get("state")).lower() == "complete" and number(trial.get("value")) is not None


def _curves(facts: Any) -> list[tuple[str, str]]:
    """A picture of learning curves for each recipe, all on one scale of values."""
    found: dict[str, list[Curve]] = {}
    for trial in _trials(facts):
        steps = trial.get("steps")
        points = [
            (float(step), float(value))
            for step, value in (pair for pair in _list(steps) if len(_list(pair)) == 2)  # noqa: PLR2004
            if number(step) is not None and number(value) is not None
        ]
        if points:
            kin = found.setdefault(str(trial.get("recipe")), [])
            best = not kin and _complete(trial)
            kin.append(Curve(f"trial {trial.get('number')}", sorted(points), best))
    values = [value for kin in found.values() for one in kin for _, value in one.points]
    metric = wording.metric(dig(facts, "metric"))
    drawn = []
    for place, (recipe, kin) in enumerate(sorted(found.items())):
        title = f"Learning curves of {recipe}: {metric} by iteration, one line for each trial"
        picture = pictures.learning_curves(
            f"curves-{place}", title, kin, (min(values), max(values))
        )
        drawn.append((recipe, picture))
    return drawn


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def intake_steps(facts: Any) -> list[Bar]:
    """Rows of tonight's files, from read to new."""
    intake = dig(facts, "intake")
    return _counted(
        ("Rows read", dig(intake, "rows_read"), "total"),
        ("Refused: broke a rule", _total(dig(intake, "refused")), "loss"),
        ("Left out on purpose", _total(dig(intake, "dropped")), "loss"),
        ("Duplicates", dig(intake, "rows_duplicate"), "loss"),
        ("Of erased people", dig(intake, "rows_erased"), "erased"),
        ("New rows kept", dig(intake, "rows_new"), "total"),
    )


def split_steps(facts: Any) -> list[Bar]:
    """All interactions kept so far, less who may not be trained on, as it is split."""
    dropped = dig(facts, "split", "dropped")
    other = _total({k: v for k, v in _pairs(dropped) if k != "excluded"}) if dropped else None
    windows = dig(facts, "split", "windows")
    return _counted(
        ("All interactions kept", dig(facts, "data", "rows"), "total"),
        ("People out of training", dig(dropped, "excluded"), "erased"),
        ("Left out by a rule", other, "loss"),
        ("Rows to learn from", dig(facts, "split", "rows"), "total"),
        ("Train", dig(windows, "train"), "part"),
        ("Validation", dig(windows, "validation"), "part"),
        ("Test", dig(windows, "test"), "part"),
    )


def left_out(facts: Any) -> list[tuple[str, str, Any]]:
    """(rule, what it took, how many) of everything that intake left out."""
    kinds = (("files_refused", "files refused"), ("refused", "rows refused"))
    return [
        (name, what, taken)
        for key, what in (*kinds, ("dropped", "rows left out on purpose"))
        for name, taken in _pairs(dig(facts, "intake", key))
    ]


def _counted(*bars: tuple[str, Any, Any]) -> list[Bar]:
    return [(label, number(rows), kind) for label, rows, kind in bars]


def _funnel(name: str, title: str, bars: list[Bar]) -> dict[str, Any] | None:
    """The picture of what was counted, and how many rows its losses fail to explain."""
    steps = [Step(label, rows, kind) for label, rows, kind in bars if rows is not None]
    if not steps:
        return None
    gap = 0.0
    if all(rows is not None for _, rows, kind in bars if kind != "part"):
        first, last = (step.rows for step in steps if step.kind == "total")
        gap = first - last - sum(step.rows for step in steps if step.kind in ("loss", "erased"))
    picture = pictures.funnel(f"funnel-{name}", title, steps)
    return {"picture": picture, "gap": count(abs(gap)) if gap else None}
