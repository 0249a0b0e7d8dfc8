"""What a night tells: its page and facts, the last screen, and what it had learned at a kill."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lethe.adapters.studies import TrialRecord
from lethe.durable import read_json, write_bytes, write_json
from lethe.errors import LetheError, RefusedByGate
from lethe.nights.desk import Desk
from lethe.nights.forgetting.suppressing import made_at
from lethe.nights.frame import Night
from lethe.nights.judging import tells
from lethe.nights.learning.training import Trained
from lethe.nights.learning.tuning import Tuned
from lethe.nights.review import describing
from lethe.reports.evidence import headline
from lethe.reports.page import render
from lethe.reports.requests import counts, listing
from lethe.reports.studies import figures
from lethe.solutions.environment import environment
from lethe.stages import opening

_TUPLES = ("reasons", "set_aside")
_TAKEN_OVER = ("version", "certificate", "promotion")


def write(
    desk: Desk, night: Night, told: Mapping[str, Any], failure: LetheError | None
) -> dict[str, Any]:
    """Write the page, log it, and return what `lethe night` prints."""
    facts = gather(desk, night, told, failure)
    page = render(facts)
    path = desk.workspace.reports / f"{night.name.replace(' ', '-').replace(':', '')}.html"
    write_bytes(path, page.encode())
    write_json(path.with_suffix(".json"), _plain(facts))
    if facts["leaderboard"]:  # a night that learned nothing leaves what the last one learned
        folder = desk.workspace.reports / "dvc"
        folder.mkdir(exist_ok=True, mode=0o700)
        write_json(folder / figures.METRICS, _plain(figures.metrics(facts)))
        write_bytes(folder / figures.CURVES, figures.curves(facts).encode())
    version = facts["night"]["version"]
    if version is not None:
        write_bytes(desk.workspace.reports / f"version-{version}.html", page.encode())
    desk.versions.runs.log_text(night.run, page, "report.html")
    describing.describe_run(desk, night, told, facts, failure)
    describing.describe_version(desk, night, told, failure)
    return _summary(facts, path)


def gather(
    desk: Desk, night: Night, told: Mapping[str, Any], failure: LetheError | None
) -> dict[str, Any]:
    """Everything the page shows, as plain values."""
    trained: Trained | None = told.get("trained")
    promotion = told.get("promotion")
    outcome = (
        "promoted"
        if promotion
        else "refused"
        if isinstance(failure, RefusedByGate)
        else "failed"
        if failure is not None
        else "nothing new"
    )
    purge = told.get("purge") or {}
    now = opening.now()
    return {
        "night": {
            "name": night.name,
            "started": night.started,
            "ended": now,
            "outcome": outcome,
            "reasons": list(tells(failure)) if failure else [],
            "version": told.get("version"),
            "champion": promotion["previous"] if promotion else desk.champion(),
        },
        "data": told.get("data"),
        "intake": purge.get("intake") or None,
        "purge": purge.get("purge") or None,
        "split": told.get("split"),
        "metric": trained.metric if trained else None,
        "leaderboard": trained.leaderboard if trained else [],
        "comparisons": trained.comparisons if trained else {},
        "quality": _judged(trained) if trained else None,
        "winner": {
            "recipe": trained.recipe,
            "hyperparameters": trained.setting.values,
            "seed": trained.seed,
        }
        if trained
        else None,
        "trials": [_trial(name, trial) for name, trial in night.trials],
        "importances": {entry.recipe: entry.importances for entry in told.get("tuned") or []},
        "certificate": told.get("certificate") or _examined(night, told.get("version")),
        "retired": told.get("retired"),
        "requests": {
            **counts(desk.register, now),
            "rows": listing(desk.register, "all", now, made_at(desk.workspace)),
        },
        "environment": environment(),
        "timings": dict(night.timings),
    }


def _examined(night: Night, version: int | None) -> dict[str, Any] | None:
    """What the verifier found tonight about a version that it refused."""
    noted = night.noted("examined")
    return dict(noted["facts"]) if noted and noted["version"] == version else None


def _trial(recipe: str, trial: TrialRecord) -> dict[str, Any]:
    shown = asdict(trial)
    return {
        "recipe": recipe,
        **{key: shown[key] for key in ("number", "value", "state", "seconds", "params", "steps")},
    }


def _judged(trained: Trained) -> dict[str, Any]:
    told: dict[str, Any] = {name: list(getattr(trained, name)) for name in _TUPLES}
    told["turned_down"] = trained.turned_down
    return {"accepted": trained.accepted, "searched": trained.searched, **told}


def _plain(value: Any) -> Any:
    """JSON has no NaN: a mean over nobody becomes null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def _summary(facts: Mapping[str, Any], path: Path) -> dict[str, Any]:
    night, requests = facts["night"], facts["requests"]
    retired = facts["retired"] or {}
    lines = [f"night of {night['name']}: {night['outcome']}"]
    lines += [f"  because {reason}" for reason in night["reasons"]]
    if set_aside := (facts["quality"] or {}).get("set_aside"):
        lines.append(f"tonight's best was set aside: {'; '.join(set_aside)}")
        lines.append("the champion's recipe and hyper-parameters were trained anew instead")
    if (facts["quality"] or {}).get("searched") is False:
        lines.append("nothing new but requests: the champion's setting was trained anew")
    if turned_down := (facts["quality"] or {}).get("turned_down"):
        lines.append(turned_down)
    if night["version"] is not None and night["outcome"] != "promoted":
        recipe = (facts["winner"] or {}).get("recipe", "unknown recipe")
        lines.append(f"not promoted: version {night['version']} ({recipe})")
    champion = night["version"] if night["outcome"] == "promoted" else night["champion"]
    lines.append(f"champion: {'none yet' if champion is None else f'version {champion}'}")
    lines += [
        f"  {row['place']}. {row['name']:<9} {row['mean']:.4f}"
        f"  ({row['low']:.4f} to {row['high']:.4f})"
        for row in facts["leaderboard"]
    ]
    if facts["certificate"]:
        lines.append(
            f"certificate: {facts['certificate']['verdict']} {facts['certificate']['digest'][:16]}"
        )
    if retired:
        lines.append(
            f"destroyed: {retired['versions']} solution versions, "
            f"{retired['data_versions']} data versions; rewritten: {retired['rewritten']}"
        )
        lines.append(
            f"requests: {retired['closed']} closed, {retired['not_found']} not found, "
            f"{requests['open']} open, {requests['overdue']} overdue"
        )
        if retired.get("evidence"):
            lines.append(headline(retired["evidence"]))
        if untold := retired.get("untold"):
            lines.append(f"  {untold} wait until recipients were told: lethe notices")
    lines += [f"report: {path}", "MLflow UI: lethe ui"]
    return {
        "outcome": night["outcome"],
        "version": night["version"],
        "champion": champion,
        "reasons": night["reasons"],
        "retired": dict(retired),
        "requests": {key: requests[key] for key in ("open", "due", "overdue", "closed")},
        "report": str(path),
        "text": "\n".join(lines),
    }


def put_down(night: Night, key: str, told: Mapping[str, Any]) -> None:
    """Note what was learned under `key`, so that a night taken up again tells the same."""
    learned = {
        "key": key,
        **{name: told[name] for name in _TAKEN_OVER if name in told},
        "tuned": [asdict(entry) for entry in told["tuned"]],
        "trained": asdict(told["trained"]),
        "trials": [(name, asdict(trial)) for name, trial in night.trials],
        "timings": night.timings,
    }
    night.note(learned=learned)


def taken_up(night: Night, key: str) -> dict[str, Any]:
    """What the killed night had learned under the same key; empty if it had not come so far."""
    found = night.noted("learned") if night.resumed else None
    if found is None or found["key"] != key:
        return {}
    night.trials.extend((name, _record(trial)) for name, trial in found["trials"])
    night.timings.update(found["timings"] | night.timings)
    trained = found["trained"]
    return {
        **{name: found[name] for name in _TAKEN_OVER if name in found},
        "tuned": [Tuned(**entry) for entry in found["tuned"]],
        "trained": Trained(
            **{**trained, **{name: tuple(trained.get(name, ())) for name in _TUPLES}}
        ),
    }


def _record(trial: Mapping[str, Any]) -> TrialRecord:
    steps = tuple((int(step), float(value)) for step, value in trial["steps"])
    return TrialRecord(**{**trial, "steps": steps})


def stored_facts(path: Path) -> dict[str, Any]:
    """The facts that a page was rendered from."""
    return dict(read_json(path.with_suffix(".json")))
