"""Who is one person under several ids, and what is asked for one of them is asked for each.

A merge joins the tombstones of two lives for good: an event beside the register's entries, bound to
the entry that it was made after, chained to the merge before, and never changed. Joined lives stand
alike: two that do not are not joined, and what is asked for one of them is entered for all, under
the same lock. Only a new consent follows nobody: whoever returns names each id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from lethe.durable import sha256_json
from lethe.errors import ArtifactCorrupt, BadRequest
from lethe.interactions.rights.standing import (
    CANARY,
    GENESIS,
    Action,
    Entry,
    Fold,
    Head,
    Request,
    Standing,
)

FOLLOWED: Final = frozenset(Action) - {Action.RECONSENT}
UNMERGED: Final = Head(0, sha256_json({"lethe merges": 1}))
_SHOWN: Final = 5


@dataclass(frozen=True)
class Pair:
    """Two tombstones that row `row` of a file says are one person's."""

    row: int
    one: str = field(repr=False)
    other: str = field(repr=False)


@dataclass(frozen=True)
class Merge:
    """Two lives are one person's, said after the entry at `position`; `at` in Unix seconds."""

    number: int
    one: str = field(repr=False)
    other: str = field(repr=False)
    position: int
    at: int
    previous: str
    digest: str


class Links:
    """Tombstones -> whoever else is the same person, over any number of merges."""

    def __init__(self, merges: Iterable[Merge] = ()) -> None:
        self._people: dict[str, set[str]] = {}
        for merge in merges:
            self.join(merge.one, merge.other)

    def join(self, one: str, other: str) -> bool:
        """Make them one person; False if they were."""
        small, large = sorted((self._of(one), self._of(other)), key=len)
        if small is large:
            return False
        large |= small
        self._people |= dict.fromkeys(small, large)
        return True

    def _of(self, stone: str) -> set[str]:
        return self._people.setdefault(stone, {stone})

    def person(self, stones: Iterable[str]) -> frozenset[str]:
        """These tombstones and those of every life merged with one of them."""
        found = frozenset(stones)
        return found.union(*(self._people.get(stone, ()) for stone in found))

    def people(self) -> Iterator[frozenset[str]]:
        """Every person with more than one tombstone, in no order."""
        for members in {id(found): found for found in self._people.values()}.values():
            if len(members) > 1:
                yield frozenset(members)

    def following(self, request: Request) -> list[Request]:
        """The same request for every other id of the person. Canaries are no people."""
        if request.action not in FOLLOWED or request.reason == CANARY:
            return []
        others = self.person([request.tombstone]) - {request.tombstone}
        return [replace(request, tombstone=stone) for stone in sorted(others)]


def head_of(merges: Sequence[Merge]) -> Head:
    """The last merge's number and digest; `UNMERGED` before the first."""
    return Head(merges[-1].number, merges[-1].digest) if merges else UNMERGED


def merged(
    pairs: Sequence[Pair], chain: Sequence[Entry], before: Sequence[Merge], at: int
) -> tuple[list[Merge], int]:
    """The merges that the pairs become after `chain` and `before`, and how many change nothing.

    Raises:
        BadRequest: names the rows of pairs that cannot be joined, by rule.
    """
    standing, links, faults = Fold(chain).standing(), Links(before), dict[str, list[int]]()
    after = Head(chain[-1].position, chain[-1].digest) if chain else GENESIS
    new, last = list[Merge](), head_of(before)
    for pair in pairs:
        if fault := _fault(pair, links, standing):
            faults.setdefault(fault, []).append(pair.row)
        elif links.join(pair.one, pair.other):
            new.append(_next(last, sorted((pair.one, pair.other)), after, at))
            last = head_of(new)
    if faults:
        told = "; ".join(f"{_rows(rows)}: {rule}" for rule, rows in sorted(faults.items()))
        raise BadRequest(f"nothing was merged; {told}")
    return new, len(pairs) - len(new)


def _fault(pair: Pair, links: Links, standing: Standing) -> str | None:
    if pair.one == pair.other:
        return "an id merged with itself"
    if pair.other in links.person([pair.one]):
        return None
    erased = (pair.one in standing.erased) + (pair.other in standing.erased)
    if erased:
        return (
            "both ids are erased: nothing is left to merge"
            if erased > 1
            else ("one id is erased: what is left of the person is the other, erase it as well")
        )
    if _stands(standing, pair.one) != _stands(standing, pair.other):
        return "the two stand differently: first enter for the other what was asked for the one"
    return None


def _stands(standing: Standing, stone: str) -> tuple[bool, ...]:
    sets = (standing.erased, standing.objecting, standing.restricted, standing.blocked)
    return tuple(stone in people for people in sets)


def _rows(rows: Sequence[int]) -> str:
    shown = ", ".join(map(str, rows[:_SHOWN]))
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"row {shown}{more}" if len(rows) == 1 else f"rows {shown}{more}"


def _next(last: Head, stones: Sequence[str], after: Head, at: int) -> Merge:
    number, (one, other) = last.position + 1, stones
    told = {"number": number, "one": one, "other": other, "entry": after.digest, "at": at}
    digest = sha256_json({**told, "previous": last.digest})
    return Merge(number, one, other, after.position, at, last.digest, digest)


def checked_merges(
    merges: Sequence[Merge], entries: Sequence[Entry], known: Head | None = None
) -> Links:
    """Hash the chain of merges again; who is one person. `known` must be one of its places.

    Raises:
        ArtifactCorrupt: one was edited, dropped or reordered, or `known` is not there.
    """
    heads = [UNMERGED]
    for number, one in enumerate(merges, start=1):
        if not 0 <= one.position <= len(entries):
            raise ArtifactCorrupt(f"the register's merge {number} is of another register")
        entry = entries[one.position - 1] if one.position else None
        after = Head(one.position, entry.digest) if entry else GENESIS
        if one != _next(heads[-1], (one.one, one.other), after, one.at):
            raise ArtifactCorrupt(f"the register's chain of merges is broken at {number}")
        heads.append(Head(number, one.digest))
    if known is not None and known not in heads[known.position : known.position + 1]:
        raise ArtifactCorrupt(
            f"the register knows {len(merges)} merges, and not the one known as number "
            f"{known.position}: an old copy was restored"
        )
    return Links(merges)


def check_alike(links: Links, entries: Sequence[Entry]) -> None:
    """Whoever is one person stands as one: a Lethe without merges may have entered for one id.

    Raises:
        ArtifactCorrupt: counts the people of whom some ids stand differently.
    """
    people = list(links.people())
    if not people:
        return
    standing = Fold(entries).standing()
    split = sum(len({_stands(standing, stone) for stone in stones}) > 1 for stones in people)
    if split:
        raise ArtifactCorrupt(
            f"{split} people have merged ids that stand differently in the register; enter the "
            "request for one of their ids again, and it follows"
        )
