"""What one night's intake and purge counted, the counts of a killed attempt included.

A stage that was cut off and runs again finds rows merged, people gone and refused files moved
away already: alone, its second attempt would count too little. So each count is written before
what it counts can no longer be counted again. An attempt of another night counts for nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from lethe.durable import read_json, write_json
from lethe.estate.workspace import Workspace

Counts: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class IntakeReceipt:
    """What intake counted. `dropped` and `refused` are rows by rule; `files_refused` by rule."""

    files_new: int
    files_repeated: int
    files_refused: dict[str, int]
    rows_read: int
    rows_new: int
    rows_duplicate: int
    rows_erased: int
    dropped: dict[str, int]
    refused: dict[str, int]


@dataclass(frozen=True)
class PurgeReceipt:
    """What the purge did: erasures asked for so far, how many of them had data, and what went."""

    asked: int
    found: int
    not_found: int
    users: int
    rows: int
    shards_rewritten: int


class Receipts:
    """The file of one night's receipts, written as the stage goes on.

    Once sealed, the shards name the files taken: a further attempt counts further files only, and
    adds to what is here. Before that it counts the same ones again, and the larger count is right.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.path = workspace.receipts / "interactions.json"
        night = read_json(workspace.journal)["name"] if workspace.journal.is_file() else None
        found = read_json(self.path) if self.path.is_file() else {}
        same = night is not None and found.get("night") == night
        self.earlier: Counts = found if same else {}
        self.now: Counts = {
            "night": night,
            "sealed": False,
            "intake": self.earlier.get("intake", {}),
            "purge": self.earlier.get("purge", {}),
            "refused": dict(self.earlier.get("refused", {})),
        }
        self.further = bool(self.earlier.get("sealed"))

    def refusing(self, sha256: str, rule: str) -> None:
        """A landed file is about to be moved into quarantine whole."""
        self.now["refused"][sha256] = rule
        self._write()

    def took(self, receipt: IntakeReceipt, rows_added: int) -> None:
        """Rows are merged; `rows_added` is by how many the store grew since it was sealed."""
        counted, earlier = asdict(receipt), self.earlier.get("intake", {})
        counted["rows_new"] = max(receipt.rows_new, rows_added)
        if self.further:
            own = earlier["files_new"] + earlier["files_repeated"]
            counted["files_repeated"] = max(0, receipt.files_repeated - own)
            whole = _merged(earlier, counted, operator.add)
        else:
            whole = _merged(earlier, counted, max)
            merged = receipt.rows_new + receipt.rows_duplicate
            whole["rows_duplicate"] = max(0, merged - whole["rows_new"])
        rules = list(self.now["refused"].values())
        whole["files_refused"] = {rule: rules.count(rule) for rule in sorted(set(rules))}
        self.now["intake"] = whole
        self._write()

    def purging(self, receipt: PurgeReceipt) -> None:
        """People are about to be removed, or were."""
        self.now["purge"] = _merged(self.now["purge"], asdict(receipt), max)
        self._write()

    def sealed(self) -> None:
        """The shards name what was taken."""
        self.now["sealed"] = True
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, self.now)


def _merged(
    earlier: Mapping[str, Any], now: Mapping[str, Any], again: Callable[[int, int], int]
) -> Counts:
    """Count by count, also within the counts by rule.

    >>> _merged({"rows": 3, "dropped": {"a": 1}}, {"rows": 2, "dropped": {"b": 5}}, max)
    {'rows': 3, 'dropped': {'a': 1, 'b': 5}}
    """
    whole = dict(earlier)
    for name, count in now.items():
        if isinstance(count, Mapping):
            whole[name] = _merged(whole.get(name, {}), count, again)
        else:
            whole[name] = again(whole[name], count) if name in whole else count
    return whole
