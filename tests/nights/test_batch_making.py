"""Who is in a batch output when it appears: everybody who may be served then, and nobody else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lethe.errors import BadConfiguration
from lethe.estate.outward.tables import Form, rows_of, users_in
from lethe.interactions.rights.identity import Keys
from lethe.interactions.rights.register import Action
from lethe.interactions.training.splits import Cuts
from lethe.interactions.training.windows import TrainingSet
from lethe.nights.batches import making, withdrawing
from lethe.nights.desk import Desk
from lethe.nights.forgetting import suppressing
from lethe.params import RecommendRules
from lethe.solutions.factors import Factors, Manifest, Solution
from lethe.stages import opening
from tests.fakes.night_desk import KEYS, World, name_of, stone_of

ANN, BOB, CAT, DAN, EVE, FAY = PEOPLE = [f"customer-{number:04d}" for number in range(6)]
ITEMS = ("hat", "map", "pen", "sun")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Ann to Eve are in the training set, Eve as a canary; the champion does not know Dan."""
    monkeypatch.delenv("LETHE_REGISTER_URL", raising=False)
    world = World(tmp_path / "shop", PEOPLE)
    world.vault.remember((name_of(raw), stone_of(raw), raw) for raw in PEOPLE)
    monkeypatch.setattr(making, "certified", lambda _: (1, champion(KEYS)))
    monkeypatch.setattr(making, "_training_set", lambda _: (training(KEYS), "d" * 32))
    yield world
    world.desk.register.engine.dispose()


def champion(keys: Keys) -> Solution:
    """Everybody likes items in their order, best the first; an item of it is not in training."""
    users = sorted(keys.wrapped([name_of(raw) for raw in PEOPLE if raw != DAN]))
    items = np.array([[4.0], [3.0], [2.0], [1.0]], np.float32)
    return Solution(
        Factors(np.ones((len(users), 1), np.float32), items),
        tuple(users),
        ITEMS,
        np.array([3, 2, 1, 0], np.int32),
        Manifest(
            recipe="als",
            hyperparameters={},
            seed=1,
            matrix_digest="0" * 64,
            data_version="e" * 32,
            register_position=0,
            register_head="",
            environment={},
            names=keys.generation,
        ),
    )


def training(keys: Keys, items: tuple[str, ...] = ("bag", "hat", "map", "pen")) -> TrainingSet:
    """Of Ann to Eve each has the first item, Bob the second as well, and Ann the second twice."""
    names = {raw: keys.wrapped([name_of(raw)])[0] for raw in PEOPLE if raw != FAY}
    users = tuple(sorted(names.values()))
    pairs = [(names[raw], 0) for raw in names]
    pairs += [(names[BOB], 1), (names[ANN], 1), (names[ANN], 1)]
    return TrainingSet(
        users=users,
        items=items,
        user=np.array([users.index(name) for name, _ in pairs], np.int32),
        item=np.array([item for _, item in pairs], np.int32),
        timestamp=np.arange(len(pairs), dtype=np.int64),
        weight=np.ones(len(pairs), np.int64),
        features={},
        split=Cuts(1, 2),
        maximum_weight=10,
        position=0,
        head="",
        canaries=(users.index(names[EVE]),),
        names=keys.generation,
    )


def rules(**told: Any) -> RecommendRules:
    return RecommendRules.model_validate({"k": 3, **told})


def made(world: World, seen: str = "drop", form: Form = "csv") -> dict[str, Any]:
    return making.recommend(world.desk, rules(items_already_seen=seen, format=form))


def lists(told: dict[str, Any], form: Form = "csv") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows_of(Path(told["file"]), form, PEOPLE):
        found.setdefault(row["USER_ID"], []).append(row["ITEM_ID"])
    return found


def test_listed_is_who_is_trained_on_known_to_the_champion_and_neither_suppressed_nor_a_canary(
    world: World,
) -> None:
    whole = ["hat", "map", "pen"]
    assert lists(made(world)) == {
        ANN: ["map", "pen", "sun"],
        BOB: ["map", "pen", "sun"],
        CAT: whole,
    }
    world.ask(Action.OBJECT, CAT)
    told = made(world, "keep", "parquet")
    assert lists(told, "parquet") == {ANN: whole, BOB: whole}
    counts = [told[name] for name in ("users", "rows", "suppressed", "cold", "without_id")]
    assert counts == [2, 6, 1, 1, 0]


def test_people_are_the_same_under_a_former_and_the_present_pseudonym_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lists(made(world))
    keys = Keys(KEYS.pseudonym, KEYS.tombstone, b"\2" * 32)
    monkeypatch.setattr(making, "_training_set", lambda _: (training(keys), "d" * 32))
    desk = Desk(world.workspace, world.desk.params, world.desk.register, keys, world.desk.versions)
    assert lists(making.recommend(desk, rules())) == before


def test_whom_the_vault_does_not_know_is_counted_and_nobody_at_all_is_an_error(
    world: World,
) -> None:
    world.vault.forget([stone_of(BOB)])
    told = made(world)
    assert (set(lists(told)), told["without_id"]) == ({ANN, CAT}, 1)
    before = Path(told["file"]).read_bytes()
    world.ask(Action.RESTRICT, ANN, CAT)
    with pytest.raises(BadConfiguration, match="nobody"):
        made(world)
    assert Path(told["file"]).read_bytes() == before
    assert [path.name for path in world.workspace.recommendations.glob(".*")] == []


def test_the_next_one_sweeps_what_a_killed_one_left(world: World) -> None:
    world.workspace.recommendations.mkdir(parents=True)
    left = world.workspace.recommendations / ".version-1.csv.draft.4194305.part"
    left.write_text("half")
    made(world)
    assert not left.exists()


def meanwhile(world: World, action: Action, *raw: str) -> Callable[[pytest.MonkeyPatch], None]:
    """A request that is entered, and told, when all is written and nothing published yet."""
    original = suppressing.held

    def held(desk: Desk) -> contextlib.AbstractContextManager[None]:
        if not world.desk.register.requests():
            world.ask(action, *raw)
            with original(desk):
                withdrawing.withdraw(desk)
        return original(desk)

    return lambda patch: patch.setattr(suppressing, "held", held)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_whoever_asks_while_it_is_written_is_not_in_it_when_it_appears(
    form: Form, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(world, Action.ERASE, BOB)(monkeypatch)
    told = made(world, "drop", form)
    assert users_in(Path(told["file"]), form) == [one for one in lists(told, form) if one != BOB]
    assert (told["users"], told["rows"], told["register_position"]) == (2, 6, 0)


def test_an_output_that_does_not_look_again_before_it_appears_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(world, Action.ERASE, BOB)(monkeypatch)
    monkeypatch.setattr(making, "excluded", lambda *_: set())
    assert BOB in lists(made(world))


def test_a_canary_known_by_its_number_alone_is_listed_nowhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Roll:
        def pseudonyms(self) -> frozenset[str]:
            return frozenset({name_of(CAT)})

    monkeypatch.setattr(opening, "open_canaries", lambda *_: Roll())
    assert set(lists(made(world))) == {ANN, BOB}


def test_an_item_with_a_line_break_in_its_id_needs_parquet(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = champion(KEYS)
    object.__setattr__(broken, "items", ("a\nb", *ITEMS[1:]))
    monkeypatch.setattr(making, "certified", lambda _: (1, broken))
    with pytest.raises(BadConfiguration, match="parquet"):
        made(world)
    assert lists(made(world, "keep", "parquet"), "parquet")[ANN][0] == "a\nb"
