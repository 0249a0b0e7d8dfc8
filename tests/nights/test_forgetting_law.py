"""Whatever is asked and whatever happens at night: no request is closed too early, or never."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.durable import read_json, sha256_json
from lethe.errors import BadRequest
from lethe.interactions.rights.register import Action
from tests.fakes.night_desk import World, name_of, stone_of
from tests.nights.forgotten import (
    PEOPLE,
    after_one_night,
    retired,
    states,
)

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(
                [Action.ERASE, Action.ERASE, Action.OBJECT, Action.RESTRICT, Action.RELEASE]
            ),
            st.sampled_from([*PEOPLE[:4], "stranger-1"]),
        ),
        st.sampled_from(["promoted", "promoted", "refused", "late rows", "leak", "mend"]),
    ),
    min_size=2,
    max_size=9,
)


@settings(max_examples=15, deadline=None)
@given(steps=STEPS)
def test_no_history_closes_a_request_too_early_or_never(steps: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        world = after_one_night(Path(folder) / "shop")
        for step in [*steps, "mend", "promoted"]:
            before = states(world)
            lived_through(world, step)
            for state in world.desk.register.requests():
                if not state.open and before.get(state.entry.position) != state.state:
                    closed_rightly(world, state)
        open_ones = {s.entry.position: s.state for s in world.desk.register.requests() if s.open}
        assert set(open_ones.values()) <= {"blocked"}


def lived_through(world: World, step: Any) -> None:
    leak = world.workspace.mlflow / "artifacts" / "note.txt"
    if step == "leak":
        leak.write_text(" ".join(map(name_of, PEOPLE[:4])))
    elif step == "mend":
        leak.unlink(missing_ok=True)
    elif step == "late rows":
        world.take_in(*PEOPLE)
    elif isinstance(step, str):
        world.night(promoted=step == "promoted")
        retired(world)
    else:
        try:
            world.ask(*step)
        except BadRequest:
            return


def closed_rightly(world: World, state: Any) -> None:
    entry = state.entry
    [raw] = [name for name in (*PEOPLE, "stranger-1") if stone_of(name) == entry.tombstone]
    evidence = read_json(world.workspace.evidence / f"request-{entry.position}.json")
    assert state.evidence == sha256_json(evidence)
    assert evidence["outcome"] == state.state
    if entry.action is not Action.ERASE:
        return
    assert (state.state == "not_found") is (raw == "stranger-1")
    left = world.bytes_everywhere()
    assert raw.encode() not in left
    assert name_of(raw).encode() not in left
    for digest in world.data.held():
        assert name_of(raw).encode() not in b"".join(
            world.data.content[md5] for md5 in world.data.objects(digest).values()
        )
    for info in world.versions.versions():
        assert name_of(raw) not in world.desk.read(info.version).users
