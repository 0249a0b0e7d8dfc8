"""Telling the recipients of people's data what was asked (GDPR Art. 19), request by request.

The ids are at hand only in the command that enters a request. So the batch is put by in the outbox
first, then entered, then turned into one notice for each recipient. Whatever is cut off is ended by
the next command that enters requests, the next look at the notices, or the next night: what the
register does not hold goes, what it holds becomes a notice. Nobody's request is closed before.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any, Final

from lethe.durable import locked, read_json, write_json
from lethe.errors import BadRequest, LetheError, StoreUnavailable
from lethe.estate.outward import outbox
from lethe.estate.outward.outbox import Notice
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.standing import Action, Entry
from lethe.nights.desk import Desk
from lethe.stages import opening

_ERASURE: Final = "erasure"
_ASKED: Final = {
    Action.ERASE: _ERASURE,
    Action.RESTRICT: "restriction",
    Action.RELEASE: "end of restriction",
}
_DELIVERED = "delivered"  # there from a delivery until a night has looked what it can close


@dataclass(frozen=True)
class Told:
    """What was delivered and what waits.

    `waiting` are positions of requests that a notice names, `people` the tombstones of theirs.
    `delivered` maps a position to the records of who was told, without ids.
    """

    waiting: frozenset[int]
    people: frozenset[str] = field(repr=False)
    delivered: Mapping[int, Sequence[Mapping[str, Any]]]

    def holds(self, entry: Entry) -> bool:
        """Whether a request must stay open: about it, or with the id of somebody to be erased."""
        erased = entry.action is Action.ERASE and entry.tombstone in self.people
        return erased or entry.position in self.waiting


@contextlib.contextmanager
def about(
    desk: Desk, action: Action, received: int, people: Sequence[tuple[str, str]]
) -> Iterator[None]:
    """Around the entering of a batch: each recipient is told of what was entered, and of no more.

    `people` are (tombstone, id). Without recipients, or for what they need not know, nothing is.

    Raises:
        StoreUnavailable: the outbox cannot be written; nothing is entered then.
        Busy: another command or a night is at the outbox.
    """
    recipients = desk.params.recipients if action in _ASKED else ()
    if not recipients:
        yield
        return
    with _alone(desk):
        _settle(desk)
        content = {
            "after": desk.register.head().position,
            "action": str(action),
            "received": _day(received),
            "recipients": list(dict.fromkeys(recipients)),
            "number": (number := secrets.token_hex(16)),
            "people": [list(one) for one in people],
        }
        outbox.put(desk.workspace.outbox, f"pending-{number}.json", content)
        try:
            yield
        except LetheError:
            with contextlib.suppress(LetheError):  # the first error is the one to tell
                _settle(desk)
            raise
        _settle(desk)


def waiting(desk: Desk) -> tuple[Notice, ...]:
    """The notices that wait, once what a killed command began was ended.

    Raises:
        ArtifactCorrupt: a file in the outbox is not what was written there.
        Busy: a command or a night is at the outbox.
    """
    if not desk.workspace.outbox.is_dir():
        return ()
    with _alone(desk):
        _settle(desk)
        return outbox.waiting(desk.workspace.outbox)


def _alone(desk: Desk) -> contextlib.AbstractContextManager[None]:
    folder = desk.workspace.outbox
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return locked(folder / "lock", desk.params.night.lock_seconds)


def _settle(desk: Desk) -> None:
    folder = desk.workspace.outbox
    for path in folder.glob(".*.part"):  # nobody else writes here now
        outbox.delete(path)
    for path in sorted(folder.glob("pending-*.json")):
        _complete(desk, outbox.load(path))
        outbox.delete(path)
    for notice in outbox.waiting(folder):
        record = desk.workspace.evidence / notice.file
        if record.is_file() and read_json(record)["notice"] == notice.digest:
            outbox.delete(folder / notice.file)  # a delivery was recorded, and then cut off


def _complete(desk: Desk, pending: Mapping[str, Any]) -> None:
    """Write the notices about those of a batch whom the register has under the action since."""
    after, action = int(pending["after"]), Action(pending["action"])
    ids = _with_merged(desk, dict(pending["people"]))
    before = desk.register.standing(upto=after)
    batches: dict[str, list[tuple[list[int], str]]] = defaultdict(list)
    for entry in desk.register.entries(since=after):
        stone = entry.tombstone
        if entry.action is not action or stone not in ids:
            continue
        if action is Action.ERASE and stone in before.restricted:
            continue  # a legal hold: it is carried out, and told, when the hold ends
        held = action is Action.RELEASE and stone in before.blocked
        positions = [entry.position, *(_erasure_of(desk, stone, after) if held else ())]
        batches[_ERASURE if held else _ASKED[action]].append((positions, ids.pop(stone)))
    for asked, batch in batches.items():
        positions = [position for own, _ in batch for position in own]
        names = [one for _, one in batch]
        for recipient in pending["recipients"]:
            outbox.put_notice(
                desk.workspace.outbox, recipient, asked, str(pending["received"]),
                positions, names, str(pending["number"]),
            )  # fmt: skip


def _with_merged(desk: Desk, ids: dict[str, str]) -> dict[str, str]:
    """And the ids merged with them, to which the request followed: of those the vault knows."""
    joined = desk.register.links().person(ids) - ids.keys()
    known = opening.open_vault(desk.workspace, desk.keys).by_tombstone(joined) if joined else {}
    return {**{stone: raw for stone, (_, raw) in known.items()}, **ids}


def _erasure_of(desk: Desk, stone: str, upto: int) -> list[int]:
    """The position of the erasure that waits for the end of a restriction."""
    asked = (e for e in desk.register.entries(upto=upto) if e.action is Action.ERASE)
    return [entry.position for entry in asked if entry.tombstone == stone][-1:]


def told(desk: Desk) -> Told:
    """What waits and what was delivered; see `waiting`."""
    named = frozenset(position for notice in waiting(desk) for position in notice.positions)
    entries = desk.register.entries() if named else ()
    people = frozenset(entry.tombstone for entry in entries if entry.position in named)
    return Told(named, people, delivered(desk.workspace))


def delivered(workspace: Workspace) -> dict[int, list[dict[str, Any]]]:
    """Position of a request -> who was told of it, of what, when, and the digest of the notice."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(workspace.evidence.glob("notice-*.json")):
        record = read_json(path)
        for position in record["positions"]:
            found[position].append(
                {name: record[name] for name in ("recipient", "asked", "delivered", "notice")}
            )
    return dict(found)


def deliver(desk: Desk, files: Iterable[str] | None, now: int) -> tuple[Notice, ...]:
    """Record that notices were delivered, then delete them; None: all that wait.

    `files` are named as the outbox lists them, with or without a folder before.

    Raises:
        BadRequest: one does not wait, or none does; nothing is recorded then.
    """
    workspace = desk.workspace
    if not waiting(desk):
        raise BadRequest("no notice waits in the outbox")
    with _alone(desk):
        there = {notice.file: notice for notice in outbox.waiting(workspace.outbox)}
        names = there.keys() if files is None else {PurePath(file).name for file in files}
        if unknown := names - there.keys():
            raise BadRequest(f"{len(unknown)} of {len(names)} named notices do not wait")
        outbox.put(workspace.outbox, _DELIVERED, {})
        for name in sorted(names):
            _record(workspace, there[name], now)
            outbox.delete(workspace.outbox / name)
    return tuple(there[name] for name in sorted(names))


def _record(workspace: Workspace, notice: Notice, now: int) -> None:
    try:
        write_json(
            workspace.evidence / notice.file,
            {
                "recipient": notice.recipient,
                "asked": notice.asked,
                "received": notice.received,
                "positions": list(notice.positions),
                "people": notice.people,
                "notice": notice.digest,
                "delivered": now,
            },
        )
    except OSError as error:
        reason = f"the delivery cannot be recorded: {error.strerror}"
        raise StoreUnavailable(reason) from None


def renew(desk: Desk) -> int:
    """After a restore: tell again what a lost outbox held; how many requests that cannot be.

    Whom the vault does not know, nobody can name. Whoever is a recipient by now is told as well.
    """
    recipients = dict.fromkeys(desk.params.recipients)
    named = {(one.recipient, at) for one in waiting(desk) for at in one.positions}
    for at, records in delivered(desk.workspace).items():
        named |= {(record["recipient"], at) for record in records}
    erased = desk.register.standing().erased
    due = [
        state.entry
        for state in desk.register.requests()
        if state.open and state.state != "blocked" and state.entry.action in _ASKED
        and not (state.entry.action is Action.RELEASE and state.entry.tombstone in erased)
    ]  # fmt: skip
    known = opening.open_vault(desk.workspace, desk.keys).by_tombstone(
        {entry.tombstone for entry in due}
    )
    unknown = set[int]()
    for recipient in recipients:
        batches: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        for entry in due:
            if (recipient, entry.position) in named:
                continue
            if entry.tombstone in known:
                batches[_ASKED[entry.action], _day(entry.received)].append(entry)
            else:
                unknown.add(entry.position)
        for (asked, day), entries in batches.items():
            outbox.put_notice(
                desk.workspace.outbox, recipient, asked, day,
                [entry.position for entry in entries],
                [known[entry.tombstone][1] for entry in entries], secrets.token_hex(16),
            )  # fmt: skip
    return len(unknown)


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _mark(workspace: Workspace) -> Path:
    return workspace.outbox / _DELIVERED


def newly_delivered(workspace: Workspace) -> bool:
    """Whether notices were delivered since a night last looked what it can close."""
    return _mark(workspace).is_file()


def looked(workspace: Workspace) -> None:
    """A night begins to look what it can close."""
    if newly_delivered(workspace):
        outbox.delete(_mark(workspace))
