"""The quality rule: each branch is a case, and each case refuses a mutant of the rule's source."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pydantic import ValidationError

from lethe.errors import BadInput
from lethe.gate.scoring import quality
from lethe.gate.scoring.evaluation import Evaluation, EvaluationCounts
from lethe.gate.scoring.metrics import means

NDCG = "normalized_discounted_cumulative_gain_at_10"


def scored(values: object, metric: str = NDCG, first_row: int = 0) -> Evaluation:
    per_user = {metric: np.asarray(values, dtype=np.float64)}
    rows = np.arange(first_row, first_row + len(per_user[metric]))
    counts = EvaluationCounts(len(rows), len(rows), 0, 0, 0, 0)
    return Evaluation(means(per_user) | {"coverage": 0.5}, per_user, rows, counts)


def level(mean: float, users: int = 200) -> Evaluation:
    """Users spread evenly around `mean`."""
    return scored(mean + np.linspace(-0.05, 0.05, users))


def noisy_pair(fall: float, users: int = 40) -> tuple[Evaluation, Evaluation]:
    """(challenger, champion): a fall of exactly `fall` on 0.5, drowned in noise per user."""
    noise = np.tile([0.4, -0.4], users // 2)
    return scored(0.5 - fall + noise), scored(0.5 - noise)


POPULAR = {"popular": level(0.1)}

# A case gives the verdict of a rule module; the second value is the verdict of the true rule.
Case = tuple[Callable[[ModuleType], bool], bool]


def verdict(
    challenger: Evaluation,
    champion: Evaluation | None,
    baselines: dict[str, Evaluation] | None = None,
    **rule: object,
) -> Callable[[ModuleType], bool]:
    others = POPULAR if baselines is None else baselines

    def judge(module: ModuleType) -> bool:
        judged = module.QualityRule(**rule).judge(challenger, champion, others)
        assert judged.accepted == (not judged.reasons)
        return bool(judged.accepted)

    return judge


ORDER = np.random.default_rng(5).permutation(np.linspace(0.0, 0.9, 200))
CASES: dict[str, Case] = {
    "better than everything": (verdict(level(0.4), level(0.3)), True),
    "the first champion": (verdict(level(0.4), None), True),
    "equal to the champion": (verdict(level(0.3), level(0.3)), True),
    "a fall within the tolerance": (verdict(level(0.29), level(0.3)), True),
    "a real fall beyond the tolerance": (verdict(level(0.28), level(0.3)), False),
    "a fall that may be chance": (verdict(*noisy_pair(0.05), {}, must_beat=()), True),
    "the same fall, seen by many": (verdict(*noisy_pair(0.05, 4000), {}, must_beat=()), False),
    "a fall seen by four users": (verdict(level(0.2, 4), level(0.4, 4), {}, must_beat=()), False),
    "worse than popular": (verdict(level(0.05), None), False),
    "equal to popular": (verdict(level(0.1), None), False),
    "equal to popular but for rounding": (
        verdict(scored(ORDER), None, {"popular": scored(np.sort(ORDER))}),
        False,
    ),
    "a good fall from a champion, still below popular": (
        verdict(level(0.09), level(0.09)),
        False,
    ),
    "a baseline that was not scored": (verdict(level(0.4), None, {}), False),
    "one of two baselines wins": (
        verdict(
            level(0.4),
            None,
            {"popular": level(0.1), "item_knn": level(0.5)},
            must_beat=("popular", "item_knn"),
        ),
        False,
    ),
    "a baseline that need not be beaten": (
        verdict(level(0.4), None, POPULAR | {"item_knn": level(0.5)}),
        True,
    ),
    "a challenger without users": (verdict(scored([]), None, {}, must_beat=()), False),
    "a challenger that is not a number": (
        verdict(scored([math.nan, 0.9]), None, {}, must_beat=()),
        False,
    ),
    "a champion that is not a number": (
        verdict(level(0.4, 2), scored([math.nan, 0.1]), {}, must_beat=()),
        False,
    ),
    "a baseline without users": (verdict(scored([]), None, {"popular": scored([])}), False),
    "a metric nobody measured": (
        verdict(level(0.4), None, {}, must_beat=(), metric="coverage"),
        False,
    ),
    "a champion scored on other users": (
        verdict(level(0.4), scored(np.full(200, 0.1), first_row=1)),
        False,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rule_decides(name: str) -> None:
    judge, expected = CASES[name]
    assert judge(quality) is expected


MUTANTS = {
    "baseline never refuses": (
        "        if found.difference > _ROUNDING:\n",
        "        if True:\n",
        "worse than popular",
    ),
    "a draw beats a baseline": (
        "found.difference > _ROUNDING",
        "found.difference >= 0",
        "equal to popular",
    ),
    "rounding beats a baseline": (
        "_ROUNDING: Final = 1e-12",
        "_ROUNDING: Final = -1e-12",
        "equal to popular but for rounding",
    ),
    "champion never refuses": (
        "if found.p_worse <= self.significance:",
        "if False:",
        "a real fall beyond the tolerance",
    ),
    "tolerance is ignored": (
        "-found.difference <= self.tolerance * mean",
        "-found.difference <= 0 * mean",
        "a fall within the tolerance",
    ),
    "significance is ignored": (
        "if found.p_worse <= self.significance:",
        "if True:",
        "a fall that may be chance",
    ),
    "better and worse are swapped": (
        "-found.difference <= self.tolerance * mean",
        "found.difference <= self.tolerance * mean",
        "a real fall beyond the tolerance",
    ),
    "the test's tail is swapped": (
        "sums <= observed + slack",
        "sums >= observed - slack",
        "the same fall, seen by many",
    ),
    "few users pass as chance": (
        "if 2.0**-found.informative > self.significance:",
        "if False:",
        "a fall seen by four users",
    ),
    "a missing baseline is skipped": (
        "            if other is None or fault:\n                reasons.append",
        (
            "            if other is None:\n                continue\n"
            "            if fault:\n                reasons.append"
        ),
        "a baseline that was not scored",
    ),
    "only the first baseline counts": (
        "for name in self.must_beat}",
        "for name in self.must_beat[:1]}",
        "one of two baselines wins",
    ),
    "every baseline counts": (
        "for name in self.must_beat}",
        "for name in baselines}",
        "a baseline that need not be beaten",
    ),
    "the challenger's faults pass": (
        "        if fault:\n            return QualityJudgement(False, (",
        "        if False:\n            return QualityJudgement(False, (",
        "a challenger without users",
    ),
    "a value that is not a number passes": (
        "None if np.isfinite(values).all() else",
        "None if True else",
        "a challenger that is not a number",
    ),
    "pairs need not be pairs": (
        "if not np.array_equal(challenger.rows, other.rows):",
        "if False:",
        "a champion scored on other users",
    ),
    "the champion is forgotten": (
        "{CHAMPION: champion} if champion is not None else {}",
        "{}",
        "a real fall beyond the tolerance",
    ),
}


@pytest.fixture
def mutated() -> Iterator[Callable[[str, str], ModuleType]]:
    """Builds the rule's module again with one piece of its source replaced."""
    source = Path(quality.__file__).read_text(encoding="utf-8")
    module = ModuleType("quality_mutant")

    def build(old: str, new: str) -> ModuleType:
        assert source.count(old) == 1
        sys.modules[module.__name__] = module
        exec(compile(source.replace(old, new), "quality_mutant.py", "exec"), module.__dict__)  # noqa: S102
        return module

    yield build
    sys.modules.pop(module.__name__, None)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_case_catches_the_mutant(mutant: str, mutated: Callable[[str, str], ModuleType]) -> None:
    old, new, name = MUTANTS[mutant]
    judge, expected = CASES[name]
    try:
        survived = judge(mutated(old, new)) is expected
    except BadInput:
        survived = False  # the mutant ran into a value that the rule turns away by itself
    assert not survived


def test_every_reason_found_is_told_with_figures() -> None:
    rule = quality.QualityRule(must_beat=("popular", "item_knn"))
    judged = rule.judge(level(0.05), level(0.3), POPULAR)
    assert judged.reasons == (
        f"{NDCG} 0.0500 does not beat the baseline popular at 0.1000",
        "item_knn must be beaten and was not scored",
        f"{NDCG} fell from 0.3000 to 0.0500, beyond the tolerance of 0.05; p=0.0002",
    )
    assert set(judged.comparisons) == {"popular", "champion"}


def test_a_judgement_cannot_be_accepted_with_reasons_or_refused_without() -> None:
    for accepted, reasons in ((True, ("worse",)), (False, ())):
        with pytest.raises(BadInput):
            quality.QualityJudgement(accepted, reasons)


@pytest.mark.parametrize(
    "knobs",
    [{"tolerance": 0.6}, {"significance": 0}, {"must_beat": ("champion",)}, {"margin": 1}],
    ids=lambda knobs: next(iter(knobs)),
)
def test_a_rule_out_of_bounds_cannot_be_written(knobs: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        quality.QualityRule.model_validate(knobs)
