"""The promotion race, checked over every interleaving of a small world.

Two nights, two erasures, a late file, an overwrite of a stored artifact, and a crash. A night is
begin -> snapshot -> record -> verify -> promote; between any two steps anything else may happen.
`promote` and `recover` are the real ones, run against fakes that let the overwrite, the crash
and (where the lock is taken away) an erasure strike at the start of any of their calls. While the
lock is held, the other night's steps touch nothing that `promote` reads or writes, so running
them before or after it covers every interleaving.

A promotion counts when its DONE is written. It is a breach when, at the last instant at which the
protocol looked at the artifact or moved the alias to it, the version held a user whose erasure
had ever been received, or its stored bytes were not the certified ones. An alias that stands where
no DONE put it, while no INTENT is open, is a breach too.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from lethe.interactions.rights.register import (
    Head,
)
from tests.fakes.register import MemoryRegister
from tests.fakes.version_store import StoredVersion
from tests.gate.commit_point import CommitPoint
from tests.gate.race_world import (
    EVENTS,
    INSIDE,
    STEPS,
    Night,
    State,
    Variant,
    appended,
    erased,
    heads,
    overwritten,
)
from tests.gate.scene import A, B, C, Certificate


@dataclass
class Found:
    states: int = 0
    promotions: int = 0
    aborted: int = 0
    breaches: Counter[str] = field(default_factory=Counter)


def _night_step(state: State, index: int, variant: Variant) -> State:
    """One step of a night up to its verification."""
    night = state.nights[index]
    name, here = STEPS[night.step], len(state.entries)
    after = replace(night, step=night.step + 1)
    if name == "begin":
        after = replace(after, began=here)
    elif name == "snapshot":
        gone = erased(state.entries) if variant.filter_snapshot else frozenset()
        after = replace(after, users=state.data - gone)
    elif name == "record":
        versions = list(state.versions)
        versions[index] = StoredVersion(night.users)
        state = replace(state, versions=(versions[0], versions[1]))
    else:
        after = _verified(state, index, night.began if variant.verify_at == "begin" else here)
    nights = list(state.nights)
    nights[index] = after
    return replace(state, nights=(nights[0], nights[1]))


def _verified(state: State, index: int, position: int) -> Night:
    night, stored = state.nights[index], state.versions[index]
    assert stored is not None
    refused = stored.users & erased(state.entries[:position]) or not stored.genuine
    if refused or position > len(state.entries):
        return replace(night, step=5)
    head = MemoryRegister(state.entries[:position]).head()
    certificate = Certificate(
        stored.digest, head.position, head.digest, digest=f"{head.position}-{stored.digest}"[:64]
    )
    return replace(night, step=4, certificate=certificate)


def _event(state: State, event: str, variant: Variant) -> State | None:
    """What an event does between the steps of the nights; None while it cannot happen."""
    after = replace(state, left=state.left - {event})
    if event.startswith("erase"):
        stone = A if event == "erase A" else B
        if variant.anchor and state.anchor not in heads(state.entries):
            return None  # `append` refuses to go on from a chain that lost the known head
        entries = appended(state.entries, stone)
        anchor = Head(entries[-1].position, entries[-1].digest)
        # The sweep that follows a request purges the data at once.
        data, asked = state.data - {stone}, state.asked | {stone}
        return replace(after, entries=entries, anchor=anchor, data=data, asked=asked)
    if event == "late file":
        dropped = erased(state.entries) if variant.filter_snapshot else frozenset()
        return replace(after, data=state.data | ({A} - dropped))
    if event == "restore":
        return replace(after, entries=(), data=frozenset({A, B, C}))
    version = state.versions[0]
    if event == "crash" or version is None:
        return None  # between two steps a crash changes nothing: steps are whole or absent
    return replace(after, versions=(overwritten(version), state.versions[1]))


def _plans(state: State, variant: Variant, night: int | None) -> Iterator[dict[int, str]]:
    """Every way in which the remaining events may strike inside one run of the commit point."""
    dry = CommitPoint(state, variant, {})
    dry.run(night)
    yield {}
    inside: list[str] = [event for event in ("crash", "overwrite 1") if event in state.left]
    if state.versions[0] is None:
        inside = [event for event in inside if event != "overwrite 1"]
    if not variant.lock:
        inside += [event for event in ("erase A", "erase B") if event in state.left]
    longest = dry.calls + 8  # an event may lengthen the run: an undo has more calls
    for size in (1, 2):
        for events in itertools.permutations(inside, size):
            for calls in itertools.combinations(range(1, longest), size):
                yield dict(zip(calls, events, strict=True))


def _core(state: State) -> State:
    """What `promote` and `recover` read or write of a state: the rest only makes copies of it."""
    nights = tuple(Night(certificate=night.certificate) for night in state.nights)
    return replace(state, left=state.left & INSIDE, data=frozenset(), nights=(nights[0], nights[1]))


@functools.cache
def _outcomes(
    core: State, variant: Variant, actor: int | None
) -> frozenset[tuple[State, tuple[str, ...]]]:
    """Every distinct end of one run, with its breaches."""
    ends = set()
    for plan in _plans(core, variant, actor):
        commit = CommitPoint(core, variant, plan)
        after = commit.run(actor)
        ends.add((after, tuple(commit.breaches)))
    return frozenset(ends)


def _successors(state: State, variant: Variant, found: Found) -> Iterator[State]:
    for event in state.left:
        after = _event(state, event, variant)
        if after is not None:
            yield after
    actors: list[int | None] = [i for i in (0, 1) if state.nights[i].step == 4]
    if _open(state):
        actors.append(None)
    for actor in actors:
        for core, breaches in _outcomes(_core(state), variant, actor):
            for breach in breaches:
                found.breaches[breach] += 1
            nights = (
                replace(state.nights[0], step=max(state.nights[0].step, core.nights[0].step)),
                replace(state.nights[1], step=max(state.nights[1].step, core.nights[1].step)),
            )
            left = state.left - (INSIDE - core.left)
            yield replace(core, left=left, data=state.data, nights=nights)
    for index in (0, 1):
        if state.nights[index].step < 4:
            yield _night_step(state, index, variant)


def _open(state: State) -> bool:
    return any(item.state == "intended" for item in state.promotions)


def _stray(state: State) -> bool:
    """With no intent open, the alias is where the last DONE put it."""
    done = [item.intent.version for item in state.promotions if item.state == "done"]
    return not _open(state) and state.champion != (done[-1] if done else None)


def explore(
    variant: Variant,
    events: frozenset[str] = EVENTS,
    enough: Callable[[Found], bool] = lambda _found: False,
) -> Found:
    """Visit every reachable state once, depth first."""
    # Without a look back at the beginning, `begin` does nothing: one step less to interleave.
    night = Night(step=0 if variant.verify_at == "begin" else 1)
    start = State(left=events, nights=(night, night))
    found, seen, waiting = Found(), {start}, [start]
    while waiting and not enough(found):
        state = waiting.pop()
        found.states += 1
        if all(night.step == 5 for night in state.nights) and not _open(state):
            continue  # nobody is left who could promote
        found.aborted += any(item.state == "aborted" for item in state.promotions)
        found.breaches["stray alias"] += _stray(state)
        found.promotions += any(item.state == "done" for item in state.promotions)
        for after in _successors(state, variant, found):
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return found
