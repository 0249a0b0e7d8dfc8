"""A data scientist's run: tune and compare, never promote."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.killed import living
from flows.shown import artifacts
from flows.tasks import scrubbed
from lethe.desk.experiments import experimenting

# What the form of Prefect's UI checks before a run begins.
Override = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]*=.+$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{1,32}(\.dir)?$")]
Trials = Annotated[int, Field(ge=1, le=100_000)]

search = task(
    name="experiment",
    cache_policy=NO_CACHE,
    persist_result=False,
    log_prints=False,
)(scrubbed(experimenting.run))


@flow(name="experiment", persist_result=False, log_prints=False)
def experiment(
    workspace: str = ".",
    overrides: list[Override] | None = None,
    data_version: Digest | None = None,
    trials: Trials | None = None,
) -> dict[str, Any]:
    """Search every configured recipe on a data version.

    Args:
        workspace: its folder.
        overrides: `section.key=value` each, over params.yaml.
        data_version: the beginning of a data version's digest; the newest if none is given.
        trials: how many a recipe gets; as configured if none is given.
    """
    changed = [*(overrides or []), *([] if trials is None else [f"tuning.trials={trials}"])]
    with living(workspace):
        result = dict(search(workspace, changed, data_version))
        artifacts.experiment(result)
        return result
