"""The eleven steps of a night in order, each opened, called, told to MLflow, and said aloud.

A step takes the night and small records of earlier steps and returns a small record: paths,
digests, counts, hyper-parameters. Never rows, never ids.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lethe.adapters.studies import TrialRecord, import_ahead
from lethe.errors import FilesRefused, LetheError, VerificationRefused
from lethe.estate.canaries.roll import Plan
from lethe.gate.proof.verification import Verdict
from lethe.interactions.rights.standing import Head
from lethe.nights import cases, judging, telling
from lethe.nights.desk import Desk
from lethe.nights.forgetting import suppressing
from lethe.nights.forgetting.testifying import retired
from lethe.nights.frame import Night
from lethe.nights.learning import training, tuning
from lethe.nights.learning.training import Trained
from lethe.nights.learning.tuning import Tuned, finite
from lethe.nights.memory import last_night
from lethe.nights.review import describing
from lethe.nights.saying.events import say
from lethe.stages import opening, reproducing


def _desk(night: Night) -> Desk:
    return Desk.open(night.workspace, night.params())


def intake(night: Night) -> dict[str, int]:
    """Step 1: end what a killed promotion began; then what landed, and the register's head."""
    desk = _desk(night)
    suppressing.refresh(desk)  # a kill can have come between a request and the list
    recovered = judging.recover_promotions(desk)
    for version in recovered.completed:
        say("intake", f"promotion of version {version}, cut off by a kill, was completed")
    for version in recovered.undone:
        say("intake", f"promotion of version {version}, cut off by a kill, was undone")
    _canaries(night)
    found = reproducing.take_in(night.workspace, night.params())
    text = f"{found['files']} files, register at position {found['register_position']}"
    say("intake", text, found)
    return found


def _canaries(night: Night) -> None:
    """Canaries ask to be erased and others land, in a night that will learn; planned once."""
    room, params, plan = night.workspace, night.params(), night.noted("canaries")
    plan = plan or asdict(reproducing.plan_canaries(room, params, _last(night) is None))
    night.note(canaries=plan)
    reproducing.carry_out(room, params, Plan.of(plan))


def purge(night: Night) -> dict[str, Any]:
    """Steps 1 and 2: rows in, erased users out."""
    if any(night.workspace.landing.iterdir()) or _last(night) is None:
        threading.Thread(target=import_ahead, daemon=True).start()  # there is something to learn
    done = reproducing.purge(night.workspace, night.name)
    if done["purge"]:
        new, out = done["intake"]["rows_new"], done["purge"]
        text = f"{new} rows new, {out['rows']} rows of {out['users']} users out"
        say("purge", text, {"rows_new": new, "rows_out": out["rows"], "users_out": out["users"]})
    return done


def version(night: Night) -> dict[str, Any]:
    """Step 3: the data version, pushed and catalogued."""
    made = reproducing.version(night.workspace, night.params(), opening.now())
    night.works_on(made.digest)
    sizes = {"rows": made.rows, "users": made.users, "items": made.items}
    text = ", ".join(f"{count} {name}" for name, count in sizes.items())
    say("version", f"{made.digest[:12]}: {text}", sizes)
    return asdict(made)


def split(night: Night) -> dict[str, Any]:
    """Step 4: the training set and its windows."""
    made = reproducing.split(night.workspace, night.params())
    windows = ", ".join(f"{name} {rows}" for name, rows in made["windows"].items())
    text = f"{windows}; {made['excluded_users']} users kept out of training"
    say("split", text, {**made["windows"], "excluded_users": made["excluded_users"]})
    return made


def take_up(night: Night, told: dict[str, Any]) -> None:
    """Add to `told` what a killed night had learned from the same data and configuration.

    A promotion is taken over only while it stands; otherwise the version is judged again.
    """
    found = telling.taken_up(night, last_night.key(night.workspace, night.params()))
    if found:
        if "promotion" in found and found["promotion"]["version"] != _desk(night).champion():
            found = {name: found[name] for name in ("tuned", "trained", "version")}
        say("tune", f"version {found['version']} was recorded before the kill: taken up there")
    told.update(found)


def is_new(night: Night) -> bool:
    """False if the champion was made from exactly this data, register and settings."""
    if (champion := _last(night)) is not None:
        say("tune", f"nothing new since version {champion}: no retraining")
    return champion is None


def must_search(night: Night) -> bool:
    """False if only requests of rights came since the search that led to the champion.

    Its setting is then trained anew, and whoever asked is out of it sooner by the time of a search.
    The journal holds the answer for a night that is killed; after one that is refused it is True.
    """
    room = night.workspace
    grounds = last_night.grounds(room, night.params())
    if night.noted("searched") != grounds:
        if not last_night.is_searched(room, grounds, _desk(night).champion()):
            return True
        night.note(searched=grounds)
    last_night.rely_on_search(room)
    say("tune", "nothing new since the last search but requests: the champion's setting again")
    return False


def _last(night: Night) -> int | None:
    """The champion, if it was made from exactly the sealed data and the present settings."""
    workspace = night.workspace
    if not workspace.last_night.is_file():  # nor are there data, perhaps
        return None
    champion, key = _desk(night).champion(), last_night.key(workspace, night.params())
    return champion if last_night.made_from(workspace, key, champion) else None


def put_down(night: Night, told: Mapping[str, Any]) -> None:
    """Note how far the night has come, so that it is taken up there after a kill."""
    telling.put_down(night, last_night.key(night.workspace, night.params()), told)


def tune(night: Night, training_digest: str, recipe: str) -> Tuned:
    """Step 5 for one recipe: its study, every trial a nested run."""
    params, workspace = night.params(), night.workspace
    runs = opening.open_solutions(workspace, params).runs

    data_version = str(night.noted("data_version"))
    tell = tuning.heard(runs, night.run, params, data_version, workspace.training)

    def hear(name: str, trial: TrialRecord) -> None:
        night.trials.append((name, trial))
        tell(name, trial)

    return tuning.tune_recipe(
        workspace.studies_at(),
        workspace.training,
        training_digest,
        recipe,
        params,
        last_night.best(workspace, recipe),
        hear,
        last_night.too_short(workspace),
    )


def train(night: Night, version: Mapping[str, Any], tuned: list[Tuned]) -> Trained:
    """Step 6: judged on the test window, refitted on everything."""
    desk = _desk(night)
    head = Head(int(version["register_position"]), str(version["register_head"]))
    made = training.train(
        desk.workspace,
        desk.params,
        tuned,
        str(version["digest"]),
        (head.position, head.digest),
        judging.champion_manifest(desk),
        lambda folder: cases.rehearse(desk, folder),
    )
    say("train", made.headline, {"recipe": made.recipe, "value": made.metrics[made.metric]})
    return made


def record(night: Night, version: Mapping[str, Any], tuned: list[Tuned], trained: Trained) -> int:
    """Step 7: the solution version and what it came from, in MLflow."""
    desk = _desk(night)
    runs = desk.versions.runs
    runs.log_dataset(
        night.run,
        str(version["digest"]),
        {name: int(version[name]) for name in ("rows", "users", "items")},
    )
    facts = {"split": tuning.split_words(desk.workspace.training)}
    runs.log_params(night.run, facts | describing.run_params(desk.params, trained))
    runs.log_metrics(night.run, finite(trained.metrics))
    number = judging.record(
        desk,
        night.run,
        night.name,
        Path(trained.folder),
        describing.version_description(trained, version),
    )
    runs.describe(
        night.run, describing.run_description(night.name, trained, tuned, version, number)
    )
    say("record", f"solution version {number}", {"version": number})
    return number


def verify(night: Night, number: int) -> dict[str, Any]:
    """Step 8: the layers, the certificate; anything but VERIFIED is refused.

    Raises:
        VerificationRefused: names layers, rules and counts.
    """
    desk = _desk(night)
    night.note(examined=None)
    report = judging.examine(desk, number)
    certificate = judging.certify(desk, number, report, keep_equal=night.resumed)
    desk.versions.runs.log_text(night.run, certificate.envelope.decode(), "certificate.json")
    desk.versions.runs.tag(
        night.run, {"verdict": certificate.verdict, "certificate_digest": certificate.digest}
    )
    for layer in report.layers:
        word = "passed" if layer.passed else "FAILED"
        told = {"layer": layer.layer, "outcome": word}
        say("verify", f"{layer.layer}: {word} ({layer.value})", told)
    facts = {"digest": certificate.digest, **certificate.predicate, "clouds": report.clouds()}
    night.note(examined={"version": number, "facts": facts})
    if report.verdict is not Verdict.VERIFIED:
        raise VerificationRefused(f"version {number} is {report.verdict.value}", report.reasons)
    return facts


def promote(night: Night, number: int, trained: Trained) -> dict[str, Any]:
    """Step 9: the promotion protocol.

    Raises:
        PromotionRefused: the champion stays.
    """
    desk = _desk(night)
    suppressing.refresh(desk)
    done = judging.promote_version(desk, number, trained.accepted, trained.reasons)
    say("promote", f"version {done.version} is champion", {"version": done.version})
    return {"version": done.version, "previous": done.previous, "position": done.head.position}


def retire(night: Night) -> dict[str, Any]:
    """Step 10: destroy what still holds the erased, search, close requests, and tell it."""
    done = retired(_desk(night), night)
    say(
        "retire",
        f"{done['versions']} solution and {done['data_versions']} data versions destroyed, "
        f"{done['rewritten']} rewritten, "
        f"{done['closed'] + done['not_found']} requests closed, {done['waiting']} waiting",
        {name: count for name, count in done.items() if isinstance(count, int)},
    )
    return done


def remember(night: Night, told: Mapping[str, Any]) -> None:
    """Note what the new champion was made from, for `is_new` and for tomorrow's first trials."""
    room, tuned, keep = night.workspace, told["tuned"], night.params().retention.nights_of_studies
    if tuned:
        tuning.forget_studies(room, [entry.study for entry in tuned], keep)
    best = {entry.recipe: entry.hyperparameters for entry in tuned}
    version, too_short = told["promotion"]["version"], told["trained"].too_short
    last_night.remember(room, night.params(), version, best, too_short)
    put_down(night, told)


def report(night: Night, told: Mapping[str, Any], failure: LetheError | None) -> dict[str, Any]:
    """Step 11: the page, in the workspace and in MLflow, and what a person wants to know."""
    desk = _desk(night)
    result = telling.write(desk, night, told, failure)
    say("report", result["report"])
    return result


def conclude(
    told: Mapping[str, Any],
    failure: LetheError | None,
    result: Mapping[str, Any] | None = None,
) -> None:
    """Raise what the night ends with, if anything, and let it carry the night's `result` along.

    Raises:
        LetheError: the refusal or failure of a step.
        FilesRefused: all went well, but a landed file was refused whole.
    """
    refused = (told.get("purge") or {}).get("intake", {}).get("files_refused", {})
    if refused and failure is None:
        failure = FilesRefused(
            f"{sum(refused.values())} landed files were refused and lie in data/quarantine "
            f"({'; '.join(sorted(refused))}); everything else was done"
        )
    if failure is not None:
        failure.summary = result
        raise failure
