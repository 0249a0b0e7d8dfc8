"""What a reviewer asks: is all well, does a version still verify, where is its report?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lethe.adapters.catalogue import Catalogue
from lethe.desk.rolling_back import alone, verified, why_unsafe
from lethe.errors import BadConfiguration, OutsideFailure
from lethe.estate.outward import suppression
from lethe.estate.workspace import Workspace
from lethe.nights import judging
from lethe.nights.desk import Desk
from lethe.nights.frame import end_killed
from lethe.reports.evidence import newest_page
from lethe.reports.requests import counts
from lethe.stages import opening


def status(workspace: Workspace) -> dict[str, Any]:
    """Champion, challenger, versions, data versions, register head and requests, in one screen.

    `safe_set` are the versions that a rollback could go to, as far as that shows without a fit;
    `unsafe` tells for each other version why not. Changes nothing, but that the MLflow runs of what
    was killed are ended.
    """
    desk = Desk.open(workspace, opening.open_params(workspace))
    killed = end_killed(workspace, desk.params)
    head = desk.register.check_chain(opening.newest_known(workspace))
    standing, champion = desk.register.standing(), desk.champion()
    against = {
        info.version: why_unsafe(desk, info.version, standing) for info in desk.versions.versions()
    }
    versions = [
        {
            "version": info.version,
            "recipe": info.tags.get("recipe"),
            "verdict": info.tags.get("verdict", "not verified"),
            "data_version": info.tags.get("data_version", "")[:12],
            "register_position": info.tags.get("register_position"),
            "created": datetime.fromtimestamp(info.created, UTC).strftime("%Y-%m-%d %H:%M"),
            "safe": not against[info.version],
        }
        for info in desk.versions.versions()
    ]
    data_versions = [
        {
            "digest": version.digest,
            "rows": version.rows,
            "users": version.users,
            "register_position": version.register_position,
        }
        for version in Catalogue(workspace.catalogue).list()
    ]
    return {
        "name": desk.params.name,
        "champion": champion,
        "challenger": desk.versions.challenger(),
        "versions": versions,
        "safe_set": [number for number, why in against.items() if not why and number != champion],
        "unsafe": {str(number): list(why) for number, why in against.items() if why},
        "data_versions": data_versions,
        "register_position": head.position,
        "requests": counts(desk.register, opening.now()),
        "evidence_page": newest_page(workspace),
        "suppressed": _suppressed(desk),
        "notices_waiting": sum(1 for _ in workspace.outbox.glob("*.json")),
        "unfinished_promotions": len(desk.register.open_intents()),
        "night_under_way": workspace.journal.is_file() and not killed,
        "night_killed": killed,
    }


def _suppressed(desk: Desk) -> dict[str, Any]:
    """The list of those whom no model serves: how many, how new, and what is wrong with it."""
    path = desk.workspace.suppressed
    told = {"people": None, "position": None, "file": str(path)}
    try:
        found = suppression.read(path)
    except OutsideFailure as error:
        return {**told, "fault": str(error)}
    if found is None:
        return {**told, "fault": "there is none yet; the next request or night makes it"}
    newest = max((state.entry.position for state in desk.register.requests()), default=0)
    late = newest > found.position
    return {
        **told,
        "people": len(found.people),
        "position": found.position,
        "fault": "it lacks the newest requests; the next one, or a night, mends that"
        if late
        else None,
    }


def verify_again(workspace: Workspace, version: int | None) -> dict[str, Any]:
    """Verify a stored version against today's register and write a new certificate for it.

    Raises:
        VerificationRefused: it does not pass, and the version's tag says so from now on; or it
            cannot be verified again by this Lethe, here, and its certificate stays.
        BadConfiguration: there is no such version.
        Busy: a night is running.
    """
    params = opening.open_params(workspace)
    with alone(workspace):
        desk = Desk.open(workspace, params)
        number = desk.champion() if version is None else version
        if number is None:
            raise BadConfiguration("there is no champion yet; name a version")
        report, certificate = verified(desk, number)
    layers = "\n".join(f"  {layer.layer}: passed ({layer.value})" for layer in report.layers)
    path = judging.certificate_path(workspace, number)
    return {
        "version": number,
        "certificate": str(path),
        "digest": certificate.digest,
        **certificate.predicate,
        "text": f"version {number} is VERIFIED against register position "
        f"{report.register_position}\n{layers}\n{certificate.predicate['claim']}\n"
        f"certificate: {path}",
    }


def find_report(workspace: Workspace, version: int | None) -> dict[str, Any]:
    """Where the page of a version, or of the last night, lies.

    Raises:
        BadConfiguration: there is none.
    """
    pattern = "????-*.html" if version is None else f"version-{version}.html"
    found = sorted(workspace.reports.glob(pattern))
    if not found:
        raise BadConfiguration(
            "no night has written a report yet"
            if version is None
            else f"there is no report of version {version}"
        )
    return {"report": str(found[-1]), "text": str(found[-1])}
