"""What is held on a person, gathered from every place that holds it (GDPR Art. 15)."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lethe.adapters.catalogue import Catalogue
from lethe.desk.access.dossiers import Format, archive_path, write_archive
from lethe.desk.access.explaining import as_a_stranger, explained
from lethe.desk.estate.searching import spellings
from lethe.desk.merging import Naming
from lethe.desk.rights import read_ids
from lethe.durable import locked
from lethe.errors import ArtifactCorrupt, WrongKey
from lethe.estate.outward import batches
from lethe.estate.outward.tables import USER, rows_of
from lethe.estate.search.needles import FIELD
from lethe.estate.search.pieces import pieces
from lethe.estate.workspace import Workspace
from lethe.interactions import columns as c
from lethe.nights.desk import Desk
from lethe.nights.forgetting import notifying
from lethe.nights.forgetting.suppressing import excluded_among, made_at
from lethe.reports.requests import shown_state
from lethe.stages import opening

_LISTED = ("interactions", "attributes", "rows_not_taken_in", "versions",
           "recommendations_given", "requests")  # fmt: skip


@dataclass(frozen=True, repr=False)
class _Wanted:
    """Whom the archive is about, and by which names they can be found. The repr hides them."""

    ids: Sequence[str]
    names: Sequence[Sequence[str]]  # of each: merged ids', then one for each life, present one last
    merged: Sequence[Sequence[str]]  # of each: ids merged with theirs that the vault knows
    present: Sequence[Sequence[str]]  # of each: their id, and merged ones that are theirs today
    spelled: Mapping[str, Sequence[int]]  # every spelling of an id -> whose it is

    def by_pseudonym(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for who, names in enumerate(self.names):
            for name in names:
                found.setdefault(name, []).append(who)
        return found


def access(
    workspace: Workspace, content: bytes, source: str, form: Format, out: Path
) -> dict[str, Any]:
    """Write everything held on the people of an id list into one archive; counts come back.

    Raises:
        BadFile: see `read_ids`.
        BadRequest: the archive's place is not usable; see `archive_path`.
        Busy: a night is running.
    """
    desk = Desk.open(workspace, opening.open_params(workspace))
    rules = desk.params.intake.interactions
    ids = read_ids(content, source, rules)
    now = datetime.now(UTC)
    path = archive_path(out, workspace.root, f"access-{now:%Y%m%dT%H%M%SZ}.zip")
    with locked(workspace.night_lock, wait_seconds=5.0):
        people = _gathered(desk, _wanted(desk, ids))
    found = sum(bool(person["held"]) for person in people)
    write_archive(path, _about(desk, now), people, form)
    return {
        "asked": len(ids),
        "held": found,
        "nothing_held": len(ids) - found,
        "archive": str(path),
        "text": f"{len(ids)} asked, {found} known, nothing is held on {len(ids) - found}; {path}\n"
        "the archive holds personal data and lies outside the estate: no erasure reaches it",
    }


def _wanted(desk: Desk, ids: Sequence[str]) -> _Wanted:
    """Each with the names of all their lives, and of lives merged with one of them."""
    naming = Naming(desk.keys, desk.register, opening.open_vault(desk.workspace, desk.keys))
    rules, called = desk.params.intake.interactions, [naming.called(one) for one in ids]
    spelled: dict[str, list[int]] = {}
    present = [[one, *found.present] for one, found in zip(ids, called, strict=True)]
    for who, theirs in enumerate(present):
        for form in {form for raw in theirs for form in spellings(raw, rules)}:
            spelled.setdefault(form, []).append(who)
    names = [[*found.joined, *found.own] for found in called]
    return _Wanted(ids, names, [found.ids for found in called], present, spelled)


def _about(desk: Desk, now: datetime) -> dict[str, Any]:
    retention = desk.params.retention
    return {
        "made": now.isoformat(timespec="seconds"),
        "shop": desk.params.name,
        "purpose": "to recommend items, by models trained on interactions",
        "recipients": list(desk.params.recipients) or "none",
        "retention": "interactions stay until an erasure is asked for; a night then removes them "
        f"from every copy. Older data versions: {retention.data_versions} are kept",
        "source": "the files that the shop exported",
        "rights": "rectification, erasure, restriction, objection; complaint to an authority",
        "names": "ids are replaced by a pseudonym at intake; only the vault knows both",
    }


def _gathered(desk: Desk, wanted: _Wanted) -> list[dict[str, Any]]:
    people: list[dict[str, Any]] = [
        {"id": one, "merged_ids": list(merged), "pseudonyms": list(names), "held": False}
        | {name: list[dict[str, Any]]() for name in _LISTED}
        | {"factors_meaning": "", "factors": [], "nearest_items": [], "recommendations": []}
        | {"suppressed": False}
        for one, merged, names in zip(wanted.ids, wanted.merged, wanted.names, strict=True)
    ]
    _interactions(desk, wanted, people)
    _unread(desk.workspace, wanted, people)
    _given(desk.workspace, wanted, people)
    _rights(desk, wanted, people)
    _learned(desk, wanted, people)
    vault = opening.open_vault(desk.workspace, desk.keys)
    stones = [desk.keys.stones(names) for names in wanted.names]
    known = vault.by_tombstone({stone for own in stones for stone in own})
    present = [version.digest for version in Catalogue(desk.workspace.catalogue).list()][-1:]
    for person, own in zip(people, stones, strict=True):
        person["in_vault"] = any(stone in known for stone in own)
        person["held"] = person["in_vault"] or any(person[name] for name in _LISTED)
        person["data_version"] = present[0] if present and person["interactions"] else None
        person["summary"] = "held" if person["held"] else "nothing is held"
    return people


def _interactions(desk: Desk, wanted: _Wanted, people: Sequence[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    store = opening.open_shards(desk.workspace, desk.params, desk.keys)
    whose = wanted.by_pseudonym()
    names = pa.array(sorted(whose), pa.string())
    attributes = store.attributes("users")
    for kind, tables in (
        ("interactions", store.scan()),
        ("attributes", [] if attributes is None else [attributes]),
    ):
        for table in tables:
            for row in table.filter(pc.is_in(table[c.USER], value_set=names)).to_pylist():
                for who in whose[row[c.USER]]:
                    people[who][kind].append(_dated(dict(row)))


def _dated(row: dict[str, Any]) -> dict[str, Any]:
    if c.TIMESTAMP in row:
        row["time"] = datetime.fromtimestamp(row[c.TIMESTAMP], UTC).isoformat()
    return row


def _unread(workspace: Workspace, wanted: _Wanted, people: Sequence[dict[str, Any]]) -> None:
    """Rows as they came, that could not be read or wait to be: in quarantine and in landing."""
    spelled = {name.encode(): who for name, who in wanted.spelled.items()}
    for folder in (workspace.quarantine, workspace.landing):
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            if path.is_file() and not path.is_symlink():
                for who, line in _lines_of(path, spelled):
                    people[who]["rows_not_taken_in"].append({"place": folder.name, "row": line})


def _lines_of(path: Path, spelled: Mapping[bytes, Sequence[int]]) -> Iterator[tuple[int, str]]:
    for piece in pieces(path):
        for start, line in _lines(piece.content):
            if piece.is_new(start + len(line)):  # otherwise it stands in another piece as well
                fields = {match.group().strip(b" ") for match in FIELD.finditer(line)}
                for who in {who for name in fields & spelled.keys() for who in spelled[name]}:
                    yield who, line.decode(errors="replace")


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    for line in content.splitlines(keepends=True):
        yield start, line.rstrip(b"\r\n")
        start += len(line)


def _given(workspace: Workspace, wanted: _Wanted, people: Sequence[dict[str, Any]]) -> None:
    """What batch outputs recommend to each, with the version; the next night ends spoiled ones."""
    whose: dict[str, list[int]] = {}
    for who, ids in enumerate(wanted.present):
        for one in ids:
            whose.setdefault(one, []).append(who)
    for table in batches.tables(workspace.recommendations):
        with contextlib.suppress(ArtifactCorrupt):
            for row in rows_of(table.path, table.form, whose):
                for who in whose[row[USER]]:
                    people[who]["recommendations_given"].append({"version": table.version, **row})


def _rights(desk: Desk, wanted: _Wanted, people: Sequence[dict[str, Any]]) -> None:
    whose = {desk.keys.stone(name): who for name, who in wanted.by_pseudonym().items()}
    standing, suppressed_at = desk.register.standing(), made_at(desk.workspace)
    delivered = notifying.delivered(desk.workspace)
    for state in desk.register.requests():
        for who in whose.get(state.entry.tombstone, ()):
            people[who]["requests"].append(
                {
                    "action": str(state.entry.action),
                    "received": _day(state.entry.received),
                    "due": _day(state.due),
                    "extended": None if state.extension is None else state.extension.reason,
                    "state": shown_state(state, standing, suppressed_at),
                    "recipients_told": "; ".join(
                        f"{record['recipient']} on {_day(record['delivered'])}"
                        for record in delivered.get(state.entry.position, ())
                    ),
                }
            )


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _learned(desk: Desk, wanted: _Wanted, people: Sequence[dict[str, Any]]) -> None:
    """The versions trained on each; for the champion, what it learned and would recommend."""
    champion = desk.champion()
    standing = desk.register.standing()
    for info in desk.versions.versions():
        # The next night destroys what cannot be read.
        with contextlib.suppress(ArtifactCorrupt, WrongKey):
            solution = desk.read(info.version)
            keys = desk.keys.of(solution.manifest.names)
            rows = {name: row for row, name in enumerate(solution.users)}
            for person, present_names in zip(people, wanted.names, strict=True):
                names = keys.wrapped(desk.keys.inner(present_names))
                held = [rows[name] for name in names if name in rows]
                if held:
                    person["versions"].append(
                        {
                            "version": info.version,
                            "recipe": solution.manifest.recipe,
                            "data_version": solution.manifest.data_version,
                            "champion": info.version == champion,
                        }
                    )
                if info.version == champion:
                    person.update(explained(solution, held))
                    present = [name for name in names if name in rows] or names
                    if excluded_among(keys, present[-1:], standing):
                        person.update(as_a_stranger(solution))
        shutil.rmtree(desk.workspace.temporary / f"version-{info.version}", ignore_errors=True)
