"""Looking for people in every store: decoding what wraps them, counting places, naming nobody.

A file that cannot be decoded to its end is searched as far as it can be, and told as undecoded.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lethe.errors import ArtifactCorrupt, StoreUnavailable
from lethe.estate.outward import batches
from lethe.estate.outward.tables import users_in
from lethe.estate.search.encodings import TEXT
from lethe.estate.search.needles import DISTINCTIVE, FIELD, Needles
from lethe.estate.search.pieces import Effort, Piece, pieces
from lethe.estate.stores import STORES, Store, files_of, links_of
from lethe.estate.workspace import Workspace

_LONGEST = 256  # bytes of an id
IN_NAME = "in its name"


@dataclass(frozen=True)
class Hits:
    """In how many files of which store something was found, and how much was looked at.

    `short_ids` counts ids that could only be looked for where ids may lie;
    `undecoded_by_store` counts files that could not be decoded to their end, and links, which are
    not followed. `searched_by_store` are files and bytes.
    """

    files_by_store: dict[str, int]
    files_searched: int
    bytes_searched: int
    short_ids: int
    undecoded_by_store: dict[str, int] = field(default_factory=dict)
    searched_by_store: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Files with a hit, over all stores."""
        return sum(self.files_by_store.values())

    @property
    def undecoded(self) -> int:
        """Files of which a part could not be searched, over all stores."""
        return sum(self.undecoded_by_store.values())


@dataclass(frozen=True)
class Looked:
    """One file that was looked at: how often somebody is in it, by how it was wrapped.

    `name` is its path, relative to the workspace if it lies there. `size` is in bytes. A link is
    not followed: it has size 0, and is not `decoded`.
    """

    store: str
    name: str
    size: int
    found: Mapping[str, int]
    decoded: bool
    link: bool = False


def search(
    workspace: Workspace, needles: Needles, *, before_closing: bool, but: Collection[str] = ()
) -> Hits:
    """Look for `needles` in every declared store, and in the names of its files.

    `before_closing` leaves out the stores that keep the person until the request is closed, `but`
    those of these names.

    Raises:
        StoreUnavailable: a file is there and cannot be read.
    """
    stores = [
        store
        for store in STORES
        if not (before_closing and store.kept_until_closed) and store.name not in but
    ]
    return totals(look(workspace, needles, stores), needles)


def totals(looked: Iterable[Looked], needles: Needles) -> Hits:
    """What was found, in counts of files."""
    found: Counter[str] = Counter()
    undecoded: Counter[str] = Counter()
    files, size = Counter[str](), Counter[str]()
    for one in looked:
        files[one.store] += not one.link
        size[one.store] += one.size
        found[one.store] += bool(one.found)
        undecoded[one.store] += not one.decoded
    short = sum(len(name) < DISTINCTIVE for name in needles.ids)
    each = {store: (files[store], size[store]) for store in sorted(+files)}
    return Hits(dict(+found), files.total(), size.total(), short, dict(+undecoded), each)


def look(workspace: Workspace, needles: Needles, stores: Iterable[Store]) -> Iterator[Looked]:
    """Every file and link of `stores`, looked through, store by store.

    Raises:
        StoreUnavailable: a file is there and cannot be read.
    """
    for store in stores:
        for path in links_of(workspace, store):
            yield Looked(store.name, _name(workspace, path), 0, {}, decoded=False, link=True)
        for path in files_of(workspace, store):
            try:
                size = path.stat().st_size
                found, whole = _counted_in(store, path, needles)
            except FileNotFoundError:  # a tool tidied up in between
                continue
            except OSError as error:
                reason = f"a file of the store {store.name} cannot be read: {error.strerror}"
                raise StoreUnavailable(reason) from None
            name = _name(workspace, path)
            if named := in_name(name, needles):
                found[IN_NAME] += named
            yield Looked(store.name, name, size, found, whole)


def _counted_in(store: Store, path: Path, needles: Needles) -> tuple[Counter[str], bool]:
    if store.tables and batches.is_facts(path):
        return counted(path, needles, fields=False)
    if store.tables:
        with contextlib.suppress(ArtifactCorrupt):  # whatever it is, an id may lie anywhere in it
            there = sum(user.encode() in needles.ids for user in _users_in(path))
            named, whole = counted(path, Needles(needles.pseudonyms, frozenset()), fields=False)
            return named + Counter({TEXT: there}), whole
    return counted(path, needles, store.raw_ids)


def _users_in(path: Path) -> list[str]:
    try:
        return users_in(path, "parquet" if path.suffix == ".parquet" else "csv")
    except StoreUnavailable:
        path.stat()  # one that was rewritten meanwhile is not there
        raise


def in_name(name: str, needles: Needles) -> int:
    """How often a path itself holds somebody."""
    return needles.count(Piece(os.fsencode(name)), fields=True).total()


def _name(workspace: Workspace, path: Path) -> str:
    inside = path.is_relative_to(workspace.root)
    return (path.relative_to(workspace.root) if inside else path).as_posix()


def holds(path: Path, needles: Needles, fields: bool) -> tuple[bool, bool]:
    """Whether a file holds anybody, and whether all of it could be decoded.

    The second is True where the first is: nothing more needs to be looked at then.
    """
    effort = Effort()
    if any(needles.found_in(piece, fields) for piece in pieces(path, effort, fields)):
        return True, True
    return False, not effort.fault


def counted(path: Path, needles: Needles, fields: bool) -> tuple[Counter[str], bool]:
    """How often a file holds anybody, by how it is wrapped, and whether all could be decoded.

    A wrapping reads from the outside to the inside, such as "gzip > base64".
    """
    effort, found = Effort(), Counter[str]()
    for piece in pieces(path, effort, fields):
        for form, times in needles.count(piece, fields).items():
            found[" > ".join((*piece.how, form))] += times
    return found, not effort.fault


def fields_of(path: Path) -> set[str]:
    """Every whole field of a file that is short enough for an id."""
    found: set[str] = set()
    for piece in pieces(path):
        for match in FIELD.finditer(piece.content):
            text = match.group().strip(b" ")
            if len(text) <= _LONGEST and piece.whole(*match.span()):
                found.add(text.decode(errors="replace"))
    return found
