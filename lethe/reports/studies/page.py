"""Every study of a night or an experiment: pictures for its page, and a small page of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lethe.reports import wording
from lethe.reports.studies import pictures
from lethe.reports.studies.pictures import Tried
from lethe.reports.verdict import dig, records
from lethe.reports.wording import number


def told(facts: Any) -> list[dict[str, Any]]:
    """For each recipe its name, a picture of its trials and one of its hyper-parameters, or None.

    `facts` has `trials`, `metric` and `importances` (recipe -> hyper-parameter -> share), each of
    which may be missing or of another shape.
    """
    trials = records(dig(facts, "trials"))
    metric = wording.metric(dig(facts, "metric"))
    found = []
    recipes = {name for trial in trials if isinstance(name := trial.get("recipe"), str)}
    for place, recipe in enumerate(sorted(recipes)):
        tried = _tried(trials, recipe)
        shares = _shares(dig(facts, "importances", recipe))
        found.append(
            {
                "recipe": recipe,
                "history": pictures.history(
                    f"history-{place}", f"{metric} of each trial of {recipe}, in order", tried
                )
                if tried
                else None,
                "importance": pictures.importance(
                    f"importance-{place}", f"What moved {metric} of {recipe}", shares
                )
                if shares
                else None,
            }
        )
    return found


def _tried(trials: list[Mapping[str, Any]], recipe: str) -> list[Tried]:
    found = [
        Tried(int(place), value, str(trial.get("state")).lower() == "complete")
        for trial in trials
        if trial.get("recipe") == recipe
        and (value := number(trial.get("value"))) is not None
        and (place := number(trial.get("number"))) is not None
        and place >= 0
    ]
    return sorted(found, key=lambda one: one.number)


def _shares(weights: Any) -> list[tuple[str, float]]:
    known = weights.items() if isinstance(weights, Mapping) else ()
    found = [(str(name), share) for name, value in known if (share := number(value)) is not None]
    return sorted(found, key=lambda one: -one[1])


def render(facts: Mapping[str, Any], title: str) -> str:
    """The studies alone, as one self-contained HTML document for MLflow's list of artifacts."""
    from lethe.reports.page import environment

    return (
        environment()
        .get_template("studies.html")
        .render(title=title, studies=told(facts), metric=wording.metric(dig(facts, "metric")))
    )
