"""Three pictures as inline SVG: intervals, learning curves, a funnel.

Pure functions from numbers to text. A picture has `role="img"`, a title, and a description that
says in words what it shows. Colours come from the page through classes (`mark winner`, `bar loss`
and so on), so that light, dark and printed pages share one picture. All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

from lethe.reports.wording import MINUS, count, decimal

WIDTH: Final = 720
_LABEL: Final = 190  # where labels end and the plot begins
_INTERVAL_END, _BAR_END = 496, 612  # where the plot ends; values stand at the right edge
_ROW: Final = 30
_CURVE_WIDTH, _CURVE_HEIGHT = 348, 216
_LONGEST: Final = 34
_NOISE, _WIDEST = 1e-6, 1e15  # values nearer to each other are one; larger ones leave the axis


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
    ticks = _ticks(min(0.0, *known, 0.0), max(known, default=1.0) or 1.0)
    scale = _Scale(ticks[0], ticks[-1], _LABEL, _INTERVAL_END)
    bottom = 10 + _ROW * len(rows)
    drawn = [_axis(tick, scale.at(tick), 6, bottom) for tick in ticks]
    for place, row in enumerate(rows):
        drawn.append(_interval(row, 10 + _ROW * place + _ROW / 2, scale))
    told = "; ".join(f"{row.label}: {_interval_words(row)}" for row in rows)
    return _picture(name, title, told, (WIDTH, bottom + 26), drawn)


def _interval(row: Interval, y: float, scale: _Scale) -> str:
    parts = [_text(row.label, _LABEL - 14, y + 4.5, f"label end {row.kind}")]
    if row.mean is None:
        return "".join([*parts, _text("not scored", scale.start + 8, y + 4.5, "quiet")])
    if row.low is not None and row.high is not None:
        low, high = scale.at(row.low), scale.at(row.high)
        ends = f"M{low:.1f} {y - 5:g}v10M{low:.1f} {y:g}H{high:.1f}M{high:.1f} {y - 5:g}v10"
        parts.append(f'<path class="whisker {row.kind}" d="{ends}"/>')
    parts.append(
        f'<circle class="mark {row.kind}" cx="{scale.at(row.mean):.1f}" cy="{y:g}" r="5"/>'
    )
    parts.append(_text(_interval_words(row), WIDTH - 4, y + 4.5, f"value end {row.kind}"))
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
    values = _ticks(low, high)
    steps = _ticks(
        0.0, max((step for curve in shown for step, _ in curve.points), default=1.0), 5, 1.0
    )
    across = _Scale(steps[0], steps[-1], 52, _CURVE_WIDTH - 14)
    up = _Scale(values[0], values[-1], _CURVE_HEIGHT - 42, 14)
    drawn = [_axis(step, across.at(step), None, _CURVE_HEIGHT - 42) for step in steps]
    drawn += [_level(value, up.at(value), values) for value in values]
    drawn.append(
        _text("iteration", (across.start + across.end) / 2, _CURVE_HEIGHT - 8, "middle quiet")
    )
    drawn += [_curve(curve, across, up) for curve in shown]
    best = [curve for curve in shown if curve.best]
    told = f"{len(shown)} trials with a curve." + "".join(
        f" The best, {curve.label}, went from {decimal(curve.points[0][1])} "
        f"to {decimal(curve.points[-1][1])}."
        for curve in best
    )
    return _picture(name, title, told, (_CURVE_WIDTH, _CURVE_HEIGHT), drawn)


def _curve(curve: Curve, across: _Scale, up: _Scale) -> str:
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
        parts.append(_text(curve.label, x, above, "end value best"))
    return "".join(parts)


def funnel(name: str, title: str, steps: Sequence[Step]) -> str:
    """Bars from many rows to few: what is lost hangs where it was, parts stand side by side."""
    widest = max((step.rows for step in steps), default=0.0) or 1.0
    scale = _Scale(0.0, widest, _LABEL, _BAR_END)
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
    return _picture(name, title, "; ".join(told), (WIDTH, 28 * len(steps) + 8), drawn)


def _bar(step: Step, top: float, x: float, scale: _Scale) -> str:
    wide = max(scale.at(step.rows) - scale.start, 2.0 if step.rows > 0 else 0.0)
    x = min(x, scale.end - wide)
    return (
        _text(step.label, _LABEL - 14, top + 17.5, f"label end {step.kind}")
        + f'<rect class="track" x="{scale.start:g}" y="{top + 3:g}" '
        f'width="{scale.end - scale.start:g}" height="20" rx="2"/>'
        + f'<rect class="bar {step.kind}" x="{x:.1f}" y="{top + 3:g}" width="{wide:.1f}" '
        'height="20" rx="2"/>'
        + _text(_rows_words(step), WIDTH - 4, top + 17.5, f"value end {step.kind}")
    )


def _rows_words(step: Step) -> str:
    sign = MINUS if step.kind in ("loss", "erased") and step.rows > 0 else ""
    return f"{sign}{count(step.rows)}"


@dataclass(frozen=True)
class _Scale:
    """A straight line from values to places."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


def _ticks(low: float, high: float, most: int = 6, least: float = 0.0) -> list[float]:
    """Round numbers from at most `low` to at least `high`, at least `least` apart.

    >>> _ticks(0.0, 0.153)
    [0.0, 0.05, 0.1, 0.15, 0.2]
    """
    low, high = max(low, -_WIDEST), min(high, _WIDEST)
    largest = max(abs(low), abs(high))
    span = max(high - low if high - low > _NOISE * largest else largest, _NOISE)
    size = max(10.0 ** math.floor(math.log10(span / most)), least)
    step = next(
        size * factor
        for factor in (1, 2, 5, 10, 20, 50)
        if math.ceil(high / (size * factor)) - math.floor(low / (size * factor)) <= most
    )
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, max(last, first + 1) + 1)]


def _axis(tick: float, x: float, top: float | None, bottom: float) -> str:
    line = (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom:g}" y2="{bottom + 4:g}"/>'
        if top is None
        else f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:g}" y2="{bottom:g}"/>'
    )
    return line + _text(f"{tick:g}", x, bottom + 17, "middle quiet")


def _level(value: float, y: float, all_values: Sequence[float]) -> str:
    places = max(len(f"{other:g}".partition(".")[2]) for other in all_values)
    return (
        f'<line class="grid" x1="52" x2="{_CURVE_WIDTH - 14}" y1="{y:.1f}" y2="{y:.1f}"/>'
        + _text(f"{value:.{places}f}", 46, y + 4, "end quiet")
    )


def _text(text: str, x: float, y: float, kind: str) -> str:
    short = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(short)}</text>'


def _picture(
    name: str, title: str, told: str, size: tuple[float, float], drawn: Sequence[str]
) -> str:
    safe = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {size[0]:g} {size[1]:g}" '
        f'aria-labelledby="{safe}-title {safe}-told" class="picture">'
        f'<title id="{safe}-title">{escape(title)}</title>'
        f'<desc id="{safe}-told">{escape(told)}</desc>{"".join(drawn)}</svg>'
    )
