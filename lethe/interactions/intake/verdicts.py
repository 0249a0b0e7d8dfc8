"""What intake says of rows and files that it does not take."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RefusedRow:
    """A row that intake refused: its number in the file, the rule, and the row as it came."""

    row: int
    rule: str
    line: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class RefusedFile:
    """A file that intake cannot read, and the rule that it breaks."""

    path: Path
    name: str
    sha256: str
    rule: str


class Verdicts:
    """Which rule took each row of a block; the first rule that takes a row has it.

    >>> verdicts = Verdicts(3)
    >>> verdicts.take(np.array([True, False, False]), "cancelled", drop=True)
    >>> verdicts.take(np.array([True, True, False]), "item: blank id")
    >>> verdicts.kept().tolist(), verdicts.dropped(), verdicts.refused()
    ([False, False, True], {'cancelled': 1}, [(1, 'item: blank id')])
    """

    def __init__(self, rows: int) -> None:
        self._codes: npt.NDArray[np.int32] = np.zeros(rows, dtype=np.int32)
        self._rules: list[tuple[str, bool]] = []

    def take(self, rows: Mask, rule: str, *, drop: bool = False) -> None:
        """Give `rows` that no earlier rule took to `rule`; `drop` rows are left out by wish."""
        self._rules.append((rule, drop))
        self._codes[rows & (self._codes == 0)] = len(self._rules)

    def kept(self) -> Mask:
        """True for the rows that no rule took."""
        kept: Mask = self._codes == 0
        return kept

    def dropped(self) -> dict[str, int]:
        """Rows left out by wish, by rule; a rule that took none is not listed."""
        counts = np.bincount(self._codes, minlength=len(self._rules) + 1)[1:]
        dropped: dict[str, int] = {}
        for (rule, drop), count in zip(self._rules, counts.tolist(), strict=True):
            if drop and count:
                dropped[rule] = dropped.get(rule, 0) + count
        return dropped

    def refused(self) -> list[tuple[int, str]]:
        """(index in the block, rule) of every refused row, ascending."""
        return [
            (index, self._rules[self._codes[index] - 1][0])
            for index in np.flatnonzero(self._codes).tolist()
            if not self._rules[self._codes[index] - 1][1]
        ]


def mask(condition: Any) -> Mask:
    """An Arrow boolean array as numpy; null is False."""
    rows: Mask = pc.fill_null(condition, False).to_numpy(zero_copy_only=False)
    return rows
