"""What `dvc metrics show` and `dvc plots show` read: means on the test window, scores of trials."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

METRICS, CURVES = "metrics.json", "curves.csv"
_COLUMNS = ("trial", "iteration", "score")


def metrics(facts: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Recipe -> metric -> mean over the users of the test window.

    >>> metrics({"leaderboard": [{"name": "als", "means": {"coverage": 0.5}}]})
    {'als': {'coverage': 0.5}}
    """
    return {row["name"]: dict(row["means"]) for row in facts["leaderboard"]}


def curves(facts: Mapping[str, Any]) -> str:
    r"""CSV of each trial's score as it learned: the objective on the validation window.

    >>> curves({"trials": [{"recipe": "als", "number": 0, "steps": [(8, 0.25)]}]})
    'trial,iteration,score\nals 1,8,0.25\n'
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for trial in facts["trials"]:
        name = f"{trial['recipe']} {trial['number'] + 1}"
        table.writerows((name, step, value) for step, value in trial["steps"])
    return text.getvalue()
