"""Studies against real Optuna on SQLite, and the fake beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lethe.adapters import studies
from lethe.adapters.studies import (
    ParamValue,
    Report,
    StudyResult,
    StudyRules,
    TrialRecord,
    TrialScore,
)
from lethe.errors import BadConfiguration, BadInput, RecipeFailed
from lethe.solutions.recipes import Dimension
from tests.fakes.studies import FakeStudies

SPACE = {
    "x": Dimension(kind="float", low=-4.0, high=4.0),
    "n": Dimension(kind="int", low=1, high=64, log=True),
    "loss": Dimension(kind="categorical", choices=("warp", "bpr")),
}


def number(value: ParamValue) -> float:
    assert isinstance(value, int | float)
    return value


def hill(params: Mapping[str, ParamValue], report: Report) -> TrialScore:
    height = -((number(params["x"]) - 1.0) ** 2) - (0.0 if params["loss"] == "warp" else 1.0)
    for step in range(6):
        report(step, height - 1.0 / (step + 1))
    return TrialScore(height, {"coverage": 0.5})


def search(storage: Path, objective: Any = hill, **changes: Any) -> StudyResult:
    settings: dict[str, Any] = {"trials": 11, "minutes": None, "seed": 7, "first": ()}
    return studies.tune(storage, "als-1", SPACE, objective, **(settings | changes))


def outline(result: StudyResult) -> list[tuple[Any, ...]]:
    return [(t.number, t.params, repr(t.value), t.state, t.steps, t.failure) for t in result.trials]


@pytest.fixture(params=["optuna", "fake"])
def tuner(request: pytest.FixtureRequest) -> Any:
    return studies if request.param == "optuna" else FakeStudies()


def test_a_study_returns_the_best_of_its_trials_and_tells_each_once(
    tuner: Any, tmp_path: Path
) -> None:
    heard: list[int] = []
    result = tuner.tune(
        tmp_path / "optuna.db",
        "als-1",
        SPACE,
        hill,
        trials=6,
        minutes=None,
        seed=3,
        first=[{"x": 1.0, "n": 8, "loss": "warp"}],
        on_trial=lambda record: heard.append(record.number),
    )
    assert heard == [0, 1, 2, 3, 4, 5]
    assert result.best_params == {"x": 1.0, "n": 8, "loss": "warp"}
    assert result.best_value == pytest.approx(0.0)
    assert result.trials[0].metrics == {"coverage": 0.5}
    assert [step for step, _ in result.trials[0].steps] == list(range(6))


def test_the_best_trials_are_complete_and_differ_and_the_earliest_of_equals_is_first() -> None:
    def trial(number: int, x: int, value: float, state: Any = "complete") -> TrialRecord:
        return TrialRecord(number, {"x": x}, value, state, 1.0, (), {}, None)

    trials = (
        trial(0, 1, 0.2),
        trial(1, 2, 0.9, "pruned"),
        trial(2, 3, 0.4),
        trial(3, 4, 0.4),
        trial(4, 3, 0.4),
        trial(5, 5, float("nan"), "failed"),
    )
    result = StudyResult({"x": 3}, 0.4, trials)
    best = [trial.number for trial in result.best(9)]
    assert best == [2, 3, 0]
    assert [[t.number for t in result.best(count)] for count in (0, 1, 2)] == [[], [2], [2, 3]]


def test_what_moved_the_value_weighs_most_and_what_was_fixed_is_left_out(tmp_path: Path) -> None:
    def slope(params: Mapping[str, ParamValue], _report: Report) -> TrialScore:
        return TrialScore(number(params["x"]) + 1e-6 * number(params["n"]))

    space = {**SPACE, "loss": Dimension(kind="categorical", choices=("warp",))}
    found = studies.tune(
        tmp_path / "optuna.db", "als-1", space, slope, trials=8, minutes=None, seed=3
    ).importances
    again = studies.tune(
        tmp_path / "optuna.db", "als-1", space, slope, trials=8, minutes=None, seed=3
    ).importances

    assert list(found) == ["x", "n"]
    assert sum(found.values()) == pytest.approx(1.0)
    assert found == again


@pytest.mark.parametrize(("trials", "level"), [(3, False), (5, True)], ids=["few", "level"])
def test_too_few_trials_or_a_level_value_weigh_nothing(
    tmp_path: Path, trials: int, level: bool
) -> None:
    def flat(params: Mapping[str, ParamValue], _report: Report) -> TrialScore:
        return TrialScore(0.5 if level else number(params["x"]))

    found = studies.tune(
        tmp_path / "optuna.db", "als-1", SPACE, flat, trials=trials, minutes=None, seed=3
    )
    assert found.importances == {}


def test_one_failing_trial_is_isolated_and_named_without_its_message(
    tuner: Any, tmp_path: Path
) -> None:
    calls: list[int] = []

    def fails_once(params: Mapping[str, ParamValue], report: Report) -> TrialScore:
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("user 4711 breaks this")
        return TrialScore(number(params["x"]))

    result = tuner.tune(
        tmp_path / "o.db", "s", SPACE, fails_once, trials=4, minutes=None, seed=1, first=()
    )
    assert [t.state for t in result.trials] == ["complete", "failed", "complete", "complete"]
    assert result.trials[1].failure == "ValueError"


def test_a_study_in_which_every_trial_fails_is_an_error_with_the_reasons(
    tuner: Any, tmp_path: Path
) -> None:
    def fails(params: Mapping[str, ParamValue], report: Report) -> TrialScore:
        raise BadInput("the matrix is empty")

    with pytest.raises(RecipeFailed, match=r"all 3 trials failed \(BadInput: the matrix is empty"):
        tuner.tune(tmp_path / "o.db", "s", SPACE, fails, trials=3, minutes=None, seed=1, first=())


def test_the_same_seed_gives_the_same_study_and_another_seed_another(tmp_path: Path) -> None:
    once, again = search(tmp_path / "a.db"), search(tmp_path / "b.db")
    other = search(tmp_path / "c.db", seed=8)
    assert outline(once) == outline(again)
    assert outline(once) != outline(other)
    assert once.best_value > -0.5
    assert "pruned" in {t.state for t in once.trials}


@pytest.mark.parametrize("killed_at", [0, 9])
def test_a_study_killed_in_a_trial_ends_as_an_undisturbed_one(
    tmp_path: Path, killed_at: int
) -> None:
    first = [{"x": 2.0, "loss": "bpr"}, {"x": 3.0}]
    undisturbed = search(tmp_path / "a.db", first=first)
    calls: list[int] = []

    def dies(params: Mapping[str, ParamValue], report: Report) -> TrialScore:
        calls.append(1)
        if len(calls) == killed_at + 1:
            report(0, 5.0)
            os._exit(9)  # as SIGKILL: no clean-up runs
        return hill(params, report)

    child = os.fork()
    if child == 0:
        try:
            search(tmp_path / "b.db", dies, first=first)
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, sys.platform
    heard: list[int] = []
    resumed = search(tmp_path / "b.db", first=first, on_trial=lambda t: heard.append(t.number))
    assert outline(resumed) == outline(undisturbed)
    assert heard == list(range(11))


def test_a_finished_study_is_answered_without_another_trial(tmp_path: Path) -> None:
    done = search(tmp_path / "o.db", trials=3)

    def never(params: Mapping[str, ParamValue], report: Report) -> TrialScore:
        raise AssertionError

    assert outline(search(tmp_path / "o.db", never, trials=3)) == outline(done)


def test_the_minutes_end_a_study_and_count_over_a_resumption(tmp_path: Path) -> None:
    ticks = iter(range(0, 10_000, 30))
    settings = {"minutes": 1.5, "clock": lambda: float(next(ticks))}
    assert len(search(tmp_path / "o.db", **settings).trials) == 3
    assert len(search(tmp_path / "o.db", **settings).trials) == 3


def test_last_nights_best_is_tried_only_as_far_as_the_space_admits_it(tmp_path: Path) -> None:
    result = search(
        tmp_path / "o.db", trials=1, first=[{"x": 99.0, "n": 5, "gone": 1, "loss": "?"}]
    )
    assert result.trials[0].params["n"] == 5
    assert -4.0 <= number(result.trials[0].params["x"]) <= 4.0


def test_a_value_that_is_not_finite_fails_its_trial(tmp_path: Path) -> None:
    with pytest.raises(RecipeFailed, match="not finite"):
        search(tmp_path / "o.db", lambda params, report: TrialScore(float("nan")), trials=2)


def test_a_forgotten_study_leaves_no_byte_of_its_name_in_the_file(tmp_path: Path) -> None:
    storage = tmp_path / "o.db"
    assert not studies.forget(storage, "als-1")
    search(storage, trials=2)
    assert b"als-1" in storage.read_bytes()
    assert studies.forget(storage, "als-1")
    assert b"als-1" not in storage.read_bytes()
    assert b"warp" not in storage.read_bytes()
    assert storage.stat().st_mode & 0o077 == 0


def test_no_space_and_no_budget_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration):
        search(tmp_path / "o.db", trials=0)
    with pytest.raises(BadConfiguration):
        studies.tune(tmp_path / "o.db", "s", {}, hill, trials=1, minutes=None, seed=1)
    assert StudyRules().random_trials >= 1


def test_what_a_study_needs_is_imported_ahead_and_without_that_only_where_it_is_needed(
    tmp_path: Path,
) -> None:
    code = """
        import sys
        from pathlib import Path
        from lethe.adapters.studies import TrialScore, import_ahead, tune
        from lethe.solutions.recipes import Dimension

        space = {"x": Dimension(kind="float", low=0.0, high=1.0)}
        score = lambda values, report: TrialScore(values["x"])
        tune(Path(sys.argv[1]), "few", space, score, trials=2, minutes=None, seed=1)
        print("sklearn" in sys.modules)
        import_ahead()
        print("sklearn" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "studies.db")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "True"]
