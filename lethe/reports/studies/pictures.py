"""Two pictures of a study: its trials in order, and the weight of each hyper-parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from lethe.reports.drawing import WIDTH, Scale, axis, label, picture, round_ticks
from lethe.reports.wording import decimal

_WIDE, _HIGH = 348, 216
_LEFT, _BOTTOM = 52, _HIGH - 42
_LABEL, _END, _ROW = 190, 612, 28
_CROSS: Final = 3.5


@dataclass(frozen=True)
class Tried:
    """One trial: its number, its value, and whether it was completed (or else pruned)."""

    number: int
    value: float
    complete: bool


def history(name: str, title: str, trials: Sequence[Tried]) -> str:
    """Value by trial: dots for complete ones, crosses for pruned ones, and the best so far.

    `trials` are in the order of their numbers and have finite values; the best so far counts the
    complete ones alone.
    """
    values = round_ticks(
        min((one.value for one in trials), default=0.0),
        max((one.value for one in trials), default=1.0),
    )
    places = round_ticks(0.0, max((float(one.number) for one in trials), default=1.0), 5, 1.0)
    across = Scale(places[0], places[-1], _LEFT + 8, _WIDE - 14)
    up = Scale(values[0], values[-1], _BOTTOM, 14)
    drawn = [axis(tick, across.at(tick), None, _BOTTOM) for tick in places]
    drawn += [_level(tick, up.at(tick), values) for tick in values]
    drawn.append(label("trial", (across.start + across.end) / 2, _HIGH - 8, "middle quiet"))
    done = [one for one in trials if one.complete]
    best = list(accumulate((one.value for one in done), max))
    drawn.append(_stairs(done, best, across, up))
    drawn += [_mark(one, across.at(one.number), up.at(one.value)) for one in trials]
    told = f"{len(done)} complete trials and {len(trials) - len(done)} others with a value."
    if best:
        told += f" The best went from {decimal(best[0])} to {decimal(best[-1])}."
    return picture(name, title, told, (_WIDE, _HIGH), drawn)


def _stairs(done: Sequence[Tried], best: Sequence[float], across: Scale, up: Scale) -> str:
    """The best value so far as a line of steps, to the right edge."""
    if not done:
        return ""
    path = f"M{across.at(done[0].number):.1f} {up.at(best[0]):.1f}"
    for one, value in zip(done[1:], best[1:], strict=True):
        path += f"H{across.at(one.number):.1f}V{up.at(value):.1f}"
    return f'<path class="curve best" d="{path}H{across.end:.1f}"/>'


def _mark(one: Tried, x: float, y: float) -> str:
    if one.complete:
        return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    size = _CROSS
    ends = f"M{x - size:.1f} {y - size:.1f}l{2 * size:g} {2 * size:g}m0 {-2 * size:g}"
    return f'<path class="curve" d="{ends}l{-2 * size:g} {2 * size:g}"/>'


def _level(value: float, y: float, all_values: Sequence[float]) -> str:
    places = max(len(f"{other:g}".partition(".")[2]) for other in all_values)
    line = f'<line class="grid" x1="{_LEFT}" x2="{_WIDE - 14}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + label(f"{value:.{places}f}", _LEFT - 6, y + 4, "end quiet")


def importance(name: str, title: str, shares: Sequence[tuple[str, float]]) -> str:
    """A bar for each hyper-parameter, its share of what moved the value between 0 and 1."""
    scale = Scale(0.0, 1.0, _LABEL, _END)
    drawn = []
    for place, (parameter, share) in enumerate(shares):
        top = 4 + _ROW * place
        wide = max(scale.at(share) - scale.start, 1.0)
        drawn.append(
            label(parameter, _LABEL - 14, top + 17.5, "label end")
            + f'<rect class="track" x="{scale.start:g}" y="{top + 3}" '
            f'width="{scale.end - scale.start:g}" height="20" rx="2"/>'
            f'<rect class="bar" x="{scale.start:g}" y="{top + 3}" width="{wide:.1f}" '
            'height="20" rx="2"/>' + label(_percent(share), WIDTH - 4, top + 17.5, "value end")
        )
    told = "; ".join(f"{parameter}: {_percent(share)}" for parameter, share in shares)
    return picture(name, title, told, (WIDTH, _ROW * len(shares) + 8), drawn)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
