"""What happens in a night, said on standard error while it happens. Never an id.

People read one line an event. With `LETHE_LOG=json` each event is one JSON object on a line of its
own, the start and the end of every step among them: `time` (UTC), `night`, `step`, `event`, and
where there are any `text`, `seconds`, `error` (a class) and `counts` (numbers, and names of
recipes and outcomes).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from lethe.errors import BadConfiguration

STEPS: Final = (
    "intake",
    "purge",
    "version",
    "split",
    "tune",
    "train",
    "record",
    "verify",
    "promote",
    "retire",
    "report",
)
FORM: Final = "LETHE_LOG"
_FORMS: Final = ("", "text", "json")

Counts = Mapping[str, int | float | str | None]
Hear = Callable[[str, str, Counts], None]
"""Called with step, event and counts."""


class Screen(Protocol):
    """A terminal that shows more than lines."""

    def line(self, text: str) -> None:
        """Print a line above what is shown."""

    def happened(self, step: str, event: str, counts: Counts) -> None:
        """Show what is known since this event."""


@dataclass
class _Speaking:
    """Who listens in this process, and the name of the night or experiment that speaks."""

    night: str | None = None
    screen: Screen | None = None
    ears: tuple[Hear, ...] = ()

    def hear(self, step: str, event: str, counts: Counts) -> None:
        """Tell everybody who listens."""
        if self.screen is not None:
            self.screen.happened(step, event, counts)
        for ear in self.ears:
            ear(step, event, counts)


_speaking = _Speaking()


def say(
    step: str,
    text: str,
    counts: Counts | None = None,
    *,
    event: str = "said",
    seconds: float | None = None,
) -> None:
    """Say one line: time, step and what it does. The rest is told to machines beside it."""
    told = counts or {}
    number = f"{STEPS.index(step) + 1:>2}/{len(STEPS)}" if step in STEPS else "     "
    line = f"{datetime.now(UTC):%H:%M:%S} {number} {step:<8} {text}"
    if as_json():
        _write(step, event, text=text, seconds=seconds, counts=told)
    elif _speaking.screen is None:
        print(line, file=sys.stderr, flush=True)
    else:
        _speaking.screen.line(line)
    _speaking.hear(step, event, told)


def note(step: str, event: str, seconds: float | None = None, error: str | None = None) -> None:
    """Tell machines, and a screen, what people are not told in a line of its own."""
    if as_json():
        _write(step, event, seconds=seconds, error=error)
    _speaking.hear(step, event, {})


def iterated(iterations: int) -> None:
    """A trial ran this many iterations: too many events for any log, a number for who watches."""
    _speaking.hear("tune", "iteration", {"iterations": iterations})


def as_json() -> bool:
    """Whether machines read what is said."""
    return os.environ.get(FORM) == "json"


def checked() -> None:
    """Raise BadConfiguration if `LETHE_LOG` asks for a form that there is not."""
    if os.environ.get(FORM, "") not in _FORMS:
        raise BadConfiguration(f"{FORM} is neither json nor text")


@contextlib.contextmanager
def speaking(name: str, text: str | None = None) -> Iterator[None]:
    """Whatever is said during the block is said by this night or experiment.

    `name` is a kind and a moment, as in "night 2026-03-01 03:15:00"; `text` is said first.
    """
    kind = name.partition(" ")[0]
    before, _speaking.night = _speaking.night, name
    start, failure = time.monotonic(), None
    try:
        if text is None:
            note(kind, "start")
        else:
            say(kind, text, event="start")
        yield
    except BaseException as error:
        failure = type(error).__name__
        raise
    finally:
        note(kind, "end", seconds=time.monotonic() - start, error=failure)
        _speaking.night = before


@contextlib.contextmanager
def shown_on(screen: Screen) -> Iterator[None]:
    """Lines go to `screen` during the block, and with them what it shows besides."""
    before, _speaking.screen = _speaking.screen, screen
    try:
        yield
    finally:
        _speaking.screen = before


@contextlib.contextmanager
def heard_by(ear: Hear) -> Iterator[None]:
    """Call `ear` for each event during the block."""
    before, _speaking.ears = _speaking.ears, (*_speaking.ears, ear)
    try:
        yield
    finally:
        _speaking.ears = before


def failed(message: str, exit_code: int) -> None:
    """Say why the command ends, in the form for machines."""
    _write("command", "failed", text=message, counts={"exit_code": exit_code})


def _write(  # noqa: PLR0913 - an event has this many sides
    step: str,
    event: str,
    *,
    text: str | None = None,
    seconds: float | None = None,
    error: str | None = None,
    counts: Counts | None = None,
) -> None:
    known = {name: value for name, value in (counts or {}).items() if _sayable(value)}
    told = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "night": _speaking.night,
        "step": step,
        "event": event,
        "text": text,
        "seconds": None if seconds is None else round(seconds, 3),
        "error": error,
        "counts": known or None,
    }
    line = json.dumps({name: value for name, value in told.items() if value is not None})
    print(line, file=sys.stderr, flush=True)


def _sayable(value: float | str | None) -> bool:
    """JSON has no NaN, the value of a trial that failed."""
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))
