"""Entering requests of rights, and saying where each one stands."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from lethe.errors import BadFile, BadRequest, OutsideFailure, StoreUnavailable
from lethe.estate.workspace import Workspace
from lethe.interactions.intake.rules import InteractionRules
from lethe.interactions.rights.identity import (
    Identities,
    canonical_id,
    every_pseudonym,
    id_fault,
)
from lethe.interactions.rights.standing import CANARY, Action, Head, Request
from lethe.nights.desk import Desk
from lethe.nights.forgetting import notifying, suppressing
from lethe.stages import opening


def read_ids(content: bytes, source: str, rules: InteractionRules) -> list[str]:
    """Canonical ids from one id a line, or from the users' column of a CSV with a header.

    `source` is named in errors, by its file name only. Repeats are dropped, order is kept.

    Raises:
        BadFile: not UTF-8, no id at all, or a row with an id that breaks a rule.

    >>> read_ids(b"USER_ID\\n007\\n\\n 42 \\n007\\n", "ids.csv", InteractionRules())
    ['007', '42']
    """
    file = PurePath(source).name
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFile(file, "not UTF-8") from None
    rows = list(csv.reader(io.StringIO(text)))
    column, header = rules.columns["user"], 0
    place = 0
    if rows and column in rows[0]:
        place, header = rows[0].index(column), 1
    ids: dict[str, None] = {}
    for number, row in enumerate(rows[header:], start=1):
        if not row:
            continue
        if len(row) <= place or (header == 0 and len(row) > 1):
            raise BadFile(file, f"{len(row)} fields where one id was expected", number)
        raw = plain(row[place], rules)
        if fault := id_fault(raw, rules.case_fold):
            raise BadFile(file, fault, number)
        ids.setdefault(canonical_id(raw, rules.case_fold))
    if not ids:
        raise BadFile(file, "holds no id: nothing was asked for")
    return list(ids)


def plain(raw: str, rules: InteractionRules) -> str:
    """The same reading of a float-exported id as at intake, or the request would miss its user."""
    stripped = raw.strip(" ")
    if rules.strip_float_suffix and stripped.endswith(".0") and stripped[:-2].isdigit():
        return stripped[:-2]
    return raw


def enter(  # noqa: PLR0913 - one argument for each thing a person tells
    workspace: Workspace,
    action: Action,
    content: bytes,
    source: str,
    received: datetime | None,
    reason: str,
) -> dict[str, Any]:
    """Enter one request per id, all or none; counts only come back.

    Raises:
        BadFile: see `read_ids`.
        BadRequest: the register cannot enter it, the receipt lies in the future, or the reason is
            that of canaries, whose entries no list shows.
        ArtifactCorrupt: the register was edited, or is older than the newest known head.
        StoreUnavailable: the message says whether it was entered.
    """
    if reason == CANARY:
        raise BadRequest(f"the reason {CANARY} is kept for canaries, who are no people")
    params, keys = opening.open_params(workspace), opening.open_tombstones(workspace)
    desk = Desk.open(workspace, params, keys)
    ids = read_ids(content, source, desk.params.intake.interactions)
    at = opening.now() if received is None else int(received.replace(tzinfo=UTC).timestamp())
    if at > opening.now():
        raise BadRequest("the date of receipt lies in the future")
    people = Identities(desk.keys, desk.register.standing()).resolve(ids)
    stones = [person.tombstone for person in people]
    with notifying.about(desk, action, at, list(zip(stones, ids, strict=True))):
        receipt = desk.register.append(
            [Request(action, stone, at, reason) for stone in stones],
            known=opening.newest_known(workspace),
        )
        head = desk.register.head()
        opening.remember_head(workspace, head)
        suppressed = _suppressed(desk, head)
    return {
        "action": str(action),
        "asked": len(ids),
        "entered": receipt.entered,
        "followed": receipt.followed,
        "already": receipt.already,
        "register_position": head.position,
        "suppressed": suppressed,
        "text": f"{action}: {_asked(len(ids), receipt.followed)}, {receipt.entered} entered, "
        f"{receipt.already} stood so already; the register is at position {head.position}",
    }


def _asked(asked: int, followed: int) -> str:
    if not followed:
        return f"{asked} asked"
    return f"{asked} asked, {followed} more ids merged with them"


def _suppressed(desk: Desk, head: Head) -> int:
    """Whoever is excluded is served no more; how many people no stored version serves now.

    Raises:
        StoreUnavailable: that could not be written down. What was asked is entered all the same.
    """
    try:
        return suppressing.refresh(desk)
    except (OutsideFailure, OSError) as error:
        why = error if isinstance(error, OutsideFailure) else error.strerror
        raise StoreUnavailable(
            f"entered, the register is at position {head.position}, but the list of those whom no "
            f"model serves is not made: {why}; the same command again makes it"
        ) from None


def extend(workspace: Workspace, content: bytes, source: str, reason: str) -> dict[str, Any]:
    """Give the open requests of people two further months (Art. 12(3)), all of them or none.

    Raises:
        BadFile: see `read_ids`.
        BadRequest: somebody has no open request that is in its first month and not yet extended.
        ArtifactCorrupt: the register was edited, or is older than the newest known head.
    """
    params, keys = opening.open_params(workspace), opening.open_tombstones(workspace)
    register = opening.open_register(workspace, params)
    ids = read_ids(content, source, params.intake.interactions)
    register.check_chain(opening.newest_known(workspace))
    standing = register.standing()
    people = [frozenset(keys.stones(every_pseudonym(keys, standing, one))) for one in ids]
    made = register.extend(people, reason, opening.now())
    theirs = register.links().person(frozenset[str]().union(*people))
    left = sum(
        state.open and state.extension is None and state.entry.tombstone in theirs
        for state in register.requests()
    )
    late = f"; {left} others of theirs are past their first month and stay as they are"
    due = sorted({datetime.fromtimestamp(one.due, UTC).strftime("%Y-%m-%d") for one in made})
    return {
        "asked": len(ids),
        "extended": len(made),
        "left": left,
        "due": due,
        "text": f"{len(made)} requests of {len(ids)} people extended to {', '.join(due)}; "
        "tell them so, and why, within a month of their request" + (late if left else ""),
    }


def waiting_for_a_night(workspace: Workspace) -> int:
    """How many requests of people a night now could bring further; 0 if it would be in vain.

    One under a legal hold waits for its end. If the last night worked at the very head of the
    register and ended, another would see the same and end the same, unless a notice to a recipient,
    for which a request waited, was delivered since.
    """
    register = opening.open_register(workspace, opening.open_params(workspace))
    ended = not workspace.journal.is_file() and not notifying.newly_delivered(workspace)
    if ended and opening.read_position(workspace.register_position) == register.head():
        return 0
    return sum(state.open and state.state != "blocked" for state in register.requests())
