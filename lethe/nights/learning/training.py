"""Train: the best of each recipe judged on the test window, and one of them refitted cold.

That is the winner of tonight's searches, or else the champion's own recipe, hyper-parameters and
seed: a search without luck does not keep in service whoever asked to be erased, and where nothing
but requests of rights came since the last search, nothing is searched. Where a search chose weights
that fade, or trust popular items less, the candidate is rehearsed: if the residual test could not
ask about everybody who must not be there, the same with weights less uneven takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lethe.errors import BadConfiguration, RecipeFailed
from lethe.estate.workspace import Workspace
from lethe.gate.scoring.evaluation import Evaluation
from lethe.gate.scoring.quality import LeaderboardRow, QualityJudgement, leaderboard
from lethe.interactions.training.windows import TrainingSet
from lethe.nights.learning.rest import at_rest
from lethe.nights.learning.tuning import Hyperparameters, Tuned
from lethe.nights.learning.window import Window
from lethe.nights.memory import last_night
from lethe.params import Params
from lethe.solutions.baselines import popular_items
from lethe.solutions.environment import environment
from lethe.solutions.factors import Factors, Manifest, Solution, write_solution
from lethe.solutions.recipes import RECIPES
from lethe.solutions.setting import HALF_LIFE, Setting

CHAMPION = "champion"


@dataclass(frozen=True)
class Trained:
    """Tonight's winner, what it was judged beside, and where its files lie.

    `leaderboard` and `comparisons` are plain values for the report; `accepted` and `reasons` the
    quality rule's answer. `set_aside` is empty, or why tonight's winner was not taken: then all
    else is said of the champion's setting, trained anew. So it is if not `searched`: then there
    was no other. `too_short` and `too_steep` are the half-life and the popularity discount that a
    rehearsal turned down, None if it turned down none.
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
    half_life_days: float | None = None
    too_short: float | None = None
    too_steep: float | None = None

    @property
    def setting(self) -> Setting:
        """What was trained, whole."""
        return Setting(self.recipe, self.hyperparameters, self.seed, self.half_life_days)

    @property
    def turned_down(self) -> str:
        """What a person is told of uneven weights that were turned down, or nothing."""
        of = [f"half-life of {self.too_short:g} days"] if self.too_short is not None else []
        of += [f"popularity discount of {self.too_steep:.2g}"] if self.too_steep is not None else []
        if not of:
            return ""
        return (
            f"a {' with a '.join(of)} was turned down, since not everybody who must "
            "not be there could have been asked about"
        )

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
    and accepts the champion's recipe with its hyper-parameters and seed; `evaluation` and `setting`
    are theirs.
    """

    judgement: QualityJudgement
    leaderboard: tuple[LeaderboardRow, ...]
    evaluation: Evaluation
    setting: Setting
    set_aside: tuple[str, ...] = ()


def judge(  # noqa: PLR0913
    training: Path,
    params: Params,
    best: Mapping[str, Hyperparameters],
    winner: str | None,
    champion: Manifest | None,
    too_short: float | None = None,
    known: dict[str, Evaluation] | None = None,
    discounted: bool = True,
) -> Judged:
    """Score the best of each recipe, the baselines and the champion on the one test window.

    Without a `winner` nothing was searched, and the champion's setting is the one that is judged.
    Winner and champion use the nearest half-life that `params` offers of those that are longer than
    `too_short`; infinity leaves no fading. They have no popularity discount unless `discounted`.
    What was scored already is in `known`, by the digest of its setting, and what is scored is
    added.

    All are fitted cold on the same rows, "train+validation". So is the champion: its stored factors
    have learned from nearly all of tonight's test window and would win by that alone.

    Raises:
        BadConfiguration: there is neither a winner nor a champion.
        RecipeFailed: the winner's fit failed, or the champion's. Another contender that fails is
            left out, unless the quality rule needs it.
    """
    if winner is None and champion is None:
        raise BadConfiguration("no recipe was tuned, and there is no champion")
    window, known = Window.read(training, "test"), {} if known is None else known
    offered = params.half_lives(window.span_days, too_short)

    def evened(setting: Setting) -> Setting:
        setting = setting.fading(offered)
        return setting if discounted else setting.undiscounted()

    def scored(setting: Setting) -> Evaluation:
        name = setting.digest
        if name not in known:
            known[name] = window.evaluate(window.fit(setting))
        return known[name]

    settings = {name: Setting.of(name, values, params.seed) for name, values in best.items()}
    if winner is not None:
        settings[winner] = evened(settings[winner])
    scores = {} if winner is None else {winner: scored(settings[winner])}
    contenders = {name: setting for name, setting in settings.items() if name != winner}
    contenders |= {
        name: Setting.of(name, {}, params.seed, params.training.half_life_days)
        for name, entry in RECIPES.items()
        if entry.baseline
    }
    for name, setting in contenders.items():
        try:
            scores[name] = scored(setting)
        except RecipeFailed:
            continue
    baselines = {name: scores[name] for name in scores if RECIPES[name].baseline}
    if champion is not None:
        settings[CHAMPION] = evened(champions(champion))
        scores[CHAMPION] = scored(settings[CHAMPION])
    beside, leading = scores.get(CHAMPION), scores[winner or CHAMPION]
    judgement = params.promotion.judge(leading, beside, baselines, seed=params.seed)
    board = leaderboard(scores, params.promotion.metric, params.seed)
    if beside is not None and not judgement.accepted:
        alone = params.promotion.judge(beside, beside, baselines, seed=params.seed)
        if alone.accepted:
            return Judged(alone, board, beside, settings[CHAMPION], judgement.reasons)
    return Judged(judgement, board, leading, settings[winner or CHAMPION])


def champions(champion: Manifest) -> Setting:
    """The champion's setting as it was searched."""
    days = champion.definition.get(HALF_LIFE)
    return Setting.of(champion.recipe, champion.hyperparameters, champion.seed, days).as_searched


def train(  # noqa: PLR0913
    workspace: Workspace,
    params: Params,
    tuned: list[Tuned],
    data_version: str,
    register_head: tuple[int, str],
    champion: Manifest | None,
    rehearse: Callable[[Path], bool] = lambda _: True,
) -> Trained:
    """Judge the winner on the test window, refit it cold on everything, and write its files.

    The winner is the recipe that was best on the validation window: the test window only judges.
    Where it is set aside, or nothing was tuned, the champion's setting is refitted instead. If a
    search chose its half-life, or it has a popularity discount, and it does not pass `rehearse`
    (given its folder), all is judged and refitted once more without: where it has both, without
    the discount first, and if that does not pass either, without any of them.

    Raises:
        BadConfiguration: nothing was tuned, and there is no champion.
        RecipeFailed: the fit failed.
    """
    first = max(tuned, key=lambda entry: entry.value, default=None)
    best = {entry.recipe: entry.hyperparameters for entry in tuned}
    winner, known = first.recipe if first else None, dict[str, Evaluation]()

    def attempt(too_short: float | None, discounted: bool) -> Trained:
        judged = judge(
            workspace.training, params, best, winner, champion, too_short, known, discounted
        )
        data = TrainingSet.read(workspace.training)
        solution = refit(data, params, judged.setting, data_version, register_head)
        folder = workspace.candidates / judged.setting.recipe
        write_solution(folder, solution)
        people = len(solution.users) - len(data.canaries)
        made = replace(judged.setting, hyperparameters=solution.manifest.hyperparameters)
        judged = replace(judged, setting=made)
        return _told(judged, params.promotion.metric, folder, people, len(solution.items), winner)

    made = attempt(last_night.too_short(workspace), True)
    fixed = params.training.half_life_days is not None
    short, steep = None if fixed else made.half_life_days, made.setting.discount or None
    if (short is None and steep is None) or rehearse(Path(made.folder)):
        return made
    if short is not None and steep is not None:
        made = attempt(last_night.too_short(workspace), False)
        if rehearse(Path(made.folder)):
            return replace(made, too_steep=steep)
    return replace(attempt(math.inf, False), too_short=short, too_steep=steep)


def _told(  # noqa: PLR0913
    judged: Judged, metric: str, folder: Path, users: int, items: int, winner: str | None
) -> Trained:
    chosen = judged.setting
    judgement, evaluation = judged.judgement, judged.evaluation
    return Trained(
        recipe=chosen.recipe,
        hyperparameters=dict(chosen.hyperparameters),
        seed=chosen.seed,
        accepted=judgement.accepted,
        reasons=judgement.reasons,
        metric=metric,
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
        users=users,
        items=items,
        set_aside=judged.set_aside,
        searched=winner is not None,
        half_life_days=chosen.half_life_days,
    )


def refit(
    data: TrainingSet,
    params: Params,
    setting: Setting,
    data_version: str,
    register_head: tuple[int, str],
) -> Solution:
    """One cold fit on the whole training set, to rest, with all that a replay needs to know."""
    matrix = replace(data, half_life_days=setting.half_life_days).matrix("all")
    setting, learned = setting.fit_to_rest(matrix, at_rest(matrix, setting.seed))
    if not isinstance(learned, Factors):
        raise RecipeFailed(f"recipe {setting.recipe} learns no factors that could be recorded")
    position, digest = register_head
    rules = params.training.model_copy(update={HALF_LIFE: setting.half_life_days})
    return Solution(
        factors=learned,
        users=matrix.users,
        items=matrix.items,
        popular=popular_items(matrix),
        manifest=Manifest(
            recipe=setting.recipe,
            hyperparameters=dict(setting.hyperparameters),
            seed=setting.seed,
            matrix_digest=matrix.digest,
            data_version=data_version,
            register_position=position,
            register_head=digest,
            environment=environment(),
            definition=rules.model_dump(mode="json"),
            names=data.names,
        ),
    )
