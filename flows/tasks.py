"""One thin task per step: a name, one call, a small record back.

What fails is told to Prefect as a message without its cause: Prefect stores exceptions whole, and
a traceback's values could hold what must not leave the data. Steps are idempotent, so a night that
failed on an outside system is simply started again; only reading steps are retried within it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from lethe.errors import LetheError, OutsideFailure
from lethe.nights import steps
from lethe.nights.frame import Night
from lethe.nights.saying.events import note, say

P = ParamSpec("P")
R = TypeVar("R")


def scrubbed(function: Callable[P, R]) -> Callable[P, R]:
    """Let only errors of ours pass, without cause, context and traceback."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        failure: LetheError
        try:
            return function(*args, **kwargs)
        except LetheError as error:
            failure = error
        except Exception as error:  # named by its class, never by its content
            failure = OutsideFailure(f"{function.__name__}: unexpected {type(error).__name__}")
        raise failure.with_traceback(None) from None

    return run


def timed(function: Callable[..., R]) -> Callable[..., R]:
    """Say when a step begins and note the seconds it took."""

    @functools.wraps(function)
    def run(night: Night, *args: Any) -> R:
        name, failure = function.__name__, None
        say(name, "begins", event="start")
        start = time.monotonic()
        try:
            return function(night, *args)
        except BaseException as error:
            failure = type(error).__name__
            raise
        finally:
            spent = time.monotonic() - start
            night.timings[name] = night.timings.get(name, 0.0) + spent
            note(name, "end", seconds=spent, error=failure)

    return run


def step(function: Callable[..., R]) -> Callable[..., R]:
    """A Prefect task named like the step: nothing cached, nothing persisted, nothing printed."""
    made: Callable[..., R] = task(
        name=function.__name__,
        cache_policy=NO_CACHE,
        persist_result=False,
        log_prints=False,
    )(scrubbed(timed(function)))
    return made


intake = step(steps.intake)
purge = step(steps.purge)
version = step(steps.version)
split = step(steps.split)
tune = step(steps.tune)
train = step(steps.train)
record = step(steps.record)
verify = step(steps.verify)
promote = step(steps.promote)
retire = step(steps.retire)
report = step(steps.report)
