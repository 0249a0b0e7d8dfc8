"""Three pictures as inline SVG: intervals, learning curves, a funnel.

Pure functions from numbers to text, of the parts in `lethe.reports.drawing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lethe.reports.drawing import WIDTH, Scale, axis, label, picture, round_ticks
from lethe.reports.wording import MINUS, count, decimal

_LABEL: Final = 190  # where labels end and the plot begins
_INTERVAL_END, _BAR_END = 496, 612  # where the plot ends; values stand at the right edge
_ROW: Final = 30
_CURVE_WIDTH, _CURVE_HEIGHT = 348, 216


@dataclass(frozen=True)
class Interval:
    """One solution: its mean and the ends of its 95 % interval, None if not known."""

    label: str
    mean: float | None
    low: float | None
    high: float | None
    kind: Literal["winner", "champion", "other"] = "other"


@dataclass(frozen=True)
class Curve:
    """One trial: (iteration, value) in ascending order, finite; `best` is drawn in front."""

    label: str
    points: Sequence[tuple[float, float]]
    best: bool = False


@dataclass(frozen=True)
class Step:
    """One bar of a funnel, in rows.

    A "total" starts at the left; a "loss" or "erased" is what the rows before it lost; a "part"
    is a share of the last total.
    """

    label: str
    rows: float
    kind: Literal["total", "loss", "erased", "part"]


def intervals(name: str, title: str, rows: Sequence[Interval]) -> str:
    """Dots with whiskers on one axis from zero; rows without a mean say so.

    `name` becomes part of ids in the page: each picture of a page needs its own.
    """
    known = [value for row in rows for value in (row.mean, row.low, row.high) if value is not None]
    ticks = round_ticks(min(0.0, *known, 0.0), max(known, default=1.0) or 1.0)
    scale = Scale(ticks[0], ticks[-1], _LABEL, _INTERVAL_END)
    bottom = 10 + _ROW * len(rows)
    drawn = [axis(tick, scale.at(tick), 6, bottom) for tick in ticks]
    for place, row in enumerate(rows):
        drawn.append(_interval(row, 10 + _ROW * place + _ROW / 2, scale))
    told = "; ".join(f"{row.label}: {_interval_words(row)}" for row in rows)
    return picture(name, title, told, (WIDTH, bottom + 26), drawn)


def _interval(row: Interval, y: float, scale: Scale) -> str:
    parts = [label(row.label, _LABEL - 14, y + 4.5, f"label end {row.kind}")]
    if row.mean is None:
        return "".join([*parts, label("not scored", scale.start + 8, y + 4.5, "quiet")])
    if row.low is not None and row.high is not None:
        low, high = scale.at(row.low), scale.at(row.high)
        ends = f"M{low:.1f} {y - 5:g}v10M{low:.1f} {y:g}H{high:.1f}M{high:.1f} {y - 5:g}v10"
        parts.append(f'<path class="whisker {row.kind}" d="{ends}"/>')
    parts.append(
        f'<circle class="mark {row.kind}" cx="{scale.at(row.mean):.1f}" cy="{y:g}" r="5"/>'
    )
    parts.append(label(_interval_words(row), WIDTH - 4, y + 4.5, f"value end {row.kind}"))
    return "".join(parts)


def _interval_words(row: Interval) -> str:
    if row.mean is None:
        return "not scored"
    if row.low is None or row.high is None:
        return decimal(row.mean)
    return f"{decimal(row.mean)} ({decimal(row.low)} to {decimal(row.high)})"


def learning_curves(
    name: str, title: str, curves: Sequence[Curve], within: tuple[float, float] | None = None
) -> str:
    """Value by iteration, one line a trial, the best in front and named.

    `within` are the lowest and highest value of the axis, so that several pictures share one.
    """
    shown = sorted((curve for curve in curves if curve.points), key=lambda curve: curve.best)
    flat = [value for curve in shown for _, value in curve.points]
    low, high = within or (min(flat, default=0.0), max(flat, default=1.0))
    values = round_ticks(low, high)
    steps = round_ticks(
        0.0, max((step for curve in shown for step, _ in curve.points), default=1.0), 5, 1.0
    )
    across = Scale(steps[0], steps[-1], 52, _CURVE_WIDTH - 14)
    up = Scale(values[0], values[-1], _CURVE_HEIGHT - 42, 14)
    drawn = [axis(step, across.at(step), None, _CURVE_HEIGHT - 42) for step in steps]
    drawn += [_level(value, up.at(value), values) for value in values]
    drawn.append(
        label("iteration", (across.start + across.end) / 2, _CURVE_HEIGHT - 8, "middle quiet")
    )
    drawn += [_curve(curve, across, up) for curve in shown]
    best = [curve for curve in shown if curve.best]
    told = f"{len(shown)} trials with a curve." + "".join(
        f" The best, {curve.label}, went from {decimal(curve.points[0][1])} "
        f"to {decimal(curve.points[-1][1])}."
        for curve in best
    )
    return picture(name, title, told, (_CURVE_WIDTH, _CURVE_HEIGHT), drawn)


def _curve(curve: Curve, across: Scale, up: Scale) -> str:
    kind = "best" if curve.best else "trial"
    places = [(across.at(step), up.at(value)) for step, value in curve.points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[-1]
    parts = [f'<polyline class="curve {kind}" points="{line}"/>' if len(places) > 1 else ""]
    parts.append(
        f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{3.5 if curve.best else 2}"/>'
    )
    if curve.best:
        above = y - 9 if y > up.end + 16 else y + 18
        parts.append(label(curve.label, x, above, "end value best"))
    return "".join(parts)


def funnel(name: str, title: str, steps: Sequence[Step]) -> str:
    """Bars from many rows to few: what is lost hangs where it was, parts stand side by side."""
    widest = max((step.rows for step in steps), default=0.0) or 1.0
    scale = Scale(0.0, widest, _LABEL, _BAR_END)
    left, part, drawn, told = 0.0, 0.0, [], []
    for place, step in enumerate(steps):
        if step.kind == "total":
            left, part, start = step.rows, 0.0, 0.0
        elif step.kind == "part":
            start, part = part, part + step.rows
        else:
            start = left = max(0.0, left - step.rows)
        drawn.append(_bar(step, 4 + 28 * place, scale.at(start), scale))
        told.append(f"{step.label}: {_rows_words(step)}")
    return picture(name, title, "; ".join(told), (WIDTH, 28 * len(steps) + 8), drawn)


def _bar(step: Step, top: float, x: float, scale: Scale) -> str:
    wide = max(scale.at(step.rows) - scale.start, 2.0 if step.rows > 0 else 0.0)
    x = min(x, scale.end - wide)
    return (
        label(step.label, _LABEL - 14, top + 17.5, f"label end {step.kind}")
        + f'<rect class="track" x="{scale.start:g}" y="{top + 3:g}" '
        f'width="{scale.end - scale.start:g}" height="20" rx="2"/>'
        + f'<rect class="bar {step.kind}" x="{x:.1f}" y="{top + 3:g}" width="{wide:.1f}" '
        'height="20" rx="2"/>'
        + label(_rows_words(step), WIDTH - 4, top + 17.5, f"value end {step.kind}")
    )


def _rows_words(step: Step) -> str:
    sign = MINUS if step.kind in ("loss", "erased") and step.rows > 0 else ""
    return f"{sign}{count(step.rows)}"


def _level(value: float, y: float, all_values: Sequence[float]) -> str:
    places = max(len(f"{other:g}".partition(".")[2]) for other in all_values)
    return (
        f'<line class="grid" x1="52" x2="{_CURVE_WIDTH - 14}" y1="{y:.1f}" y2="{y:.1f}"/>'
        + label(f"{value:.{places}f}", 46, y + 4, "end quiet")
    )
