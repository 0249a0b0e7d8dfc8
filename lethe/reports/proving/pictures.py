"""Two pictures of a proof: where three groups of people lie, and a residual beside its limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lethe.reports.drawing import WIDTH, Scale, axis, label, picture, round_ticks
from lethe.reports.wording import count, decimal, plural

_LEFT, _RIGHT = 206, 520
_ROW, _HALF, _TOP = 58, 22, 26
_LEAST_HALF: Final = 3.0  # one person among hundreds must be seen
_FIRST_DECADE, _LAST_DECADE = -9, 0

Kind = Literal["barred", "unseen", "member"]


@dataclass(frozen=True)
class Cloud:
    """One group: (lower edge of a bin, people) in ascending order, and who was not measured."""

    label: str
    kind: Kind
    bins: Sequence[tuple[float, int]]
    silent: int = 0

    @property
    def people(self) -> int:
        """How many were measured."""
        return sum(people for _, people in self.bins)


@dataclass(frozen=True)
class Ruler:
    """The axis of clouds: bins of one `width` from `low` to `high`, and the line to stay below."""

    low: float
    high: float
    width: float
    line: float | None
    what: str


def clouds(name: str, title: str, groups: Sequence[Cloud], ruler: Ruler) -> str:
    """A row of bars for each group, centred, as high as the root of the people in the bin.

    Bars of a `barred` group from the line on are drawn as wrong. Groups without anybody say so.
    """
    scale = Scale(ruler.low, ruler.high, _LEFT, _RIGHT)
    bottom = _TOP + _ROW * len(groups)
    marks = round_ticks(ruler.low, ruler.high)
    drawn = [axis(tick, scale.at(tick), _TOP - 6, bottom) for tick in marks]
    drawn.append(label(ruler.what, (_LEFT + _RIGHT) / 2, bottom + 34, "middle quiet"))
    for place, group in enumerate(groups):
        drawn.append(_cloud(group, _TOP + _ROW * place + _ROW / 2, scale, ruler))
    told = "; ".join(f"{group.label}: {words(group, ruler)}" for group in groups)
    if ruler.line is not None:
        drawn.append(_line(scale.at(ruler.line), _TOP - 6, bottom, f"limit {ruler.line:.2f}"))
        told += f". The limit is {decimal(ruler.line, 2)}."
    return picture(name, title, told, (WIDTH, bottom + 42), drawn)


def words(group: Cloud, ruler: Ruler) -> str:
    """Who lies where, in words: count, ends, middle, and how many reach the line."""
    silent = f", {count(group.silent)} not measurable" if group.silent else ""
    if not group.people:
        return f"nobody{silent}"
    low, high = group.bins[0][0], group.bins[-1][0] + ruler.width
    middle = _middle(group)
    told = (
        f"{plural(group.people, 'person', 'people')} from {decimal(low, 2)} to {decimal(high, 2)}, "
        f"half of them below {decimal(middle + ruler.width, 2)}{silent}"
    )
    if ruler.line is None:
        return told
    return f"{told}, {count(_beyond(group, ruler.line))} at or above the limit"


def _middle(group: Cloud) -> float:
    """The lower edge of the bin that holds the median."""
    passed = 0
    for edge, people in group.bins:
        passed += people
        if 2 * passed >= group.people:
            return edge
    return group.bins[-1][0]


def _beyond(group: Cloud, line: float) -> int:
    return sum(people for edge, people in group.bins if edge >= line - 1e-9)


def _cloud(group: Cloud, y: float, scale: Scale, ruler: Ruler) -> str:
    most = max((people for _, people in group.bins), default=1)
    parts = [
        label(group.label, _LEFT - 14, y - 2, "label end"),
        label(_counted(group), _LEFT - 14, y + 14, "end quiet"),
        f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:g}" y2="{y:g}"/>',
    ]
    for edge, people in group.bins:
        half = max(_LEAST_HALF, _HALF * math.sqrt(people / most))
        left, right = scale.at(edge), scale.at(edge + ruler.width)
        wrong = group.kind == "barred" and ruler.line is not None and edge >= ruler.line - 1e-9
        parts.append(
            f'<rect class="cloud {"wrong" if wrong else group.kind}" x="{left:.1f}" '
            f'y="{y - half:.1f}" width="{max(1.5, right - left - 0.6):.1f}" '
            f'height="{2 * half:.1f}" rx="1.5"/>'
        )
    if not group.people:
        parts.append(label("nobody to show", scale.at(0.0) + 8, y - 6, "quiet"))
    elif ruler.line is not None:
        over = f"{count(_beyond(group, ruler.line))} of {count(group.people)}"
        parts.append(label(over, WIDTH - 4, y - 2, "value end"))
        parts.append(label("at or above the limit", WIDTH - 4, y + 14, "end quiet"))
    return "".join(parts)


def _counted(group: Cloud) -> str:
    silent = f", {count(group.silent)} not measurable" if group.silent else ""
    return f"{plural(group.people, 'person', 'people')}{silent}"


def _line(x: float, top: float, bottom: float, text: str) -> str:
    return f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{top:g}" y2="{bottom:g}"/>' + label(
        text, x + 5, top + 4, "limit"
    )


def gauge(
    name: str, title: str, measured: float, limit: float, known: Sequence[tuple[str, float, float]]
) -> str:
    """A number on an axis of powers of ten, its limit, and bands of what is known of others.

    `known` are (label, lowest, highest), all above 0. A number of 0 stands at the left end.
    """
    scale = Scale(_FIRST_DECADE, _LAST_DECADE, 24, WIDTH - 24)
    drawn = [
        f'<line class="grid" x1="{scale.at(power):.1f}" x2="{scale.at(power):.1f}" y1="62" '
        f'y2="92"/>' + label(f"1e{power}" if power else "1", scale.at(power), 108, "middle quiet")
        for power in range(_FIRST_DECADE, _LAST_DECADE + 1)
    ]
    told = f"Measured {measured:.1e}, limit {limit:.0e}."
    for what, low, high in known:
        left, right = scale.at(_power(low)), scale.at(_power(high))
        drawn.append(
            f'<rect class="band" x="{left:.1f}" y="68" width="{right - left:.1f}" height="18"/>'
            + label(what, (left + right) / 2, 126, "middle quiet")
        )
        told += f" {what}: {low:.0e} to {high:.0e}."
    drawn.append(_line(scale.at(_power(limit)), 44, 92, f"limit {limit:.0e}"))
    x = scale.at(_power(measured))
    side = "fine" if measured <= limit else "wrong"
    drawn.append(f'<path class="pointer {side}" d="M{x:.1f} 66l-7 -13h14z"/>')
    drawn.append(f'<line class="pointer {side}" x1="{x:.1f}" x2="{x:.1f}" y1="60" y2="92"/>')
    drawn.append(label(f"measured {measured:.1e}", x, 34, f"middle value {side}"))
    return picture(name, title, told, (WIDTH, 134), drawn)


def _power(value: float) -> float:
    return math.log10(value) if value > 0 else float(_FIRST_DECADE)
