"""The membership audit of the champion: shadow models in a private folder, one page; no gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lethe.adapters.catalogue import Catalogue
from lethe.durable import write_bytes, write_json
from lethe.errors import ArtifactCorrupt, BadConfiguration
from lethe.estate.workspace import Workspace
from lethe.gate.audit import membership, shadows
from lethe.gate.audit.membership import Found, Subject
from lethe.gate.audit.statistics import Equations
from lethe.gate.proof.als.objective import discount
from lethe.gate.proof.report import Cloud
from lethe.gate.proof.retained import histories, rebuild
from lethe.interactions.rights.standing import Standing
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.nights.desk import Desk
from lethe.nights.frame import apart
from lethe.nights.learning.tuning import finite
from lethe.nights.saying.events import say
from lethe.reports.audit.page import render
from lethe.solutions.factors import Manifest, Solution, read_solution
from lethe.solutions.learned import Factors
from lethe.solutions.setting import Setting
from lethe.stages import opening


def audit(workspace: Workspace, models: int, targets: int) -> dict[str, Any]:
    """Attack the champion and write the page; also into the run that made the champion.

    Whoever the register excludes today is in no shadow model and is no target. Those whom it
    excluded when the champion was trained are asked about, unless they are erased by now.

    Raises:
        BadConfiguration: there is no champion, or it has too few people.
        WrongKey: the champion was named before the pseudonym key was replaced; run a night first.
        ArtifactCorrupt: the data version does not give the champion's matrix.
        StoreUnavailable: the champion's data version is gone.
        Busy: another audit or experiment is running.
    """
    desk = Desk.open(workspace, opening.open_params(workspace))
    desk.register.check_chain(opening.newest_known(workspace))
    version = desk.champion()
    if version is None:
        raise BadConfiguration("there is no champion yet; run a night first")
    started = datetime.now(UTC)
    name = f"audit-{started:%Y-%m-%d-%H%M%S}"
    with apart(workspace, name, desk.params.night.wait_seconds) as place:
        solution = read_solution(desk.versions.fetch(version, place / "champion"))
        desk.keys.check(solution.manifest.names, f"the champion, version {version}")
        subject = _subject(desk, solution, place / "interactions")
        found = membership.audit(
            subject, _fit(solution.manifest), models, targets, desk.params.seed, _hear(models)
        )
    facts = _facts(version, solution.manifest, subject, models, found, started)
    return _told(desk, name, facts)


def _subject(desk: Desk, solution: Solution, place: Path) -> Subject:
    manifest = solution.manifest
    digest = Catalogue(desk.workspace.catalogue).today(manifest.data_version)
    opening.check_out(opening.open_data(desk.workspace), digest, place, desk.keys)
    at_training = desk.register.standing(upto=manifest.register_position)
    today = desk.register.standing()

    def one_of(people: frozenset[str]) -> Callable[[str], bool]:
        return lambda user: desk.keys.stone(user) in people

    whole, day = rebuild(place, one_of(at_training.excluded), manifest.definition)
    if whole.digest != manifest.matrix_digest:
        raise ArtifactCorrupt("the data version does not give the matrix of the champion")
    wanted = one_of(_kept_out(at_training, today))
    outsiders = histories(place, wanted, whole.items, manifest.definition, day)
    excluded = one_of(today.excluded)
    canaries = opening.open_canaries(desk.workspace, desk.keys).pseudonyms()
    allowed = np.array([user not in canaries and not excluded(user) for user in whole.users])
    pool = shadows.only(whole, allowed)
    say("audit", f"{len(pool.users)} people in, {outsiders.shape[0]} kept out")
    return Subject(whole, pool, outsiders, solution.factors, _equations(manifest))


def _kept_out(at_training: Standing, today: Standing) -> frozenset[str]:
    """Who objected or was restricted when the champion was trained, and is not erased."""
    return (at_training.objecting | at_training.restricted) - at_training.erased - today.erased


def _equations(manifest: Manifest) -> Equations | None:
    if manifest.recipe != "als":
        return None
    values = manifest.hyperparameters
    return Equations(
        float(values["alpha"] or 0), float(values["regularization"] or 0), discount(values)
    )


def _fit(manifest: Manifest) -> shadows.Fit:
    """The champion's own recipe, hyper-parameters and seed."""
    champion = Setting.of(manifest.recipe, manifest.hyperparameters, manifest.seed)

    def fit(matrix: InteractionMatrix) -> Factors:
        learned = champion.fit(matrix)
        if not isinstance(learned, Factors):
            raise BadConfiguration(f"recipe {manifest.recipe} learns no factors to attack")
        return learned

    return fit


def _hear(models: int) -> shadows.Hear:
    def hear(model: int, seconds: float) -> None:
        which = f"shadow model {model}/{models}" if model else "a model without some members"
        say("audit", f"{which}: {seconds:.1f} s")

    return hear


def _facts(  # noqa: PLR0913
    version: int,
    manifest: Manifest,
    subject: Subject,
    models: int,
    found: Found,
    started: datetime,
) -> dict[str, Any]:
    """What the page shows: counts and rates, and no order of people."""
    return {
        "version": version,
        "recipe": manifest.recipe,
        "hyperparameters": dict(manifest.hyperparameters),
        "seed": manifest.seed,
        "data_version": manifest.data_version,
        "register_position": manifest.register_position,
        "started": int(started.timestamp()),
        "seconds": (datetime.now(UTC) - started).total_seconds(),
        "models": models,
        "people": len(subject.pool.users),
        "targets": found.targets,
        "outsiders": found.outsiders,
        "sharpest": found.sharpest,
        "attacks": [asdict(attack) for attack in found.attacks],
        "champion": [asdict(entry) for entry in found.champion],
        "clouds": [_cloud(name, scores, found).facts() for name, scores in found.groups.items()],
    }


def _cloud(name: str, scores: Any, found: Found) -> Cloud:
    """In bins of 0.05 copies, or of half a standard deviation."""
    scale = 1.0 if found.sharpest == membership.SCORE_TEST else 0.1
    return Cloud.of(name, (scores * scale).tolist())


def _told(desk: Desk, name: str, facts: dict[str, Any]) -> dict[str, Any]:
    page = render(facts)
    path = desk.workspace.reports / f"{name}.html"
    desk.workspace.reports.mkdir(parents=True, exist_ok=True)
    write_bytes(path, page.encode())
    write_json(path.with_suffix(".json"), _plain(facts))
    runs, run = desk.versions.runs, _run(desk, facts["version"])
    runs.log_text(run, page, f"{name}.html")
    runs.log_metrics(run, finite({_metric(one["name"]): one["auc"] for one in facts["attacks"]}))
    return {**facts, "report": str(path), "text": _text(facts, path)}


def _run(desk: Desk, version: int) -> str:
    found = (info.run_id for info in desk.versions.versions() if info.version == version)
    run = next(found, None)
    if run is None:
        raise BadConfiguration(f"version {version} was destroyed while it was audited")
    return run


def _metric(name: str) -> str:
    """A name that MLflow takes.

    >>> _metric("LiRA, fold-in fit")
    'audit_auc_lira_fold_in_fit'
    """
    letters = "".join(letter if letter.isalnum() else " " for letter in name.lower())
    return "audit_auc_" + "_".join(letters.split())


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _text(facts: Mapping[str, Any], path: Path) -> str:
    lines = [
        f"membership audit of version {facts['version']} ({facts['recipe']}): a report, not a gate",
        f"{facts['models']} shadow models, {facts['targets']} people asked about",
        "AUC: 0.5 is guessing, 1 is certain",
    ]
    lines += [
        f"  {one['name']:<42} AUC {one['auc']:.3f}, found at 1 % false positives {one['found']:.1%}"
        for one in facts["attacks"]
    ]
    lines.append("on the champion, against people never trained on")
    lines += [
        f"  {one['name']:<32} {one['group']:<9} ({one['people']}) AUC {one['auc']:.3f} "
        f"({one['low']:.3f} to {one['high']:.3f})"
        for one in facts["champion"]
    ]
    return "\n".join([*lines, f"report: {path}"])
