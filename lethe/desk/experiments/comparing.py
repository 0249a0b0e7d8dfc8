"""Two runs side by side: what each found is fitted once more on one data version, and paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml
from pydantic import ValidationError

from lethe.desk.experiments.experimenting import BEST, chosen, training_set
from lethe.errors import BadConfiguration
from lethe.estate.process import settle
from lethe.estate.workspace import Workspace
from lethe.gate.scoring.evaluation import Evaluation
from lethe.gate.scoring.metrics import metric_names
from lethe.gate.scoring.quality import compare
from lethe.nights.frame import apart, end_killed
from lethe.nights.learning.tuning import TRIAL_FACTS
from lethe.nights.learning.window import Window
from lethe.nights.saying.events import say
from lethe.params import Params
from lethe.solutions.recipes import RECIPES, recipe
from lethe.solutions.setting import Setting
from lethe.stages import opening


@dataclass(frozen=True)
class Found:
    """What a run found, to be fitted with the seed of the parameters."""

    run: str
    setting: Setting


def compare_runs(
    workspace: Workspace,
    asked: tuple[str, str],
    overrides: Sequence[str],
    data_version: str | None,
) -> dict[str, Any]:
    """Fit what two runs found before the test window of one data version; compare user by user.

    `asked` are ids of MLflow runs, or their beginnings: a night, an experiment or a single trial.
    Both are fitted cold with the seed of the parameters, without whom the register excludes
    today. Nothing is stored.

    Raises:
        BadConfiguration: a run is unknown or found nothing, both found the same, an override is
            unusable, or the data version is unknown.
        RecipeFailed: a fit failed.
        Busy: an experiment is running.
    """
    settle(workspace)
    params, digest = chosen(workspace, overrides, data_version)
    end_killed(workspace, params)
    both = [_found(workspace, params, run) for run in asked]
    if both[0].setting == both[1].setting:
        raise BadConfiguration("both runs found the same: there is nothing to compare")
    name = f"comparison-{datetime.now(UTC):%Y-%m-%d-%H%M%S}"
    with apart(workspace, name, params.night.wait_seconds) as place:
        training_set(workspace, params, digest, place)
        window = Window.read(place / "training", "test")
        first, second = (_scored(window, found) for found in both)
    rows = paired(first, second, params.seed)
    return {
        "data_version": digest,
        "users": len(first.rows),
        "runs": [_told(found) for found in both],
        "metrics": rows,
        "text": _text(both, digest, len(first.rows), rows),
    }


def _found(workspace: Workspace, params: Params, asked: str) -> Found:
    runs = opening.open_solutions(workspace, params).runs
    name, logged, tags = runs.find(asked)
    found = {key.removeprefix(BEST): text for key, text in logged.items() if key.startswith(BEST)}
    trial = not found and "recipe" in tags and "recipe" not in logged
    kind = logged.get("recipe") or tags.get("recipe", "")
    if kind not in RECIPES or not (found or trial):
        raise BadConfiguration(f"the run {name!r} found no hyper-parameters to compare")
    return Found(name, _typed(kind, logged if trial else found, name, params))


def _typed(kind: str, logged: Mapping[str, str], name: str, params: Params) -> Setting:
    """MLflow keeps parameters as texts. A run that told no half-life is taken by today's rule."""
    try:
        foreign = TRIAL_FACTS - recipe(kind).hyperparameters.model_fields.keys()
        values = {
            key: None if text == "None" else yaml.safe_load(text)
            for key, text in logged.items()
            if key not in foreign
        }
        return Setting.of(kind, values, params.seed, params.training.half_life_days)
    except (ValidationError, yaml.YAMLError):
        raise BadConfiguration(
            f"the run {name!r} has hyper-parameters that recipe {kind} does not know"
        ) from None


def _told(found: Found) -> dict[str, Any]:
    told = found.setting
    return {"run": found.run, "recipe": told.recipe, "hyperparameters": told.values}


def _scored(window: Window, found: Found) -> Evaluation:
    say("compare", f"{found.run}: fitting {found.setting.recipe}")
    return window.evaluate(window.fit(found.setting))


def paired(first: Evaluation, second: Evaluation, seed: int) -> list[dict[str, Any]]:
    """For each metric both means, and second - first over the same users with a 95 % interval.

    `p` is two-sided: twice the smaller of the sign-flip test's two sides, at most 1.
    """
    rows = []
    for metric in (name for name in metric_names() if name in first.per_user):
        one, other = first.per_user[metric], second.per_user[metric]
        found, turned = compare(other, one, seed), compare(one, other, seed)
        rows.append(
            {
                "metric": metric,
                "first": float(one.mean()),
                "second": float(other.mean()),
                "difference": found.difference,
                "low": found.low,
                "high": found.high,
                "p": min(1.0, 2 * min(found.p_worse, turned.p_worse)),
                "users_that_differ": found.informative,
            }
        )
    return rows


def _text(both: Sequence[Found], digest: str, users: int, rows: Any) -> str:
    lines = [
        f"{label}: {found.run} ({found.setting.recipe}: "
        + ", ".join(f"{key} {value}" for key, value in found.setting.values.items())
        + ")"
        for label, found in zip(("first", "second"), both, strict=True)
    ]
    lines.append(f"{users} users of the test window of data version {digest[:12]}; second - first:")
    lines += [
        f"  {row['metric']:<48} {row['first']:.4f} -> {row['second']:.4f}  "
        f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f}), p {row['p']:.4f}"
        for row in rows
    ]
    return "\n".join(lines)
