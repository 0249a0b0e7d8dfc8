"""Which hyper-parameter moved the value, as Optuna judges it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lethe.estate.process import importing

if TYPE_CHECKING:
    from optuna.study import Study

FEWEST = 4  # with fewer complete trials a share says nothing


def import_ahead() -> None:
    """Import now what a study needs: for whoever waits for something else meanwhile."""
    with importing():
        import optuna.importance  # noqa: F401 - and with it scikit-learn, which takes a second


def importances(study: Study) -> dict[str, float]:
    """The share of each hyper-parameter that varied, largest first, summing to 1.

    PED-ANOVA (Watanabe et al. 2023): how much the best trials differ from all of them in this
    hyper-parameter. Empty where fewer than `FEWEST` trials are complete or nothing moved the value.
    """
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST or len({trial.value for trial in complete}) == 1:
        return {}
    axes = complete[-1].distributions
    varied = sorted(name for name, axis in axes.items() if not axis.single())
    if not varied:
        return {}
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=varied)
    total = sum(found.values())
    return {name: float(value) / total for name, value in found.items()} if total > 0 else {}
