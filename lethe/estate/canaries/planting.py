"""Files of new canaries, made from a file that the shop landed.

A canary's rows suit any export's format and rules because every cell stood in a row that intake
takes; and they are nobody's because no two cells of a row come from one. Only items that two
people met are used, of people who may be trained on. Event ids and impressions stay blank.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from lethe.durable import write_bytes
from lethe.errors import BadFile
from lethe.interactions import columns as c
from lethe.interactions.intake.naming import People, pseudonymised
from lethe.interactions.intake.reading import read_interactions
from lethe.interactions.intake.rules import IntakeRules, InteractionRules, LandedFile
from lethe.interactions.rights.identity import Identities, Identity, canonical_id, id_fault
from lethe.interactions.shards.store import ShardStore

LEAST_ITEMS = 4
_TEMPLATE_ROWS = 20_000
_PEOPLE = 100_000
_PROBE = "lethe-canary-{:020x}"
_TEXTS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_BLANK = (c.EVENT_ID, c.IMPRESSIONS)


@dataclass(frozen=True, repr=False)
class Template:
    """Rows of landed files that canaries can be made of; `users` counts the people in them.

    `file` is the one beside which theirs lands; the others have the same columns. `rows` are
    whole rows of text, `user` and `item` the places of two columns, `items` the texts of items
    that at least two people met.
    """

    file: LandedFile
    header: tuple[str, ...]
    rows: list[list[str]]
    users: int
    items: frozenset[str]
    user: int
    item: int

    def histories(self, ids: Sequence[str], history: int, seed: int) -> list[list[str]]:
        """Rows of invented users: distinct items, and every cell drawn from another row."""
        draw = np.random.default_rng([seed, len(self.rows)])
        written = []
        for one in ids:
            order = draw.permutation(len(self.rows)).tolist()
            met = dict.fromkeys(self.rows[k][self.item] for k in order)
            for item in [name for name in met if name in self.items][:history]:
                places = draw.integers(len(self.rows), size=len(self.header)).tolist()
                row = [self.rows[k][column] for column, k in enumerate(places)]
                row[self.user], row[self.item] = one, item
                written.append(row)
        return written


def fresh(
    files: Iterable[LandedFile], rules: IntakeRules, identities: Identities, store: ShardStore
) -> bool:
    """Whether intake of these files would add a row to the data, or change one; nothing is kept."""
    fold = rules.interactions.case_fold

    def identified(texts: Sequence[str]) -> list[Identity]:
        return identities.resolve([canonical_id(text, fold) for text in texts])

    people = People(identified, _PEOPLE)
    for file in files:
        with contextlib.suppress(BadFile):
            for batch in read_interactions(file, rules):
                if store.adds(pseudonymised(batch.table, people)):
                    return True
    return False


def template(
    files: Iterable[LandedFile], rules: IntakeRules, identities: Identities, scratch: Path
) -> Template | None:
    """Rows of the largest of these files and of others like it, or None if they will not do.

    `scratch` is a private folder in which rows are tried out.
    """
    header: tuple[str, ...] = ()
    first: LandedFile | None = None
    rows: list[list[str]] = []
    for file in sorted(files, key=lambda one: (-one.bytes, one.name)):
        if len(rows) < _TEMPLATE_ROWS and usable(file, rules):
            with contextlib.suppress(BadFile, UnicodeError, csv.Error, OSError, EOFError):
                own = _header(file, rules)
                if first is None or own == header:
                    rows += _rows(file, rules, len(own))
                    header, first = own, first or file
    if first is None:
        return None
    with contextlib.suppress(BadFile, UnicodeError):
        found = _template(first, header, rows[:_TEMPLATE_ROWS], rules, identities, scratch)
        return found if len(found.items) >= LEAST_ITEMS else None
    return None


def usable(file: LandedFile, rules: IntakeRules) -> bool:
    """True for a text file of interactions whose name leaves room for a sibling intake takes."""
    if file.kind != "interactions" or not file.name.endswith(_TEXTS):
        return False
    try:
        header = _header(file, rules)
        return rules.kind_of(sibling(file).name, lambda _: header) == "interactions"
    except (BadFile, UnicodeError, OSError, EOFError):
        return False


def sibling(file: LandedFile) -> Path:
    """NAME.csv.gz -> NAME.canaries.csv.gz, so that the same globs and formats match."""
    suffix = next(text for text in reversed(_TEXTS) if file.name.endswith(text))
    return file.path.with_name(f"{file.name.removesuffix(suffix)}.canaries{suffix}")


def content(
    made_from: Template, rules: IntakeRules, ids: Sequence[str], history: int, scratch: Path
) -> bytes | None:
    """The bytes of a file of canaries, or None if intake would not take every row of it.

    The seed is the ids themselves: the same ids give the same rows.
    """
    seed = int.from_bytes(ids[0][-6:].encode(), "big") if ids else 0
    rows = made_from.histories(ids, history, seed)
    table = rules.interactions
    for name in _BLANK:
        column = table.columns.get(name)
        if column in made_from.header:
            for row in rows:
                row[made_from.header.index(column)] = ""
    packed = _packed(made_from.file, made_from.header, rules, rows)
    try:
        taken = _taken(made_from.file, rules, packed, scratch)
    except BadFile:
        return None
    return packed if rows and len(taken) == len(rows) else None


def _template(  # noqa: PLR0913
    file: LandedFile,
    header: tuple[str, ...],
    rows: list[list[str]],
    rules: IntakeRules,
    identities: Identities,
    scratch: Path,
) -> Template:
    """Rows that intake takes as they are, of people who may be trained on."""
    table = rules.interactions
    user, item = (header.index(table.columns[name]) for name in (c.USER, c.ITEM))
    tried = [[*row[:user], _PROBE.format(k), *row[user + 1 :]] for k, row in enumerate(rows)]
    taken = set(_taken(file, rules, _packed(file, header, rules, tried), scratch))
    allowed = _allowed({row[user] for row in rows}, table, identities)
    kept = [row for k, row in enumerate(rows) if _PROBE.format(k) in taken and row[user] in allowed]
    met: dict[str, set[str]] = defaultdict(set)
    for row in kept:
        met[row[item]].add(allowed[row[user]])
    shared = frozenset(name for name, people in met.items() if len(people) > 1)
    people = {allowed[row[user]] for row in kept}
    return Template(file, header, kept, len(people), shared, user, item)


def _allowed(
    texts: Iterable[str], rules: InteractionRules, identities: Identities
) -> dict[str, str]:
    """Cell -> pseudonym, for the cells that hold the id of somebody who may be trained on."""
    plain: dict[str, str] = {}
    for text in texts:
        name = text.strip(" ")
        if rules.strip_float_suffix and name.endswith(".0") and name[:-2].isdigit():
            name = name[:-2]
        if id_fault(name, rules.case_fold) is None:
            plain[text] = canonical_id(name, rules.case_fold)
    people = identities.resolve(list(plain.values()))
    excluded = identities.standing.excluded
    return {
        text: person.pseudonym
        for text, person in zip(plain, people, strict=True)
        if person.tombstone not in excluded
    }


def _taken(file: LandedFile, rules: IntakeRules, packed: bytes, scratch: Path) -> list[str]:
    """The users of the rows that intake would take of a file with this content."""
    scratch.mkdir(parents=True, mode=0o700, exist_ok=True)
    trial = replace(file, path=scratch / file.name)
    trial.path.write_bytes(packed)
    generous = rules.model_copy(update={"maximum_refused_share": 1.0})
    try:
        batches = [batch.table[c.USER].to_pylist() for batch in read_interactions(trial, generous)]
    finally:
        trial.path.unlink()
    return [user for batch in batches for user in batch]


def _header(file: LandedFile, rules: IntakeRules) -> tuple[str, ...]:
    table = rules.interactions
    if table.header is not None:
        return table.header
    with _opened(file.path, table.encoding) as stream:
        return table.header_in(stream.readline().rstrip("\r\n"), file.name)


@contextlib.contextmanager
def _opened(path: Path, encoding: str) -> Iterator[IO[str]]:
    encoding = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
    opened: Callable[..., IO[str]] = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding=encoding, newline="") as stream:
        yield stream


def _rows(file: LandedFile, rules: IntakeRules, width: int) -> Iterator[list[str]]:
    """The first rows of the file, each with as many fields as the header."""
    table = rules.interactions
    with _opened(file.path, table.encoding) as stream:
        reader = csv.reader(stream, delimiter=table.delimiter_of(file.name))
        for number, row in enumerate(reader):
            if number > _TEMPLATE_ROWS:
                return
            if len(row) == width and (number > 0 or table.header is not None):
                yield row


def _packed(
    file: LandedFile, header: tuple[str, ...], rules: IntakeRules, rows: Sequence[Sequence[str]]
) -> bytes:
    table = rules.interactions
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=table.delimiter_of(file.name), lineterminator="\n")
    if table.header is None:
        writer.writerow(header)
    writer.writerows(rows)
    plain = text.getvalue().encode(table.encoding)
    return gzip.compress(plain, mtime=0) if file.path.suffix == ".gz" else plain


def land(file: LandedFile, packed: bytes) -> None:
    """Put a file of canaries beside the file that it was made from."""
    write_bytes(sibling(file), packed)
