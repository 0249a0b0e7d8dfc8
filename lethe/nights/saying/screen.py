"""On a terminal: the lines as they come, and below them where the night is."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lethe.nights.saying.events import STEPS, Counts, as_json, shown_on

if TYPE_CHECKING:
    from rich.live import Live

_A_SECOND = 4  # redrawings


@dataclass
class Standing:
    """Where a night is, in one line; `clock` gives seconds."""

    clock: Callable[[], float] = time.monotonic
    step: str = "starting"
    known: dict[str, Any] = field(default_factory=dict)
    best: float = -math.inf
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def happened(self, step: str, event: str, counts: Counts) -> None:
        """Take in what is known since this event."""
        if event == "start":
            self.step = step
        self.known |= {name: value for name, value in counts.items() if value is not None}
        value = counts.get("value")
        if event == "trial" and isinstance(value, float) and value > self.best:
            self.best = value

    def __str__(self) -> str:
        """Step, files, trials with the best score, iterations, and the time since the start."""
        place = f"{STEPS.index(self.step) + 1}/{len(STEPS)} " if self.step in STEPS else ""
        parts = [f"{place}{self.step}"]
        if "files" in self.known:
            parts.append(f"{self.known['files']} files")
        if "trials" in self.known:
            done = "{recipe} {trial}/{trials} trials".format_map(self.known)
            parts.append(done + (f", best {self.best:.4f}" if self.best > -math.inf else ""))
        if self.step in {"tune", "experiment"} and "iterations" in self.known:
            parts.append(f"{self.known['iterations']} iterations")
        minutes, seconds = divmod(int(self.clock() - self.began), 60)
        return "  ".join([*parts, f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"])


class Terminal:
    """Prints lines above a standing that is redrawn in place."""

    def __init__(self, live: Live, standing: Standing) -> None:
        self.live, self.standing = live, standing

    def line(self, text: str) -> None:
        """Print a line as it would be printed without a screen."""
        self.live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def happened(self, step: str, event: str, counts: Counts) -> None:
        """Show it at the next redrawing."""
        self.standing.happened(step, event, counts)


@contextlib.contextmanager
def screen() -> Iterator[None]:
    """Show where the night is during the block if standard error is a terminal; else nothing.

    Neither where machines read it, nor on a terminal that cannot move its cursor.
    """
    if not sys.stderr.isatty() or as_json() or os.environ.get("TERM", "dumb") == "dumb":
        yield
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    standing = Standing()
    live = Live(
        console=Console(stderr=True),
        get_renderable=lambda: Text(str(standing), style="bold", no_wrap=True, overflow="ellipsis"),
        refresh_per_second=_A_SECOND,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with live, shown_on(Terminal(live, standing)):
        live.console.show_cursor()  # whoever is killed cannot give it back
        yield
