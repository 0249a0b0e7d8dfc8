"""After a restore: the present register is replayed over what an older backup brought back.

The requests of those who come back were closed, most of them, so no night would look for them
again. Everything is purged at the register's head, every version that holds somebody erased goes,
the champion too, and the estate is searched. Whoever's request is still open stays in the vault:
the next night needs the id to search and to close it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Set
from dataclasses import asdict, dataclass
from typing import Any

from lethe.adapters.data_versions import DataVersions
from lethe.durable import read_json
from lethe.errors import StoreUnavailable, TooFewInteractions
from lethe.estate import restricted
from lethe.estate.search import Hits, Needles, search
from lethe.interactions.intake.reading import survey
from lethe.interactions.rights.standing import CANARY, Action, Standing
from lethe.nights.desk import Desk
from lethe.nights.forgetting import notifying, suppressing
from lethe.nights.forgetting.history import forget_history
from lethe.nights.forgetting.loose import forget_loose_rows, late_ids
from lethe.nights.forgetting.retiring import destroy_solution_versions
from lethe.stages import intake, opening, reproducing, snapshots


@dataclass(frozen=True)
class Replayed:
    """What the replay did, in counts.

    `people` had their erasure take effect after the backup; `rows` are those removed from the
    present data; `forgotten` went from the vault; `rewritten` and `versions` are data versions
    rewritten and solution versions destroyed; `untold` are open requests of which recipients must
    be told, and whose ids nobody knows any more.
    """

    people: int
    rows: int
    rewritten: int
    versions: int
    forgotten: int
    searched_files: int
    undecoded: int
    untold: int = 0

    def facts(self) -> dict[str, int]:
        """As JSON."""
        return asdict(self)


def replay(desk: Desk, data: DataVersions, since: int) -> Replayed:
    """Carry out everything that the register asks for, on an estate without a champion.

    `since` is the register's position when the backup was made. Not to be repeated on its own
    after a kill: the vault may have forgotten whom it must still look for. Restore again.

    Raises:
        ArtifactCorrupt: a restored data version cannot be read.
        StoreUnavailable: a store could not be emptied, or somebody erased is still found.
    """
    standing = desk.register.standing()
    erased = standing.people().erased
    opening.write_position(desk.workspace.register_position, desk.register.head())
    _end_promotions(desk)
    _count_canaries(desk)
    rows = _purge(desk, data)
    people = opening.open_vault(desk.workspace, desk.keys).by_tombstone(erased)
    versions, _ = destroy_solution_versions(desk, standing.people())
    suppressing.keep_outputs_of(desk, None)  # not of the backup: made anew from the next champion
    suppressing.refresh(desk)
    history = forget_history(desk, data)
    restricted.empty(desk.workspace)
    late = late_ids(desk.workspace, desk.params.intake.interactions, desk.keys, standing)
    forget_loose_rows(desk.workspace, people.values(), late)
    forgotten = opening.open_vault(desk.workspace, desk.keys).forget(_closed(desk, standing))
    names = desk.keys.everywhere([name for name, _ in people.values()])
    needles = Needles.of(names, (raw for _, raw in people.values()))
    hits = Hits({}, 0, 0, 0)
    if needles:  # notices that wait are of today, and name people by right
        hits = search(desk.workspace, needles, before_closing=True, but=("outbox",))
    if hits.total:
        where = ", ".join(sorted(hits.files_by_store))
        raise StoreUnavailable(
            f"the search still finds people who are erased, in {hits.total} files ({where})"
        )
    return Replayed(
        people=sum(standing.erased_at[stone] > since for stone in erased),
        rows=rows,
        rewritten=history.rewritten,
        versions=versions,
        forgotten=forgotten,
        searched_files=hits.files_searched,
        undecoded=hits.undecoded,
        untold=notifying.renew(desk),
    )


def _end_promotions(desk: Desk) -> None:
    """A promotion that was cut off after the backup is of a version that the backup lacks."""
    for promotion in desk.register.open_intents():
        desk.register.abort(promotion.id, "an older backup was restored", opening.now())


def _count_canaries(desk: Desk) -> None:
    """The backup's counters may lag behind the register: an erased number is never used again."""
    erased = sum(
        entry.action is Action.ERASE and entry.reason == CANARY for entry in desk.register.entries()
    )
    opening.open_canaries(desk.workspace, desk.keys).note(made=erased, erased=erased)


def _purge(desk: Desk, data: DataVersions) -> int:
    """Take in what lies in landing, purge, and make data version and training set; rows out."""
    workspace, params = desk.workspace, desk.params
    shutil.rmtree(workspace.training, ignore_errors=True)
    sealed = (workspace.interactions / "manifest.json").is_file()
    if not sealed and not survey(workspace.landing, params.intake):
        return 0
    intake.interactions(workspace, params)
    receipts: dict[str, Any] = read_json(workspace.receipts / "interactions.json")
    data.commit("interactions")
    reproducing.version(workspace, params, opening.now())
    with contextlib.suppress(TooFewInteractions):  # the next night says so
        snapshots.training(workspace, params)
        data.commit("training")
    return int(receipts["purge"]["rows"])


def _closed(desk: Desk, standing: Standing) -> Set[str]:
    """Tombstones of erased people and canaries whose request was closed before."""
    states = (*desk.register.requests(), *desk.register.canaries())
    open_ones = {s.entry.tombstone for s in states if s.open and s.entry.action is Action.ERASE}
    return standing.erased - open_ones
