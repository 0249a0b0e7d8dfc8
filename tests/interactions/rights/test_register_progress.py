"""What was done about a request, and with a promotion, as the register keeps it."""

from __future__ import annotations

import pytest

from lethe.errors import BadRequest
from lethe.interactions.rights.register import (
    Action,
    Closure,
    Register,
    Request,
)
from lethe.interactions.rights.standing import CANARY
from tests.interactions.rights.place import INTENT, A, B, ask


def _states(register: Register) -> list[str]:
    return [request.state for request in register.requests()]


def test_a_request_goes_from_received_to_closed(register: Register) -> None:
    register.append([ask(Action.ERASE, A)])
    assert _states(register) == ["received"]
    register.record_purge(1, 40)
    register.record_purge(1, 0)  # the killed night's second run finds nothing left
    assert _states(register) == ["purged"]
    register.done(register.intend(INTENT), at=6)
    assert _states(register) == ["verified"]
    assert register.close(Closure(1, "closed", "e" * 64, at=9, rows_removed=0))
    [state] = register.requests()
    assert (state.state, state.rows_removed, state.closed_at) == ("closed", 40, 9)
    assert (state.evidence, state.open) == ("e" * 64, False)


def test_nothing_removed_is_told_as_nothing(register: Register) -> None:
    register.append([ask(Action.ERASE, A), ask(Action.OBJECT, B)])
    assert [(s.rows_removed, s.found) for s in register.requests()] == [(0, False), (0, False)]
    register.record_purge(1, 0)
    assert [(s.rows_removed, s.found) for s in register.requests()] == [(0, True), (0, False)]
    register.close(Closure(2, "closed", "e" * 64, at=9, rows_removed=0))
    assert register.requests()[1].rows_removed == 0
    register.close(Closure(1, "closed", "e" * 64, at=9, rows_removed=5))
    assert register.requests()[0].rows_removed == 5


def test_canaries_and_people_are_never_in_one_list(register: Register) -> None:
    register.append([ask(Action.ERASE, A), Request(Action.ERASE, B, 1_700_000_000, CANARY)])
    assert [state.entry.tombstone for state in register.requests()] == [A]
    assert [state.entry.tombstone for state in register.canaries()] == [B]
    assert register.standing().canaries == {B}
    assert register.standing().people().erased == {A}
    assert register.close(Closure(2, "closed", "e" * 64, at=9, rows_removed=0))
    assert [state.open for state in (*register.requests(), *register.canaries())] == [True, False]


def test_the_first_closure_stands(register: Register) -> None:
    register.append([ask(Action.ERASE, A)])
    assert register.close(Closure(1, "not_found", "e" * 64, at=9, rows_removed=0))
    assert not register.close(Closure(1, "closed", "f" * 64, at=10, rows_removed=3))
    assert [(s.state, s.evidence) for s in register.requests()] == [("not_found", "e" * 64)]


def test_an_erasure_under_a_legal_hold_cannot_be_closed(register: Register) -> None:
    register.append([ask(Action.RESTRICT, A), ask(Action.ERASE, A)])
    register.done(register.intend(INTENT), at=6)
    assert _states(register) == ["verified", "blocked"]
    with pytest.raises(BadRequest, match="legal hold"):
        register.close(Closure(2, "closed", "e" * 64, at=9, rows_removed=0))
    register.append([ask(Action.RELEASE, A)])
    assert _states(register) == ["verified", "received", "received"]


@pytest.mark.parametrize("position", [0, 7])
def test_a_position_without_an_entry_cannot_be_purged_or_closed(
    register: Register, position: int
) -> None:
    with pytest.raises(BadRequest, match="no entry"):
        register.record_purge(position, 1)
    with pytest.raises(BadRequest, match="no entry"):
        register.close(Closure(position, "closed", "e" * 64, at=9, rows_removed=0))


def test_an_intent_ends_once(register: Register) -> None:
    first, second = register.intend(INTENT), register.intend(INTENT)
    assert [item.id for item in register.open_intents()] == [first, second]
    register.done(first, at=6)
    register.done(first, at=7)
    register.abort(second, "the artifact changed", at=8)
    assert register.open_intents() == ()
    ends = [(item.state, item.reason, item.ended_at) for item in register.promotions()]
    assert ends == [("done", None, 6), ("aborted", "the artifact changed", 8)]
    with pytest.raises(BadRequest, match="cannot be aborted"):
        register.abort(first, "too late", at=9)
    with pytest.raises(BadRequest, match="unknown"):
        register.done(99, at=9)
