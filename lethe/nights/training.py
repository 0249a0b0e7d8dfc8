"""Train: the best of each recipe judged on the test window, and the winner refitted cold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lethe.errors import BadConfiguration, RecipeFailed
from lethe.estate.workspace import Workspace
from lethe.gate.scoring.evaluation import Evaluation
from lethe.gate.scoring.quality import LeaderboardRow, QualityJudgement, leaderboard
from lethe.interactions.training.windows import TrainingSet
from lethe.nights.tuning import Hyperparameters, Tuned, Window
from lethe.params import Params
from lethe.solutions.baselines import popular_items
from lethe.solutions.environment import environment
from lethe.solutions.factors import Factors, Manifest, Solution, write_solution
from lethe.solutions.recipes import RECIPES, recipe

CHAMPION = "champion"


@dataclass(frozen=True)
class Trained:
    """Tonight's winner, what it was judged beside, and where its files lie.

    `leaderboard` and `comparisons` are plain values for the report; `accepted` and `reasons` the
    quality rule's answer.
    """

    recipe: str
    hyperparameters: dict[str, Any]
    seed: int
    accepted: bool
    reasons: tuple[str, ...]
    metric: str
    metrics: dict[str, float]
    leaderboard: list[dict[str, Any]]
    comparisons: dict[str, dict[str, float]]
    folder: str
    users: int
    items: int


def judge(
    training: Path,
    params: Params,
    best: Mapping[str, Hyperparameters],
    winner: str,
    champion: Manifest | None,
) -> tuple[QualityJudgement, tuple[LeaderboardRow, ...], Evaluation]:
    """Score the best of each recipe, the baselines and the champion on the one test window.

    All are fitted cold on the same "train+validation" matrix. So is the champion: its stored
    factors have learned from nearly all of tonight's test window and would win by that alone.

    Raises:
        RecipeFailed: the winner's fit failed. Another contender that fails is left out, unless
            the quality rule needs it.
    """
    window = Window.read(training, "test")

    def scored(name: str, hyperparameters: Hyperparameters, seed: int) -> Evaluation:
        made = recipe(name)
        values = made.hyperparameters.model_validate(dict(hyperparameters))
        return window.evaluate(made.fit(window.matrix, values, seed, None))

    scores = {winner: scored(winner, best[winner], params.seed)}
    contenders = {name: values for name, values in best.items() if name != winner}
    contenders |= {name: {} for name, entry in RECIPES.items() if entry.baseline}
    for name, values in contenders.items():
        try:
            scores[name] = scored(name, values, params.seed)
        except RecipeFailed:
            continue
    baselines = {name: scores[name] for name in scores if RECIPES[name].baseline}
    if champion is not None:
        same = (champion.recipe, champion.hyperparameters, champion.seed)
        tonight = (winner, _whole(winner, best[winner]), params.seed)
        scores[CHAMPION] = (
            scores[winner]
            if same == tonight
            else scored(champion.recipe, champion.hyperparameters, champion.seed)
        )
    judgement = params.promotion.judge(
        scores[winner], scores.get(CHAMPION), baselines, seed=params.seed
    )
    return judgement, leaderboard(scores, params.promotion.metric, params.seed), scores[winner]


def _whole(name: str, hyperparameters: Hyperparameters) -> dict[str, Any]:
    """With the defaults filled in, as a manifest records them."""
    values = recipe(name).hyperparameters.model_validate(dict(hyperparameters))
    return dict(values.model_dump(mode="json"))


def train(  # noqa: PLR0913
    workspace: Workspace,
    params: Params,
    tuned: list[Tuned],
    data_version: str,
    register_head: tuple[int, str],
    champion: Manifest | None,
) -> Trained:
    """Judge the winner on the test window, refit it cold on everything, and write its files.

    The winner is the recipe that was best on the validation window: the test window only judges.

    Raises:
        BadConfiguration: nothing was tuned.
        RecipeFailed: the winner's fit failed.
    """
    if not tuned:
        raise BadConfiguration("no recipe was tuned")
    first = max(tuned, key=lambda entry: entry.value)
    best = {entry.recipe: entry.hyperparameters for entry in tuned}
    judgement, board, evaluation = judge(workspace.training, params, best, first.recipe, champion)
    folder = workspace.candidates / first.recipe
    solution = refit(workspace.training, params, first, data_version, register_head)
    write_solution(folder, solution)
    return Trained(
        recipe=first.recipe,
        hyperparameters=dict(solution.manifest.hyperparameters),
        seed=params.seed,
        accepted=judgement.accepted,
        reasons=judgement.reasons,
        metric=params.promotion.metric,
        metrics={name: float(value) for name, value in evaluation.means.items()},
        leaderboard=[asdict(row) for row in board],
        comparisons={
            name: {
                "difference": found.difference,
                "low": found.low,
                "high": found.high,
                "p_worse": found.p_worse,
            }
            for name, found in judgement.comparisons.items()
        },
        folder=str(folder),
        users=len(solution.users) - len(TrainingSet.read(workspace.training).canaries),
        items=len(solution.items),
    )


def refit(
    training: Path,
    params: Params,
    winner: Tuned,
    data_version: str,
    register_head: tuple[int, str],
) -> Solution:
    """One cold fit on the whole training set, with all that a replay needs to know."""
    snapshot = TrainingSet.read(training)
    matrix = snapshot.matrix("all")
    chosen = recipe(winner.recipe)
    hyperparameters = chosen.hyperparameters.model_validate(winner.hyperparameters)
    learned = chosen.fit(matrix, hyperparameters, params.seed, None)
    if not isinstance(learned, Factors):
        raise RecipeFailed(f"recipe {winner.recipe} learns no factors that could be recorded")
    position, digest = register_head
    return Solution(
        factors=learned,
        users=matrix.users,
        items=matrix.items,
        popular=popular_items(matrix),
        manifest=Manifest(
            recipe=winner.recipe,
            hyperparameters=hyperparameters.model_dump(mode="json"),
            seed=params.seed,
            matrix_digest=matrix.digest,
            data_version=data_version,
            register_position=position,
            register_head=digest,
            environment=environment(),
            definition=params.training.model_dump(mode="json"),
            names=snapshot.names,
        ),
    )
