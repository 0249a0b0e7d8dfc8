"""The picture of an audit: how many members are found, by how many others are named by mistake."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lethe.reports.drawing import WIDTH, Scale, label, picture

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 430, 14, 266
_LEAST: Final = 1e-3
STYLES: Final = 4


@dataclass(frozen=True)
class Curve:
    """One attack: (false positives, found) with both in 0..1; `style` is 0 to `STYLES` - 1."""

    label: str
    points: Sequence[tuple[float, float]]
    style: int


def rates(name: str, title: str, curves: Sequence[Curve]) -> str:
    """Found by false positives, those on an axis of powers of ten; guessing is drawn beside."""
    across, up = Scale(math.log10(_LEAST), 0.0, _LEFT, _RIGHT), Scale(0.0, 1.0, _BOTTOM, _TOP)
    drawn = [_grid(across, power) for power in (-3, -2, -1, 0)]
    drawn += [
        f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{up.at(share):.1f}" '
        f'y2="{up.at(share):.1f}"/>'
        + label(f"{share:.0%}", _LEFT - 6, up.at(share) + 4, "end quiet")
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    drawn.append(
        label("others named by mistake", (_LEFT + _RIGHT) / 2, _BOTTOM + 36, "middle quiet")
    )
    guess = [(10 ** (place / 10), 10 ** (place / 10)) for place in range(-30, 1)]
    for place, curve in enumerate([*curves, Curve("guessing", guess, -1)]):
        kind = "guess" if curve.style < 0 else f"series-{curve.style % STYLES}"
        line = " ".join(
            f"{across.at(math.log10(max(rate, _LEAST))):.1f},{up.at(share):.1f}"
            for rate, share in curve.points
        )
        y = _TOP + 16 + 24 * place
        drawn.append(f'<polyline class="rate {kind}" points="{line}"/>')
        drawn.append(f'<path class="rate {kind}" d="M{_RIGHT + 22} {y - 4}h34"/>')
        drawn.append(label(curve.label, _RIGHT + 64, y, "quiet" if curve.style < 0 else "key"))
    told = "; ".join(f"{curve.label}: {_words(curve)}" for curve in curves)
    return picture(name, title, told, (WIDTH, _BOTTOM + 44), drawn)


def _grid(across: Scale, power: int) -> str:
    x = across.at(float(power))
    share = f"{10.0**power:.1%}" if power < -2 else f"{10.0**power:.0%}"  # noqa: PLR2004
    return f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_BOTTOM}"/>' + label(
        share, x, _BOTTOM + 18, "middle quiet"
    )


def _words(curve: Curve) -> str:
    """The share found at a thousandth, a hundredth and a tenth of mistakes."""
    told = []
    for rate in (1e-3, 1e-2, 1e-1):
        near = min(curve.points, key=lambda point: abs(point[0] - rate), default=None)
        if near is not None:
            told.append(f"{near[1]:.0%} found at {rate:.1%}")
    return ", ".join(told) or "not measured"
