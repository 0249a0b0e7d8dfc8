"""Train: the best of each recipe judged on the test window, and one of them refitted cold.

That is the winner of tonight's searches, or else the champion's own recipe, hyper-parameters and
seed: a search without luck does not keep in service whoever asked to be erased, and where nothing
but requests of rights came since the last search, nothing is searched.
"""

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
    quality rule's answer. `set_aside` is empty, or why tonight's winner was not taken: then all
    else is said of the champion's setting, trained anew. So it is if not `searched`: then there
    was no other.
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
    set_aside: tuple[str, ...] = ()
    searched: bool = True

    @property
    def headline(self) -> str:
        """What was trained, and how good it is, in one line."""
        value = f"{self.metrics[self.metric]:.4f}"
        if self.searched and not self.set_aside:
            return f"{self.recipe} leads with {value}"
        because = "; ".join(self.set_aside) or "nothing new but requests"
        return f"the champion's {self.recipe} is trained anew and reaches {value}: {because}"


@dataclass(frozen=True)
class Judged:
    """Whom the night goes on with, and what the quality rule says of it.

    Without `set_aside` that is the winner. With it the rule refuses the winner, for these reasons,
    and accepts the champion's recipe with its hyper-parameters and seed; `evaluation` is theirs.
    """

    judgement: QualityJudgement
    leaderboard: tuple[LeaderboardRow, ...]
    evaluation: Evaluation
    set_aside: tuple[str, ...] = ()


def judge(
    training: Path,
    params: Params,
    best: Mapping[str, Hyperparameters],
    winner: str | None,
    champion: Manifest | None,
) -> Judged:
    """Score the best of each recipe, the baselines and the champion on the one test window.

    Without a `winner` nothing was searched, and the champion's setting is the one that is judged.

    All are fitted cold on the same "train+validation" matrix. So is the champion: its stored
    factors have learned from nearly all of tonight's test window and would win by that alone.

    Raises:
        BadConfiguration: there is neither a winner nor a champion.
        RecipeFailed: the winner's fit failed, or the champion's. Another contender that fails is
            left out, unless the quality rule needs it.
    """
    if winner is None and champion is None:
        raise BadConfiguration("no recipe was tuned, and there is no champion")
    window = Window.read(training, "test")

    def scored(name: str, hyperparameters: Hyperparameters, seed: int) -> Evaluation:
        made = recipe(name)
        values = made.hyperparameters.model_validate(dict(hyperparameters))
        return window.evaluate(made.fit(window.matrix, values, seed, None))

    scores = {} if winner is None else {winner: scored(winner, best[winner], params.seed)}
    contenders = {name: values for name, values in best.items() if name != winner}
    contenders |= {name: {} for name, entry in RECIPES.items() if entry.baseline}
    for name, values in contenders.items():
        try:
            scores[name] = scored(name, values, params.seed)
        except RecipeFailed:
            continue
    baselines = {name: scores[name] for name in scores if RECIPES[name].baseline}
    if champion is not None:
        setting = (champion.recipe, champion.hyperparameters, champion.seed)
        scores[CHAMPION] = (
            scores[winner]
            if winner and setting == (winner, _whole(winner, best[winner]), params.seed)
            else scored(*setting)
        )
    beside, leading = scores.get(CHAMPION), scores[winner or CHAMPION]
    judgement = params.promotion.judge(leading, beside, baselines, seed=params.seed)
    board = leaderboard(scores, params.promotion.metric, params.seed)
    if beside is not None and not judgement.accepted:
        own = params.promotion.judge(beside, beside, baselines, seed=params.seed)
        if own.accepted:
            return Judged(own, board, beside, set_aside=judgement.reasons)
    return Judged(judgement, board, leading)


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
    Where it is set aside, or nothing was tuned, the champion's setting is refitted instead.

    Raises:
        BadConfiguration: nothing was tuned, and there is no champion.
        RecipeFailed: the fit failed.
    """
    first = max(tuned, key=lambda entry: entry.value, default=None)
    best = {entry.recipe: entry.hyperparameters for entry in tuned}
    judged = judge(workspace.training, params, best, first.recipe if first else None, champion)
    if champion is not None and (first is None or judged.set_aside):
        chosen = Setting(champion.recipe, champion.hyperparameters, champion.seed)
    elif first is not None:
        chosen = Setting(first.recipe, first.hyperparameters, params.seed)
    folder = workspace.candidates / chosen.recipe
    solution = refit(workspace.training, params, chosen, data_version, register_head)
    write_solution(folder, solution)
    judgement, evaluation = judged.judgement, judged.evaluation
    return Trained(
        recipe=chosen.recipe,
        hyperparameters=dict(solution.manifest.hyperparameters),
        seed=chosen.seed,
        accepted=judgement.accepted,
        reasons=judgement.reasons,
        metric=params.promotion.metric,
        metrics={name: float(value) for name, value in evaluation.means.items()},
        leaderboard=[asdict(row) for row in judged.leaderboard],
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
        set_aside=judged.set_aside,
        searched=first is not None,
    )


@dataclass(frozen=True)
class Setting:
    """All that a fit depends on but the data."""

    recipe: str
    hyperparameters: Hyperparameters
    seed: int


def refit(
    training: Path,
    params: Params,
    setting: Setting,
    data_version: str,
    register_head: tuple[int, str],
) -> Solution:
    """One cold fit on the whole training set, with all that a replay needs to know."""
    snapshot = TrainingSet.read(training)
    matrix = snapshot.matrix("all")
    chosen = recipe(setting.recipe)
    hyperparameters = chosen.hyperparameters.model_validate(dict(setting.hyperparameters))
    learned = chosen.fit(matrix, hyperparameters, setting.seed, None)
    if not isinstance(learned, Factors):
        raise RecipeFailed(f"recipe {setting.recipe} learns no factors that could be recorded")
    position, digest = register_head
    return Solution(
        factors=learned,
        users=matrix.users,
        items=matrix.items,
        popular=popular_items(matrix),
        manifest=Manifest(
            recipe=setting.recipe,
            hyperparameters=hyperparameters.model_dump(mode="json"),
            seed=setting.seed,
            matrix_digest=matrix.digest,
            data_version=data_version,
            register_position=position,
            register_head=digest,
            environment=environment(),
            definition=params.training.model_dump(mode="json"),
            names=snapshot.names,
        ),
    )
