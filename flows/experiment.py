"""A data scientist's run: tune and compare, never promote."""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.tasks import scrubbed
from lethe.desk.experiments import experimenting

search = task(
    name="experiment",
    cache_policy=NO_CACHE,
    persist_result=False,
    log_prints=False,
)(scrubbed(experimenting.run))


@flow(name="experiment", persist_result=False, log_prints=False)
def experiment(
    workspace: str = ".", overrides: list[str] | None = None, data_version: str | None = None
) -> dict[str, Any]:
    """Search every configured recipe on a data version, with `section.key=value` overrides."""
    return dict(search(workspace, overrides or [], data_version))
