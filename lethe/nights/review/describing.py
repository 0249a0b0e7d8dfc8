"""What MLflow's pages say of a night and of its version: parameters, descriptions, tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lethe.errors import LetheError, RefusedByGate
from lethe.nights.desk import Desk
from lethe.nights.frame import Night
from lethe.nights.judging import tells
from lethe.nights.learning.training import Trained
from lethe.nights.learning.tuning import Tuned
from lethe.params import Params
from lethe.reports.studies import page as studies
from lethe.solutions.setting import HALF_LIFE


def run_params(params: Params, trained: Trained) -> dict[str, Any]:
    """The winner's hyper-parameters and what the night was configured to do."""
    return {
        **{f"best.{name}": value for name, value in trained.hyperparameters.items()},
        f"best.{HALF_LIFE}": trained.half_life_days,
        "recipe": trained.recipe,
        "seed": trained.seed,
        "trials": params.tuning.trials,
        "validation_share": params.training.validation_share,
        "test_share": params.training.test_share,
        "metric": trained.metric,
    }


def leaderboard_table(trained: Trained) -> str:
    """The leaderboard as a Markdown table."""
    lines = [f"| | {trained.metric} | 95 % interval |", "|---|---:|---|"]
    lines += [
        f"| {row['name']} | {row['mean']:.4f} | {row['low']:.4f} to {row['high']:.4f} |"
        for row in trained.leaderboard
    ]
    return "\n".join(lines)


def version_description(trained: Trained, version: Mapping[str, Any]) -> str:
    """What was trained, on what, and how good it is."""
    values = ", ".join(f"{name} {value}" for name, value in trained.setting.values.items())
    return (
        f"**{trained.recipe}** ({values})\n\n"
        f"Trained on data version `{version['digest'][:16]}`, purged at register position "
        f"{version['register_position']}: {trained.users} users, {trained.items} items.\n\n"
        f"{leaderboard_table(trained)}\n\n"
        f"{_quality(trained)}\n\nVerdict: none yet.\n\nPromotion: none yet."
    )


def describe_version(
    desk: Desk, night: Night, told: Mapping[str, Any], failure: LetheError | None
) -> None:
    """Say in the version's description why it was promoted or refused, if it is still there."""
    version = told.get("version")
    if version is None or version not in {info.version for info in desk.versions.versions()}:
        return
    word, because = _why(told, failure)
    said = f"{word} by the night of {night.name}{because}."
    desk.versions.describe(version, {"Promotion": said})


def _why(told: Mapping[str, Any], failure: LetheError | None) -> tuple[str, str]:
    """What became of tonight's version in a word, and the reason after it."""
    if told.get("promotion"):
        return "promoted", ", because it is VERIFIED and the quality rule accepts it"
    because = "; ".join(tells(failure)) if failure else "the night ended before"
    return "refused" if isinstance(failure, RefusedByGate) else "not promoted", f": {because}"


def describe_run(
    desk: Desk,
    night: Night,
    told: Mapping[str, Any],
    facts: Mapping[str, Any],
    failure: LetheError | None,
) -> None:
    """Tell MLflow how the night ended: description, tags for the list of runs, studies, page."""
    runs, trained, data = desk.versions.runs, told.get("trained"), told.get("data")
    outcome = facts["night"]["outcome"]
    tags = {"outcome": outcome}
    said = f"## Night of {night.name}"
    if data is not None:
        tags["data_version"] = data["digest"]
    if trained is not None and data is not None:
        tags["recipe"] = trained.recipe
        tuned = told.get("tuned") or []
        said = run_description(night.name, trained, tuned, data, facts["night"]["version"])
    verdict = (facts["certificate"] or {}).get("verdict", "none")
    word, because = _why(told, failure)
    ended = f"{word}{because}" if trained is not None or failure else outcome
    ended = f"Outcome: {' '.join(ended.split())}.\n\nVerdict: **{verdict}**."
    title, _, rest = said.partition("\n\n")
    runs.describe(night.run, f"{title}\n\n{ended}\n\n{rest}".rstrip())
    runs.tag(night.run, tags)
    runs.arrange(desk.params.promotion.metric)
    if curve := _best_curve(facts, trained, told.get("tuned") or []):
        runs.log_curve(night.run, "validation", curve)
    if facts["trials"]:
        page = studies.render(facts, f"Studies of the night of {night.name}")
        runs.log_text(night.run, page, "studies.html")


def run_description(
    name: str, trained: Trained, tuned: list[Tuned], version: Mapping[str, Any], number: int | None
) -> str:
    """The night in a few lines: data, studies, leaderboard, the version it recorded."""
    studies = "\n".join(
        f"- {entry.recipe}: best of {entry.trials} trials {entry.value:.4f} on the validation "
        f"window ({entry.pruned} pruned, {entry.failed} failed"
        + (f"; the best {entry.fitted_whole} fitted whole" if entry.fitted_whole > 1 else "")
        + ")"
        for entry in tuned
    )
    return (
        f"## Night of {name}\n\n"
        f"Data version `{version['digest'][:16]}`: {version['rows']} interactions of "
        f"{version['users']} users with {version['items']} items, purged at register position "
        f"{version['register_position']}.\n\n{studies}\n\n{leaderboard_table(trained)}\n\n"
        f"{_quality(trained)}\n\n"
        + ("" if number is None else f"Recorded as solution version {number} ({trained.recipe}).")
    )


def _best_curve(
    facts: Mapping[str, Any], trained: Trained | None, tuned: list[Tuned]
) -> list[tuple[int, float]]:
    """How the winner's trial learned, by iteration; empty if no trial led to it."""
    chosen = {entry.recipe: entry.hyperparameters for entry in tuned}
    done = [
        trial
        for trial in facts["trials"]
        if trained
        and trained.searched
        and not trained.set_aside
        and trial["recipe"] == trained.recipe
        and trial["state"] == "complete"
        and trial["params"] == chosen.get(trained.recipe)
    ]
    best = max(done, key=lambda trial: float(trial["value"]), default=None)
    return [(int(step), float(value)) for step, value in best["steps"]] if best else []


def _quality(trained: Trained) -> str:
    told = trained.turned_down
    return _judged(trained) + (f"\n\n{told[0].upper()}{told[1:]}." if told else "")


def _judged(trained: Trained) -> str:
    if trained.set_aside:
        return (
            f"Tonight's best was set aside: {'; '.join(trained.set_aside)}. Trained anew instead, "
            "and accepted by the quality rule: the champion's recipe and hyper-parameters."
        )
    if not trained.searched:
        return (
            "Nothing but requests came since the last search: nothing was searched, and the "
            f"champion's setting was trained anew. {_accepted(trained)}"
        )
    return _accepted(trained)


def _accepted(trained: Trained) -> str:
    if trained.accepted:
        return "The quality rule accepts it."
    return "The quality rule refuses it: " + "; ".join(trained.reasons) + "."
