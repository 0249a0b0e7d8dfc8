"""Batch outputs made: the top items of everybody who may be served, from the certified champion.

People and what they have come from the newest training set, scores from the champion, ids from the
vault, which knows whoever is in the data. Users are scored, named and written a chunk at a time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import scipy
from numpy.typing import NDArray

from lethe.adapters.catalogue import Catalogue
from lethe.adapters.packing.model_folder import around
from lethe.errors import BadConfiguration, VerificationRefused
from lethe.estate.outward import batches
from lethe.estate.outward.batches import Facts, Table
from lethe.estate.outward.tables import (
    ITEM,
    RANK,
    SCHEMA,
    SCORE,
    USER,
    fits,
    users_in,
    writer,
)
from lethe.gate.proof.verification import Verdict
from lethe.gate.scoring.metrics import NO_ITEM
from lethe.gate.scoring.ranking import Lists, recommend_all
from lethe.interactions.rights.standing import Standing
from lethe.interactions.training.windows import SNAPSHOT, TrainingSet
from lethe.nights import judging
from lethe.nights.batches.withdrawing import excluded, keep_only
from lethe.nights.desk import Desk
from lethe.nights.forgetting import suppressing
from lethe.nights.frame import Night, sweep
from lethe.nights.saying.events import say
from lethe.params import RecommendRules
from lethe.solutions.factors import Solution, artifact_digest, read_solution
from lethe.stages import opening

Ints = NDArray[np.int64]

_CHUNK: Final = 4096
"""Users that are named, scored and written together."""


@dataclass(frozen=True, eq=False, repr=False)
class Audience:
    """Who gets a list: aligned rows of the champion and of the training set, and what they have.

    `stones` are their tombstones, `seen` CSR (len(rows), items of the champion), empty where
    what a user has may be recommended. `cold` and `suppressed` count who is left out of the
    training set's people: unknown to the champion, and excluded by the register today.
    """

    rows: Ints
    stones: tuple[str, ...]
    seen: scipy.sparse.csr_matrix
    cold: int
    suppressed: int


def after_night(night: Night) -> dict[str, Any] | None:
    """After step 9, if params.yaml asks for it: the batch output of tonight's champion.

    Raises:
        LetheError: see `recommend`; the promotion stands all the same.
    """
    params = night.params()
    if not params.recommend.after_night:
        return None
    made = recommend(Desk.open(night.workspace, params), params.recommend)
    say("promote", f"{made['rows']} recommendations for {made['users']} people written")
    return made


def recommend(desk: Desk, rules: RecommendRules) -> dict[str, Any]:
    """Write the champion's batch output; counts come back. To be called under the night's lock.

    Whoever is entered as excluded while it is made is not in it when it appears.

    Raises:
        BadConfiguration: there is no champion or no training set of the newest data version, an
            item cannot stand in a CSV, or nobody could be listed.
        VerificationRefused: the champion is not the one that was certified.
        ArtifactCorrupt: the champion, the training set or the register cannot be read.
        WrongKey: the training set is named under another pseudonym key.
        StoreUnavailable: a store failed, or the disk refused.
        Busy: see `suppressing.held`.
    """
    workspace, form = desk.workspace, rules.format
    sweep(workspace)
    version, solution = certified(desk)
    if not fits(solution.items, form):
        raise BadConfiguration("an item with a line break in its id: --format parquet can hold it")
    head = desk.register.check_chain(opening.newest_known(workspace))
    training, digest = _training_set(desk)
    standing = desk.register.standing(upto=head.position)
    audience = audience_of(desk, solution, training, standing, rules.items_already_seen)
    table = Table.of(workspace.recommendations, version, form)
    draft = table.path.with_name(f".{table.path.name}.draft.{os.getpid()}.part")
    workspace.recommendations.mkdir(mode=0o700, parents=True, exist_ok=True)
    unnamed = 0
    try:
        with writer(draft, form) as out:
            draft.chmod(0o600)
            for part, nameless in _written(desk, solution, audience, rules.k):
                out.write_table(part)
                unnamed += nameless
        if unnamed == len(audience.rows):
            raise BadConfiguration("nobody who may be served is known to champion and vault")
        facts = Facts(
            version=version,
            trained_on=solution.manifest.data_version,
            data_version=digest,
            register_position=head.position,
            k=rules.k,
            already_seen=rules.items_already_seen,
            made=opening.now(),
            users=0,
            rows=0,
        )
        with suppressing.held(desk):
            gone = set[str]()
            if (now := desk.register.standing()).position != head.position:
                gone = excluded(desk, users_in(draft, form), head.position, now)
            facts = batches.publish(draft, table, facts, popular_table(solution, rules.k), gone)
            keep_only(workspace, version)
    finally:
        draft.unlink(missing_ok=True)
    return _told(table, facts, audience, unnamed)


def certified(desk: Desk) -> tuple[int, Solution]:
    """The champion, if its stored bytes are those of a certificate that says VERIFIED.

    Raises:
        BadConfiguration: there is no champion.
        VerificationRefused: it has no certificate, or another one.
        ArtifactCorrupt: it cannot be read.
    """
    version = desk.champion()
    if version is None:
        raise BadConfiguration("there is no champion yet; run a night first")
    folder = desk.fetch(version)
    certificate = judging.read_certificate(desk.workspace, version)
    if certificate is None:
        raise VerificationRefused(f"the champion, version {version}, has no certificate")
    if certificate.verdict != Verdict.VERIFIED:
        raise VerificationRefused(
            f"the certificate of the champion, version {version}, says {certificate.verdict}"
        )
    if certificate.artifact_digest != artifact_digest(around(folder)):
        raise VerificationRefused(
            f"the stored files of the champion, version {version}, are not those of its certificate"
        )
    solution = read_solution(folder)
    shutil.rmtree(folder.parents[1], ignore_errors=True)
    return version, solution


def _training_set(desk: Desk) -> tuple[TrainingSet, str]:
    """The training set of the newest data version, and that version's digest."""
    versions = Catalogue(desk.workspace.catalogue).list()
    if not versions or not (desk.workspace.training / SNAPSHOT).is_file():
        raise BadConfiguration("there is no training set; run a night first")
    training, newest = TrainingSet.read(desk.workspace.training), versions[-1]
    desk.keys.check(training.names, "the training set")
    if (training.position, training.head) != (newest.register_position, newest.register_head):
        raise BadConfiguration(
            "the training set is not of the newest data version; run a night first"
        )
    return training, newest.digest


def audience_of(
    desk: Desk,
    solution: Solution,
    training: TrainingSet,
    standing: Standing,
    seen: Literal["drop", "keep"],
) -> Audience:
    """Who gets a list: in the training set, known to the champion, not excluded, no canary.

    The champion may be named under a former key: people are the same where their inner names are.
    """
    inner = desk.keys.inner(training.users)
    learned = desk.keys.of(solution.manifest.names).inner(solution.users)
    stones = desk.keys.stones(training.users)
    row_of = {name: row for row, name in enumerate(learned)}
    canaries = opening.open_canaries(desk.workspace, desk.keys).pseudonyms()
    invented = canaries | {training.users[row] for row in training.canaries}
    people = [row for row, name in enumerate(training.users) if name not in invented]
    served = [row for row in people if stones[row] not in standing.excluded]
    listed = [row for row in served if inner[row] in row_of]
    shape = (len(listed), len(solution.items))
    return Audience(
        rows=np.array([row_of[inner[row]] for row in listed], np.int64),
        stones=tuple(stones[row] for row in listed),
        seen=_seen(training, solution, listed)
        if seen == "drop"
        else scipy.sparse.csr_matrix(shape, dtype=bool),
        cold=len(served) - len(listed),
        suppressed=len(people) - len(served),
    )


def _seen(training: TrainingSet, solution: Solution, listed: list[int]) -> scipy.sparse.csr_matrix:
    """What the listed rows of the training set have, in the champion's columns."""
    column_of = {name: column for column, name in enumerate(solution.items)}
    columns = np.array([column_of.get(name, -1) for name in training.items], np.int64)
    places = np.full(len(training.users), -1, np.int64)
    places[listed] = np.arange(len(listed))
    row, column = places[training.user], columns[training.item]
    known = (row >= 0) & (column >= 0)
    return scipy.sparse.csr_matrix(
        (np.ones(int(known.sum()), np.bool_), (row[known], column[known])),
        shape=(len(listed), len(solution.items)),
    )


def _written(
    desk: Desk, solution: Solution, audience: Audience, k: int
) -> Iterator[tuple[pa.Table, int]]:
    """A table for each chunk of users, and how many of them the vault does not know."""
    vault = opening.open_vault(desk.workspace, desk.keys)
    items = pa.array(solution.items, pa.string())
    threads = len(os.sched_getaffinity(0))
    for start in range(0, len(audience.rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        stones = audience.stones[part]
        known = vault.by_tombstone(stones)
        named = np.array([stone in known for stone in stones], np.bool_)
        ids = pa.array([known[stone][1] for stone in stones if stone in known], pa.string())
        lists = recommend_all(
            solution.factors, audience.rows[part][named], audience.seen[part][named], k, threads
        )
        yield as_table(list(lists), ids, items), len(stones) - int(named.sum())


def as_table(lists: list[Lists], ids: pa.Array, items: pa.Array) -> pa.Table:
    """Lists as rows of a table: `ids` of the users in their order, `items` by column."""
    if not lists:
        return SCHEMA.empty_table()
    best = np.concatenate([part.items for part in lists])
    scores = np.concatenate([part.scores for part in lists])
    user, place = np.nonzero(best != NO_ITEM)
    columns = {
        USER: ids.take(pa.array(user)),
        ITEM: items.take(pa.array(best[user, place])),
        RANK: pa.array((place + 1).astype(np.int32)),
        SCORE: pa.array(scores[user, place]),
    }
    return pa.table(columns, schema=SCHEMA)


def popular_table(solution: Solution, k: int) -> pa.Table:
    """What a stranger gets: the most popular items, without user and score."""
    best = pa.array(solution.popular[:k])
    count = len(best)
    columns = {
        USER: pa.nulls(count, pa.string()),
        ITEM: pa.array(solution.items, pa.string()).take(best),
        RANK: pa.array(np.arange(1, count + 1, dtype=np.int32)),
        SCORE: pa.nulls(count, pa.float32()),
    }
    return pa.table(columns, schema=SCHEMA)


def _told(table: Table, facts: Facts, audience: Audience, unnamed: int) -> dict[str, Any]:
    left_out = {"suppressed": audience.suppressed, "cold": audience.cold, "without_id": unnamed}
    return {
        **asdict(facts),
        **left_out,
        "file": str(table.path),
        "popular": str(table.popular),
        "text": f"{facts.users} people, {facts.rows} rows in {table.path}\n"
        f"left out: {left_out['suppressed']} suppressed, {left_out['cold']} unknown to version "
        f"{facts.version}, {unnamed} unknown to the vault; a stranger gets {table.popular.name}",
    }
