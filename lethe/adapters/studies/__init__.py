"""One Optuna study per recipe: the only package that knows optuna."""

from lethe.adapters.studies.records import (
    Objective,
    ParamValue,
    Report,
    State,
    StudyResult,
    StudyRules,
    TrialRecord,
    TrialScore,
)
from lethe.adapters.studies.searching import forget, tune

__all__ = [
    "Objective",
    "ParamValue",
    "Report",
    "State",
    "StudyResult",
    "StudyRules",
    "TrialRecord",
    "TrialScore",
    "forget",
    "tune",
]
