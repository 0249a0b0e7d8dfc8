"""Suppressed are those whom a stored version names and the register excludes now, and nobody else.

Servers run on: each version's own code is loaded when the version is made and asked for ever after.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from lethe.adapters.packing import model_folder
from lethe.adapters.packing.model_folder import SOLUTION
from lethe.errors import StoreUnavailable
from lethe.estate.outward import suppression
from lethe.interactions.rights.register import Action
from lethe.nights.forgetting import suppressing
from lethe.nights.forgetting.suppressing import refresh
from tests.fakes.night_desk import World, name_of
from tests.fakes.plain_estate import Plain
from tests.nights.forgotten import ANN, BOB, PEOPLE, after_one_night, retired

SERVING = Path(model_folder.__file__).parents[1] / "serving.py"
SOME = PEOPLE[:3]
STRANGER = "d" * 32


@dataclass
class Served:
    """A world, what must be so in it, and a server of every version that there ever was."""

    world: World
    plain: Plain = field(default_factory=lambda: Plain(lambda life: life[0]))
    servers: dict[int, Any] = field(default_factory=dict)

    def ask(self, action: Action, raw: str) -> None:
        """As `lethe erase` and the others do: entered, then the list is made."""
        self.world.clock += 60
        if self.plain.ask(str(action), raw, self.world.clock) == "entered":
            self.world.clock -= 60
            self.world.ask(action, raw)
        refresh(self.world.desk)

    def night(self, *, promoted: bool) -> None:
        self.world.night(promoted=promoted)
        self.run_servers()
        self.look(during_a_night=True)
        retired(self.world)

    def run_servers(self) -> None:
        names: dict[str, Any] = {"__name__": "serving"}
        exec(compile(SERVING.read_bytes(), "serving.py", "exec"), names)  # noqa: S102
        for info in self.world.versions.versions():
            if info.version not in self.servers:
                model = names["Recommender"]()
                place = self.world.versions.folder / str(info.version) / SOLUTION
                model.load_context(SimpleNamespace(artifacts={"solution": str(place)}))
                self.servers[info.version] = model

    def personal(self, version: int, raw: str) -> bool:
        """Whether a server answers somebody from what it learned of them."""
        asked = pd.DataFrame({"user": [name_of(raw), STRANGER]})
        answer = self.servers[version].predict(None, asked).drop(columns="user")
        half = len(answer) // 2
        return not answer[:half].reset_index(drop=True).equals(answer[half:].reset_index(drop=True))

    def look(self, during_a_night: bool = False) -> None:
        """No server serves anybody excluded; those of stored versions serve all others."""
        barred = {life[0] for life in self.plain.excluded()}
        stored = {info.version for info in self.world.versions.versions()}
        for version, server in self.servers.items():
            try:
                served = {raw for raw in PEOPLE if self.personal(version, raw)}
            except MlflowException:
                assert during_a_night or version not in stored
                continue
            held = {raw for raw in PEOPLE if name_of(raw) in server.rows}
            assert version in stored or during_a_night
            assert served == held - barred


STEPS = st.lists(
    st.tuples(
        st.sampled_from([action for action in Action if action is not Action.RECONSENT]),
        st.sampled_from(SOME),
    )
    | st.sampled_from(["promoted", "promoted", "refused"]),
    min_size=1,
    max_size=7,
)


def lived(steps: list[Any]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        served = Served(after_one_night(Path(folder) / "shop"))
        patch.setenv("LETHE_SUPPRESSED", str(served.world.workspace.suppressed))
        served.run_servers()
        for step in steps:
            if isinstance(step, str):
                served.night(promoted=step == "promoted")
            else:
                served.ask(*step)
            served.look()
        served.world.desk.register.engine.dispose()


@settings(max_examples=6, deadline=None)
@given(steps=STEPS)
def test_suppressed_are_those_whom_a_stored_version_names_and_the_register_excludes_now(
    steps: list[Any],
) -> None:
    lived(steps)


def it_grows_and_never_shrinks(patch: pytest.MonkeyPatch) -> None:
    original, ever = suppressing.excluded_among, set[str]()

    def excluded(*arguments: Any) -> list[str]:
        ever.update(original(*arguments))
        return sorted(ever)

    patch.setattr(suppressing, "excluded_among", excluded)


def it_covers_versions_that_are_gone(patch: pytest.MonkeyPatch) -> None:
    original, ever = suppression.write, set[str]()

    def write(path: Path, position: int, versions: set[str], people: list[str]) -> None:
        ever.update(versions)
        original(path, position, ever, people)

    patch.setattr(suppression, "write", write)


def objections_do_not_count(patch: pytest.MonkeyPatch) -> None:
    def excluded(keys: Any, users: Any, standing: Any) -> list[str]:
        barred = standing.erased | standing.restricted
        return [name for name in users if keys.stone(name) in barred]

    patch.setattr(suppressing, "excluded_among", excluded)


STORIES: dict[Callable[[pytest.MonkeyPatch], None], list[Any]] = {
    it_grows_and_never_shrinks: [(Action.RESTRICT, ANN), (Action.RELEASE, ANN)],
    it_covers_versions_that_are_gone: [(Action.ERASE, ANN), "promoted"],
    objections_do_not_count: [(Action.OBJECT, ANN)],
}


@pytest.mark.parametrize("mutant", STORIES, ids=lambda mutant: mutant.__name__)
def test_a_list_made_in_another_way_is_noticed(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        lived(STORIES[mutant])


@pytest.mark.parametrize("story", STORIES.values(), ids=[one.__name__ for one in STORIES])
def test_none_is_noticed_where_it_is_made_as_it_should_be(story: list[Any]) -> None:
    lived(story)


def test_a_person_is_on_the_list_until_a_champion_without_them_is_made(tmp_path: Path) -> None:
    world = after_one_night(tmp_path / "shop")

    def listed() -> int:
        found = suppression.read(world.workspace.suppressed)
        assert found is not None
        return len(found.people)

    world.ask(Action.ERASE, ANN)
    assert (refresh(world.desk), listed()) == (1, 1)
    world.night(promoted=False)
    retired(world)
    assert listed() == 1, "the champion still knows them"
    world.ask(Action.RESTRICT, BOB)
    assert (refresh(world.desk), listed()) == (2, 2)
    world.ask(Action.RELEASE, BOB)
    assert refresh(world.desk) == 1
    world.night()
    assert retired(world).closed == 3
    assert listed() == 0
    assert b"person" not in world.workspace.suppressed.read_bytes()
    assert suppressing.made_at(world.workspace) == 3


def test_a_version_that_cannot_be_read_is_served_to_nobody(tmp_path: Path) -> None:
    world = after_one_night(tmp_path / "shop")
    manifest = world.versions.folder / "1" / SOLUTION / "manifest.json"
    known = hashlib.sha256(manifest.read_bytes()).hexdigest()
    refresh(world.desk)
    found = suppression.read(world.workspace.suppressed)
    assert found is not None
    assert found.versions == {known}
    (world.versions.folder / "1" / SOLUTION / "users.txt").write_text("")
    refresh(world.desk)
    found = suppression.read(world.workspace.suppressed)
    assert found is not None
    assert found.versions == frozenset()


def test_a_list_that_cannot_be_written_is_an_error_and_a_spoiled_one_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = after_one_night(tmp_path / "shop")
    path = world.workspace.suppressed
    path.write_bytes(b"spoiled")
    assert suppressing.made_at(world.workspace) == 0
    world.ask(Action.ERASE, ANN)
    refresh(world.desk)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    world.ask(Action.ERASE, BOB)
    with monkeypatch.context() as patch:
        patch.setattr(suppression, "write_bytes", full)
        with pytest.raises(StoreUnavailable, match="cannot be written: No space left"):
            refresh(world.desk)
    assert path.read_bytes() == before
    assert refresh(world.desk) == 2
