"""A candidate of uneven weights is rehearsed, and gives way if not all could be asked about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lethe.adapters.studies import TrialRecord
from lethe.durable import write_json
from lethe.estate.workspace import Workspace
from lethe.nights.learning.training import judge, train
from lethe.nights.learning.tuning import Tuned, tune_recipe
from lethe.nights.memory import last_night
from lethe.solutions.factors import read_solution
from lethe.solutions.setting import DISCOUNT, HALF_LIFE
from tests.fakes.fading_shop import (
    DATA,
    HEAD,
    OFFERED,
    VALUES,
    best_of,
    fading,
    heard_fits,
    manifest_of,
    matrix,
    shop_at,
)
from tests.fakes.trained_shop import write_training


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return shop_at(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return heard_fits(monkeypatch)


def half_life_at(folder: Path) -> float | None:
    days = read_solution(folder).manifest.definition.get(HALF_LIFE)
    return None if days is None else float(days)


class Rehearsal:
    """Answers in order, at last always the same, and remembers what it was asked about."""

    def __init__(self, *passes: bool) -> None:
        self.passes = passes
        self.asked: list[float | None] = []
        self.discounts: list[float] = []

    def __call__(self, folder: Path) -> bool:
        self.asked.append(half_life_at(folder))
        stated = read_solution(folder).manifest.hyperparameters[DISCOUNT]
        self.discounts.append(float(stated or 0))
        return self.passes[min(len(self.asked), len(self.passes)) - 1]


@pytest.mark.parametrize("searched", [True, False])
@pytest.mark.parametrize(
    ("begins", "passes", "asked", "used", "too_short"),
    [
        (12.0, True, [12.0], 12.0, None),
        (12.0, False, [12.0], None, 12.0),
        (25.0, False, [25.0], None, 25.0),
        (None, False, [], None, None),
    ],
)
def test_a_candidate_that_does_not_pass_its_rehearsal_gives_way_to_the_same_without_fading(
    searched: bool,
    begins: float | None,
    passes: bool,
    asked: list[float | None],
    used: float | None,
    too_short: float | None,
    workspace: Workspace,
) -> None:
    """Once, and without fading the verifier alone answers."""
    rehearse = Rehearsal(passes)
    tuned, champion = (
        ([best_of(begins)], None) if searched else ([], manifest_of(workspace, begins))
    )
    made = train(workspace, fading(*OFFERED), tuned, DATA, HEAD, champion, rehearse)
    assert rehearse.asked == asked
    assert (made.half_life_days, made.too_short) == (used, too_short)
    assert bool(made.turned_down) is (too_short is not None)
    stored = read_solution(Path(made.folder)).manifest
    assert half_life_at(Path(made.folder)) == used
    assert stored.matrix_digest == matrix(workspace, used).digest
    assert stored.hyperparameters | VALUES == stored.hyperparameters
    values = {"als": {**VALUES, HALF_LIFE: used}}
    judged = judge(workspace.training, fading(*OFFERED), values, "als", None)
    if searched:
        assert made.metrics == judged.evaluation.means


def test_nothing_fades_after_a_rehearsal_even_where_no_fading_is_not_offered(
    workspace: Workspace,
) -> None:
    made = train(workspace, fading(12.0, 25.0), [best_of(12.0)], DATA, HEAD, None, Rehearsal(False))
    assert (made.half_life_days, made.too_short) == (None, 12.0)


def test_what_a_person_fixed_is_not_rehearsed(workspace: Workspace) -> None:
    rehearse = Rehearsal(False)
    chosen = fading(*OFFERED, fixed=12.0)
    made = train(workspace, chosen, [best_of(12.0)], DATA, HEAD, None, rehearse)
    assert (made.half_life_days, rehearse.asked) == (12.0, [])


@pytest.mark.parametrize("searched", [True, False])
@pytest.mark.parametrize(
    ("days", "passes", "asked", "used", "told"),
    [
        (None, (True,), [(None, 0.3)], (None, 0.3), ""),
        (None, (False,), [(None, 0.3)], (None, 0.0),
         "a popularity discount of 0.3 was turned down"),
        (12.0, (True,), [(12.0, 0.3)], (12.0, 0.3), ""),
        (12.0, (False, True), [(12.0, 0.3), (12.0, 0.0)], (12.0, 0.0),
         "a popularity discount of 0.3 was turned down"),
        (12.0, (False,), [(12.0, 0.3), (12.0, 0.0)], (None, 0.0),
         "a half-life of 12 days with a popularity discount of 0.3 was turned down"),
    ],
)  # fmt: skip
def test_a_discount_that_does_not_pass_its_rehearsal_gives_way_before_the_half_life_does(
    searched: bool,
    days: float | None,
    passes: tuple[bool, ...],
    asked: list[tuple[float | None, float]],
    used: tuple[float | None, float],
    told: str,
    workspace: Workspace,
) -> None:
    """The champion's too: an erasure must not wait because of how popular items are trusted."""
    rehearse = Rehearsal(*passes)
    best = replace(best_of(days), hyperparameters={**VALUES, HALF_LIFE: days, DISCOUNT: 0.3})
    champion = None if searched else manifest_of(workspace, days, {DISCOUNT: 0.3})
    tuned = [best] if searched else []
    made = train(workspace, fading(*OFFERED), tuned, DATA, HEAD, champion, rehearse)
    assert list(zip(rehearse.asked, rehearse.discounts, strict=True)) == asked
    assert (made.half_life_days, made.hyperparameters[DISCOUNT]) == used
    stored = read_solution(Path(made.folder)).manifest
    assert (half_life_at(Path(made.folder)), stored.hyperparameters[DISCOUNT]) == used
    assert made.turned_down.startswith(told)
    assert bool(made.turned_down) is bool(told)
    assert (made.too_short is None) is (used[0] == days), "or the next night would avoid it"


def test_a_discount_is_rehearsed_where_the_half_life_is_a_persons_choice(
    workspace: Workspace,
) -> None:
    """What a person fixed stays; the discount goes."""
    best = replace(best_of(12.0), hyperparameters={**VALUES, HALF_LIFE: 12.0, DISCOUNT: 0.3})
    chosen, rehearse = fading(*OFFERED, fixed=12.0), Rehearsal(False)
    made = train(workspace, chosen, [best], DATA, HEAD, None, rehearse)
    assert rehearse.asked == [12.0]
    assert (made.half_life_days, made.hyperparameters[DISCOUNT]) == (12.0, 0.0)
    assert (made.too_short, made.too_steep) == (None, 0.3)


def test_what_was_scored_already_is_not_fitted_again(
    workspace: Workspace, fitted: list[str]
) -> None:
    values = {"components": 4, "epochs": 1, HALF_LIFE: 12.0}
    tuned = [best_of(12.0), Tuned("lightfm", "a study", values, 0.1, 4, 0, 0)]
    train(workspace, fading(*OFFERED), tuned, DATA, HEAD, None, Rehearsal(False))
    judged = {days: matrix(workspace, days, "train+validation").digest for days in OFFERED}
    whole = {days: matrix(workspace, days).digest for days in OFFERED}
    assert fitted == [judged[12.0], judged[12.0], whole[12.0], judged[None], whole[None]]


def test_where_the_champions_setting_is_taken_instead_it_is_rehearsed_as_well(
    workspace: Workspace,
) -> None:
    """The winner is poor, so its own half-life is not what is turned down."""
    champion, rehearse = manifest_of(workspace, 12.0), Rehearsal(False)
    poor = {"components": 2, "epochs": 1, "learning_rate": 0.001, HALF_LIFE: None}
    tuned = [Tuned("lightfm", "a study", poor, 0.3, 4, 0, 0)]
    made = train(workspace, fading(*OFFERED), tuned, DATA, HEAD, champion, rehearse)
    assert made.set_aside
    assert rehearse.asked == [12.0]
    assert (made.half_life_days, made.too_short) == (None, 12.0)


def test_a_half_life_that_was_turned_down_is_offered_to_nobody_in_the_next_night(
    workspace: Workspace, tmp_path: Path
) -> None:
    chosen, room = fading(*OFFERED), Workspace(tmp_path)
    write_training(room.training)
    room.interactions.mkdir(parents=True)
    sealed = {"shards": {}, "register_position": 1, "register_head": "c" * 64, "taken": []}
    write_json(room.interactions / "manifest.json", sealed)
    assert last_night.too_short(room) is None
    last_night.remember(room, chosen, 2, {}, 12.0)
    champion, rehearse = manifest_of(workspace, 12.0), Rehearsal(True)
    assert train(room, chosen, [], DATA, HEAD, champion, rehearse).half_life_days == 25.0
    assert rehearse.asked == [25.0]
    trials: list[TrialRecord] = []
    tune_recipe(
        tmp_path / "o.db", room.training, "a" * 64, "als", chosen, {HALF_LIFE: 12.0},
        lambda _, trial: trials.append(trial), last_night.too_short(room),
    )  # fmt: skip
    assert {trial.params[HALF_LIFE] for trial in trials} == {None, 25.0}
    last_night.remember(
        room, chosen, 3, {}, train(room, chosen, [], DATA, HEAD, champion).too_short
    )
    assert last_night.too_short(room) is None
