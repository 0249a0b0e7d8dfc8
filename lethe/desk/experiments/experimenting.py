"""An experiment: tune and compare on a chosen data version, in its own folder; no promotion."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lethe.adapters.catalogue import Catalogue
from lethe.adapters.night_runs import EXPERIMENT
from lethe.errors import BadConfiguration
from lethe.estate.process import settle
from lethe.estate.workspace import Workspace
from lethe.interactions.shards.store import ShardStore
from lethe.interactions.training.snapshot import build
from lethe.nights.frame import apart
from lethe.nights.learning import training, tuning
from lethe.nights.learning.tuning import finite
from lethe.nights.saying.events import checked, say, speaking
from lethe.params import Params, as_flat
from lethe.solutions.setting import HALF_LIFE
from lethe.stages import opening
from lethe.stages.snapshots import excluded_pseudonyms

BEST: Final = "best."
"""Before the winner's hyper-parameters, among the parameters of a night's or experiment's run."""


def run(folder: str, overrides: Sequence[str], data_version: str | None) -> dict[str, Any]:
    """Search every configured recipe and rank the best of each; an MLflow run holds it all.

    People excluded by the register *today* are left out, whatever the data version's position.

    Raises:
        BadConfiguration: an override is unusable, or the data version is unknown.
        RecipeFailed: every trial of a recipe failed.
        Busy: another experiment is running.
    """
    workspace = Workspace.find(Path(folder))
    settle(workspace)
    params, digest = chosen(workspace, overrides, data_version)
    name = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    checked()
    with (
        apart(workspace, name.replace(" ", "-"), params.night.wait_seconds) as place,
        speaking(f"{EXPERIMENT}{name}"),
    ):
        return _run(workspace, params, digest, name, place, overrides)


def _run(  # noqa: PLR0913
    workspace: Workspace,
    params: Params,
    digest: str,
    name: str,
    place: Path,
    overrides: Sequence[str],
) -> dict[str, Any]:
    runs = opening.open_solutions(workspace, params).runs
    runs.end_killed(EXPERIMENT)
    title = f"{EXPERIMENT}{name}"
    # Two that begin within one second are two: nobody takes an experiment up again.
    once = f"{title} {secrets.token_hex(4)}"
    run_id = runs.open_night(once, {"data_version": digest}, title)
    failure: BaseException | None = None
    try:
        receipt = training_set(workspace, params, digest, place)
        hear = tuning.heard(runs, run_id, params, digest, place / "training")
        tuned = [
            tuning.tune_recipe(
                workspace.studies_at(), place / "training", receipt, name, params, None, hear
            )
            for name in params.tuning.recipes
        ]
        result = _compare(params, place, tuned)
        runs.log_params(run_id, as_flat(params.model_dump(mode="json", include={"tuning"})))
        chosen = {HALF_LIFE: None, **result["best"][result["winner"]]}
        runs.log_params(run_id, {f"{BEST}{key}": value for key, value in chosen.items()})
        runs.log_params(run_id, {"recipe": result["winner"], "seed": params.seed})
        runs.tag(run_id, {"recipe": result["winner"]})
        runs.log_metrics(run_id, finite(result["leaderboard"][0]["means"]))
        runs.describe(run_id, _description(digest, overrides, result))
    except BaseException as error:
        failure = error
        raise
    finally:
        runs.end_as(run_id, failure)
    return {"run": run_id, "data_version": digest, **result}


def chosen(
    workspace: Workspace, overrides: Sequence[str], data_version: str | None
) -> tuple[Params, str]:
    """The parameters under `overrides`, and the digest that `data_version` stands for.

    Raises:
        BadConfiguration: see `run`.
    """
    return opening.open_params(workspace, overrides), _digest(workspace, data_version)


def _digest(workspace: Workspace, asked: str | None) -> str:
    known = [version.digest for version in Catalogue(workspace.catalogue).list()]
    if not known:
        raise BadConfiguration("there is no data version yet: run a night first")
    if asked is None:
        return known[-1]
    matching = [digest for digest in known if digest.startswith(asked)]
    if len(matching) != 1:
        raise BadConfiguration(f"{len(matching)} data versions start with {asked!r}")
    return matching[0]


def training_set(workspace: Workspace, params: Params, digest: str, place: Path) -> str:
    """Check the data version out and build a training set of it; the training set's digest."""
    shards = opening.open_data(workspace).checkout(digest, place / "interactions")
    keys = opening.open_identities(workspace)
    store = ShardStore(shards, params.purge.buckets, keys.generation)
    register = opening.open_register(workspace, params)
    head = register.check_chain(opening.newest_known(workspace))
    excluded = excluded_pseudonyms(opening.rows_by_user(store), register.standing(), keys)
    receipt = build(
        store,
        excluded,
        params.training,
        place / "training",
        head.position,
        head.digest,
        opening.open_canaries(workspace, keys).pseudonyms(),
        keys.generation,
    )
    sizes = {"rows": receipt.rows, "users": receipt.users, "items": receipt.items}
    say("split", ", ".join(f"{count} {name}" for name, count in sizes.items()), sizes)
    return receipt.digest


def _compare(params: Params, place: Path, tuned: Sequence[tuning.Tuned]) -> dict[str, Any]:
    winner = max(tuned, key=lambda entry: entry.value)
    best = {entry.recipe: entry.hyperparameters for entry in tuned}
    judged = training.judge(place / "training", params, best, winner.recipe, None)
    rows = [asdict(row) for row in judged.leaderboard]
    text = "\n".join(
        f"  {row['place']}. {row['name']:<9} {row['mean']:.4f}  "
        f"({row['low']:.4f} to {row['high']:.4f})"
        for row in rows
    )
    return {
        "shop": params.name,
        "metric": params.promotion.metric,
        "winner": winner.recipe,
        "best": best,
        "studies": {entry.recipe: entry.study for entry in tuned},
        "beats_baselines": judged.judgement.accepted,
        "leaderboard": rows,
        "text": f"{params.promotion.metric} on the test window\n{text}\nnothing was promoted",
    }


def _description(digest: str, overrides: Sequence[str], result: dict[str, Any]) -> str:
    changed = "\n".join(f"- `{override}`" for override in overrides) or "- none"
    return (
        f"## Experiment\n\nData version `{digest[:16]}`. Overrides:\n\n{changed}\n\n"
        f"```\n{result['text']}\n```"
    )
