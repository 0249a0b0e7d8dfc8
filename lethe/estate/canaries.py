"""Canaries: invented users who enter through the real intake and leave through the real register.

They let a night without requests prove itself: verification must find the erased canaries' share
in the factors to be nothing, and that of the others to be whole. A canary's history is made of
rows of a file that the shop landed, with another user in them, so it suits any export's format
and rules. Ids follow from the pseudonym key and a running number; only two counters are stored.
Canaries are no users: whoever counts, ranks or measures users leaves them out.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import hmac
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lethe.durable import read_json, write_bytes, write_json
from lethe.errors import BadConfiguration, BadFile
from lethe.interactions.columns import USER
from lethe.interactions.intake.rules import IntakeRules, LandedFile
from lethe.interactions.rights.identity import Keys, pseudonym, tombstone

REASON = "canary"
_TEMPLATE_ROWS = 20_000
_TEXTS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


class CanaryRules(BaseModel):
    """How many canaries there are: a share of the users, never more than `maximum`; 0 is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(default=0.02, ge=0, le=0.02)
    maximum: int = Field(default=100, ge=0, le=1_000)
    history: int = Field(default=15, ge=4, le=200)

    def wanted(self, users: int) -> int:
        """How many live canaries a data set of `users` users carries.

        >>> CanaryRules().wanted(1_000), CanaryRules().wanted(1_000_000), CanaryRules().wanted(40)
        (20, 100, 0)
        """
        wanted = min(self.maximum, int(self.share * users))
        return wanted if wanted >= 2 else 0  # noqa: PLR2004 - one to erase and one to keep


@dataclass(frozen=True)
class Canaries:
    """The canaries of one workspace: numbers below `erased` have asked to be erased.

    The file at `path` holds the two counters and nothing else.
    """

    path: Path
    keys: Keys = field(repr=False)

    def counters(self) -> tuple[int, int]:
        """(made, erased).

        Raises:
            BadConfiguration: the file is not readable.
        """
        if not self.path.is_file():
            return 0, 0
        try:
            found = read_json(self.path)
            made, erased = int(found["made"]), int(found["erased"])
        except (OSError, ValueError, KeyError, TypeError):
            raise BadConfiguration(f"{self.path.name} is not readable") from None
        if not 0 <= erased <= made:
            raise BadConfiguration(f"{self.path.name} counts more canaries erased than made")
        return made, erased

    def ids(self, first: int, end: int) -> list[str]:
        """Ids of the canaries numbered `first` to `end` - 1."""
        return [
            "lethe-canary-"
            + hmac.new(
                self.keys.pseudonym, f"canary {number}".encode(), hashlib.sha256
            ).hexdigest()[:20]
            for number in range(first, end)
        ]

    def pseudonyms(self) -> frozenset[str]:
        """Pseudonyms of all canaries ever made."""
        return frozenset(
            pseudonym(self.keys.pseudonym, one, 0) for one in self.ids(0, self.counters()[0])
        )

    def tombstones(self) -> frozenset[str]:
        """Tombstones of all canaries ever made."""
        return frozenset(tombstone(self.keys.tombstone, name) for name in self.pseudonyms())

    def leaving(self) -> list[str]:
        """Tombstones of the older half of the live canaries: those who ask to be erased next."""
        made, erased = self.counters()
        ids = self.ids(erased, erased + (made - erased) // 2)
        return [
            tombstone(self.keys.tombstone, pseudonym(self.keys.pseudonym, one, 0)) for one in ids
        ]

    def left(self) -> None:
        """Note that those of `leaving` have been entered in the register."""
        made, erased = self.counters()
        write_json(self.path, {"made": made, "erased": erased + (made - erased) // 2})

    def land(self, template: LandedFile, rules: IntakeRules, wanted: int, history: int) -> int:
        """Write a file of new canaries beside `template`, up to `wanted` live ones; how many.

        A repeat after a kill writes the same ids; one that finds enough of them writes nothing.
        """
        made, erased = self.counters()
        missing = max(0, wanted - (made - erased))
        rows = list(_rows(template, rules)) if missing else []
        if not rows:
            return 0
        place = (template_header(template, rules) or ()).index(rules.interactions.columns[USER])
        ids = self.ids(made, made + missing)
        written = _histories(rows, place, ids, history, seed=made)
        _write(template, rules, written)
        write_json(self.path, {"made": made + missing, "erased": erased})
        return missing


def usable_template(file: LandedFile, rules: IntakeRules) -> bool:
    """True for a text file of interactions whose name leaves room for a sibling intake takes."""
    if file.kind != "interactions" or not file.name.endswith(_TEXTS):
        return False
    try:
        header = template_header(file, rules) or ()
        return rules.kind_of(_sibling(file).name, lambda _: header) == "interactions"
    except BadFile:
        return False


def template_header(file: LandedFile, rules: IntakeRules) -> tuple[str, ...] | None:
    """The columns of a text file of interactions, from the rules or from its first line."""
    table = rules.interactions
    if table.header is not None:
        return table.header
    with _opened(file.path, table.encoding) as stream:
        line = stream.readline()
    return table.header_in(line.rstrip("\r\n"), file.name) if line else None


@contextlib.contextmanager
def _opened(path: Path, encoding: str) -> Iterator[IO[str]]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding=encoding, newline="") as packed:
            yield packed
    else:
        with path.open(encoding=encoding, newline="") as plain:
            yield plain


def _rows(file: LandedFile, rules: IntakeRules) -> Iterator[list[str]]:
    """The first whole rows of the template, each with as many fields as the header."""
    header = template_header(file, rules) or ()
    table = rules.interactions
    with _opened(file.path, table.encoding) as stream:
        reader = csv.reader(stream, delimiter=table.delimiter_of(file.name))
        for number, row in enumerate(reader):
            if number > _TEMPLATE_ROWS:
                return
            if len(row) == len(header) and (number > 0 or table.header is not None):
                yield row


def _histories(
    rows: Sequence[list[str]], place: int, ids: Sequence[str], history: int, seed: int
) -> list[list[str]]:
    draw = np.random.default_rng([seed, len(rows)])
    written = []
    for one in ids:
        chosen = draw.choice(len(rows), size=min(history, len(rows)), replace=False)
        for index in sorted(chosen.tolist()):
            written.append([*rows[index][:place], one, *rows[index][place + 1 :]])
    return written


def _sibling(file: LandedFile) -> Path:
    """NAME.csv.gz -> NAME.canaries.csv.gz, so that the same globs and formats match."""
    suffix = next(text for text in reversed(_TEXTS) if file.name.endswith(text))
    return file.path.with_name(f"{file.name.removesuffix(suffix)}.canaries{suffix}")


def _write(file: LandedFile, rules: IntakeRules, rows: Sequence[list[str]]) -> None:
    table = rules.interactions
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=table.delimiter_of(file.name), lineterminator="\n")
    if table.header is None:
        writer.writerow(template_header(file, rules) or ())
    writer.writerows(rows)
    content = text.getvalue().encode(table.encoding)
    path = _sibling(file)
    write_bytes(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
