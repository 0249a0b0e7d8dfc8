"""What all pictures are made of: scales, ticks, labels, and the SVG around them.

A picture has `role="img"`, a title, and a description that says in words what it shows. Colours
come from the page through classes (`mark winner`, `bar loss` and so on), so that light, dark and
printed pages share one picture. All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 720
_LONGEST: Final = 34
_NOISE, _WIDEST = 1e-6, 1e15  # values nearer to each other are one; larger ones leave the axis


@dataclass(frozen=True)
class Scale:
    """A straight line from values to places."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The place of a value; one beyond an end stands at that end."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


def round_ticks(low: float, high: float, most: int = 6, least: float = 0.0) -> list[float]:
    """Round numbers from at most `low` to at least `high`, at least `least` apart.

    >>> round_ticks(0.0, 0.153)
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


def axis(tick: float, x: float, top: float | None, bottom: float) -> str:
    """A number below the plot with its line; `top` None draws a short one."""
    line = (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom:g}" y2="{bottom + 4:g}"/>'
        if top is None
        else f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:g}" y2="{bottom:g}"/>'
    )
    return line + label(f"{tick:g}", x, bottom + 17, "middle quiet")


def label(text: str, x: float, y: float, kind: str) -> str:
    """One line of text; a long one is cut."""
    short = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(short)}</text>'


def picture(
    name: str, title: str, told: str, size: tuple[float, float], drawn: Sequence[str]
) -> str:
    """One SVG; `told` says in words what it shows, `name` makes its ids unique in the page."""
    safe = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {size[0]:g} {size[1]:g}" '
        f'aria-labelledby="{safe}-title {safe}-told" class="picture">'
        f'<title id="{safe}-title">{escape(title)}</title>'
        f'<desc id="{safe}-told">{escape(told)}</desc>{"".join(drawn)}</svg>'
    )
