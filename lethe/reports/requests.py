"""Where each request of rights stands, as facts without ids."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from lethe.interactions.rights.register import Action, Register, RequestState, Standing

DUE_SOON_SECONDS = 7 * 86_400
Which = Literal["open", "due", "closed", "all"]


def listing(
    register: Register, which: Which, now: int, suppressed_at: int = 0
) -> list[dict[str, Any]]:
    """Requests as rows of facts without ids; `now` is Unix seconds; see `shown_state`."""
    standing, states = register.standing(), register.requests()
    return [
        {**told_of(state, now), "state": shown_state(state, standing, suppressed_at)}
        for state in states
        if _is(which, state, now)
    ]


def shown_state(state: RequestState, standing: Standing, suppressed_at: int) -> str:
    """How far a request has come, and whether its person is served no more in the meantime.

    `suppressed_at` is the position at which the list of those whom no model serves was made.
    """
    keeps_out = state.entry.action in (Action.ERASE, Action.OBJECT, Action.RESTRICT)
    listed = keeps_out and state.entry.position <= suppressed_at
    if state.state == "received" and listed and state.entry.tombstone in standing.excluded:
        return "suppressed"
    return state.state


def _is(which: Which, state: RequestState, now: int) -> bool:
    if which == "all":
        return True
    if which == "due":
        return state.open and state.due - now <= DUE_SOON_SECONDS
    return state.open is (which == "open")


def counts(register: Register, now: int) -> dict[str, int]:
    """How many requests are open, due within a week, overdue, closed."""
    states = register.requests()
    waiting = [state for state in states if state.open]
    return {
        "open": len(waiting),
        "due": sum(0 <= state.due - now <= DUE_SOON_SECONDS for state in waiting),
        "overdue": sum(state.overdue(now) for state in waiting),
        "closed": len(states) - len(waiting),
    }


def warning(overdue: int) -> str | None:
    """Says that requests are overdue, if any are: every door that sees it says the same.

    >>> warning(1)
    'OVERDUE: 1 request is past its due date; `lethe requests --state due` lists what is due'
    """
    if not overdue:
        return None
    what = "1 request is past its" if overdue == 1 else f"{overdue} requests are past their"
    return f"OVERDUE: {what} due date; `lethe requests --state due` lists what is due"


def told_of(state: RequestState, now: int) -> dict[str, Any]:
    """One request as facts without ids; its state as the register has it."""
    return {
        "position": state.entry.position,
        "action": str(state.entry.action),
        "received": _day(state.entry.received),
        "due": _day(state.due),
        "extended": None if state.extension is None else state.extension.reason,
        "overdue": state.overdue(now),
        "state": state.state,
        "rows_removed": state.rows_removed,
        "closed": None if state.closed_at is None else _day(state.closed_at),
        "evidence": state.evidence,
    }


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
