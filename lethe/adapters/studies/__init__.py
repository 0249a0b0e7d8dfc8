"""One Optuna study per recipe: the only package that knows optuna."""

from lethe.adapters.studies.importances import import_ahead
from lethe.adapters.studies.records import (
    ITERATIONS,
    Objective,
    ParamValue,
    Report,
    State,
    StudyResult,
    StudyRules,
    TrialRecord,
    TrialScore,
)
from lethe.adapters.studies.searching import HISTORY, forget, tune

__all__ = [
    "HISTORY",
    "ITERATIONS",
    "Objective",
    "ParamValue",
    "Report",
    "State",
    "StudyResult",
    "StudyRules",
    "TrialRecord",
    "TrialScore",
    "forget",
    "import_ahead",
    "tune",
]
