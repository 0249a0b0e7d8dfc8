"""A workspace that lives through nights: the project's own steps between in-memory ledgers.

Real: intake and purge of landed files, the data version's making, who is excluded from training,
the promotion protocol, history and retire, register, vault, shards, quarantine. Invented: DVC and
MLflow (tests/fakes), the fit, and the verifier's verdict.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lethe import durable
from lethe.adapters.catalogue import Catalogue, DataVersion
from lethe.desk import merging
from lethe.desk.rights import enter
from lethe.errors import (
    BadConfiguration,
    Busy,
    PromotionRefused,
    RefusedByGate,
    TooFewInteractions,
)
from lethe.estate.keys import keys_before, open_keys
from lethe.estate.renaming import name_keys
from lethe.estate.vault import Vault
from lethe.gate.promotion import Candidate, promote
from lethe.interactions.intake.quarantine import Quarantine
from lethe.interactions.rights.identity import Keys, key_fingerprint, pseudonym, tombstone
from lethe.interactions.rights.register import Action, Register
from lethe.interactions.shards.store import ShardStore
from lethe.nights import judging
from lethe.nights.forgetting import retiring
from lethe.nights.renaming import rotating
from lethe.stages import intake, opening, reproducing, snapshots
from tests.fakes import night_desk
from tests.fakes.data_versions import FakeDataVersions
from tests.fakes.night_desk import KEYS, World
from tests.fakes.plain_estate import Landed, Life
from tests.fakes.quick_register import quick_register
from tests.fakes.solution_versions import FakeSolutionVersions
from tests.kills import Killed

PARAMS = night_desk.PARAMS.model_copy(
    update={"retention": night_desk.PARAMS.retention.model_copy(update={"data_versions": 3})}
)
HEADER = "USER_ID,ITEM_ID,TIMESTAMP,FILE\n"
INTAKE, PROMOTION, RETIRE, ROTATION = DURABLE = tuple(
    {f"{owner.__name__}.{name}": (owner, name) for owner, names in calls for name in names.split()}
    for calls in (
        (
            (FakeDataVersions, "commit push"),
            (Register, "record_purge"),
            (ShardStore, "purge seal"),
            (Catalogue, "_write"),
            (Quarantine, "rows"),
            (Vault, "remember"),
            (durable, "sync_folder"),
        ),
        ((FakeSolutionVersions, "record set_champion"), (Register, "intend done")),
        (
            (FakeSolutionVersions, "destroy sweep"),
            (FakeDataVersions, "destroy sweep put_version copy_in"),
            (Quarantine, "forget"),
            (Vault, "forget"),
            (Register, "close"),
            (shutil, "rmtree"),
            (Path, "unlink"),
        ),
        (
            (name_keys, "write_bytes write_json sync_folder"),
            (Catalogue, "_write"),
            (FakeDataVersions, "put_version copy_in name_output destroy sweep"),
            (shutil, "rmtree"),
            (Path, "unlink"),
        ),
    )
)
Kill = tuple[str, int]
"""Which durable call, and how many of its kind a night still makes before the kill."""


@dataclass(frozen=True)
class Certificate:
    """What a verifier would state."""

    artifact_digest: str
    data_version: str
    register_position: int
    register_head: str
    verdict: str
    digest: str = "e" * 64


def name_of(life: Life) -> str:
    return pseudonym(KEYS.pseudonym, *life)


def stone_of(life: Life) -> str:
    return tombstone(KEYS.tombstone, name_of(life))


class LivingEstate:
    """One workspace. `hear` is told of steps as they end."""

    def __init__(self, root: Path, hear: Callable[[str, Any], None]) -> None:
        self.hear, self.patch = hear, pytest.MonkeyPatch()
        self.kill: Kill | None = None
        self.files = self.nights = 0
        self.generations = [KEYS]
        self.patch.delenv("LETHE_REGISTER_URL", raising=False)
        quick_register(self.patch)
        self.patch.setattr(os, "sync", lambda: None)  # no life loses the power, and all would wait
        self.keys_made = itertools.count()
        self.patch.setattr(name_keys, "secrets", SimpleNamespace(token_bytes=self._token_bytes))
        self.world = World(root, [])
        self.world.desk = replace(self.world.desk, params=PARAMS)
        self.workspace = self.world.workspace
        self.workspace.landing.mkdir(parents=True)
        self.world.data.stages = {
            "interactions": ("data/interactions", self._stage),
        }
        self.world.data.commit = self._commit  # type: ignore[method-assign]
        desk = self.world.desk
        answers: dict[str, Any] = {
            "now": lambda: self.world.clock,
            "open_params": lambda *_: PARAMS,
            "open_register": lambda *_: desk.register,
            "open_data": lambda _: self.world.data,
            "open_solutions": lambda *_: self.world.versions,
        }
        for name, answer in answers.items():
            self.patch.setattr(opening, name, answer)
        self._write_keys()
        for kind, (owner, name) in {**INTAKE, **PROMOTION, **RETIRE, **ROTATION}.items():
            self.patch.setattr(owner, name, self._mortal(kind, getattr(owner, name)))

    def end(self) -> None:
        self.kill = None
        self.world.desk.register.engine.dispose()
        self.patch.undo()

    def _write_keys(self) -> None:
        self.workspace.keys.mkdir(parents=True)
        pair = {"pseudonym": KEYS.pseudonym, "tombstone": KEYS.tombstone}
        for name, key in pair.items():
            (self.workspace.keys / f"{name}.key").write_text(key.hex())
        prints = {name: key_fingerprint(key) for name, key in pair.items()}
        durable.write_json(self.workspace.fingerprints, prints)

    def _mortal(self, kind: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, before which a kill may come."""

        def call(*arguments: Any, **options: Any) -> Any:
            if self.kill is not None and self.kill[0] == kind:
                if not self.kill[1]:
                    self.kill = None
                    raise Killed
                self.kill = kind, self.kill[1] - 1
            return original(*arguments, **options)

        return call

    def _stage(self) -> None:
        intake.interactions(self.workspace, PARAMS)
        self.hear("taken in", None)

    def _commit(self, stage: str) -> str:
        digest = FakeDataVersions.commit(self.world.data, stage)
        self.hear("committed", digest)
        return digest

    # What people and shops do

    def ask(self, action: Action, raw: str) -> dict[str, Any]:
        self.world.clock += 60
        return enter(self.workspace, action, raw.encode(), "ids", None, "data-subject-request")

    def merge(self, one: str, other: str) -> dict[str, Any]:
        """Both ids are one person."""
        self.world.clock += 60
        return merging.merge(self.workspace, f"{one},{other}".encode(), "pairs")

    def land(self, rows: list[Landed], spoiled: str | None) -> str:
        """A file of these rows, and with `spoiled` a row of that person which intake refuses."""
        self.files += 1
        lines = [f"{raw},{item},{at},{self.files}" for raw, item, at in rows]
        lines += [f"{spoiled},,{self.world.clock},{self.files}"] if spoiled else []
        path = self.workspace.landing / f"file-{self.files}.csv"
        path.write_text(HEADER + "\n".join(lines) + "\n")
        return path.name

    def copy_aside(self, place: Path) -> DataVersion:
        """The oldest retained version, checked out where the estate does not reach."""
        version = Catalogue(self.workspace.catalogue).list()[0]
        shutil.rmtree(place, ignore_errors=True)
        self.world.data.checkout(version.digest, place)
        return version

    def _token_bytes(self, size: int) -> bytes:
        """A name decides in which shard somebody is, and a life lived twice must be the same."""
        return hashlib.shake_256(f"name key {next(self.keys_made)}".encode()).digest(size)

    def put_back(self, place: Path) -> None:
        """An older copy takes the place of the interactions."""
        shutil.rmtree(self.workspace.interactions)
        shutil.copytree(place, self.workspace.interactions)

    def rotate(self, kill: Kill | None) -> str:
        """As `lethe keys replace pseudonym`; how it ended."""
        desk, data = self.world.desk, self.world.data
        self.kill = kill
        try:
            rotating.refuse_unready(desk, data)  # type: ignore[arg-type]
            rotating.rotate(desk, data)  # type: ignore[arg-type]
        except (Busy, RefusedByGate):
            return "refused"
        except Killed:
            return "killed"
        finally:
            self.kill = None
            self._hear_keys()
        return "rotated"

    def _hear_keys(self) -> None:
        """The desk has the keys of now; every name key is remembered, for looking."""
        if (key := name_keys.awaited(self.workspace)) is not None:
            self.generations.append(Keys(KEYS.pseudonym, KEYS.tombstone, key))
        keys = keys_before(self.workspace)
        self.generations.append(keys)
        self.world.desk = replace(self.world.desk, keys=keys)

    # A night

    def night(self, verdict: str, meanwhile: Callable[[], None], kill: Kill | None) -> str:
        """One night, in the order of flows/retrain.py; how it ended."""
        self.world.clock += 3600
        self.nights += 1
        self.workspace.journal.unlink(missing_ok=True)
        self.kill = kill
        try:
            return self._night(verdict, meanwhile)
        except Killed:
            self.workspace.journal.touch()
            return "killed"
        finally:
            self.kill = None

    def _night(self, verdict: str, meanwhile: Callable[[], None]) -> str:
        shutil.rmtree(self.workspace.temporary, ignore_errors=True)
        self.workspace.temporary.mkdir(parents=True, exist_ok=True)
        if rotating.cut_off(self.workspace):
            rotating.rotate(self.world.desk, self.world.data)  # type: ignore[arg-type]
            self._hear_keys()
        self.world.desk = replace(self.world.desk, keys=open_keys(self.workspace))
        ended = "promoted"
        try:
            self._learn(verdict, meanwhile)
        except (PromotionRefused, TooFewInteractions, BadConfiguration):
            ended = "refused"
        retiring.retire(self.world.desk, f"night {self.nights}")
        return ended

    def _learn(self, verdict: str, meanwhile: Callable[[], None]) -> None:
        desk, room = self.world.desk, self.workspace
        judging.recover_promotions(desk)
        self.hear("recovered", None)
        reproducing.take_in(room, PARAMS)
        self.world.data.reproduce("interactions")
        made = reproducing.version(room, PARAMS, self.world.clock)
        standing = desk.register.standing(upto=made.register_position)
        held = set(opening.rows_by_user(self.world.store()))
        users = tuple(sorted(held - snapshots.excluded_pseudonyms(held, standing, desk.keys)))
        if not users:
            raise TooFewInteractions("nobody is left")
        number = self.world.record(users, made)
        self.hear("recorded", number)
        certificate = Certificate(
            desk.artifact_digest(number),
            made.digest,
            made.register_position,
            made.register_head,
            verdict,
        )
        meanwhile()
        known = opening.newest_known(room)
        candidate = Candidate(number, certificate, quality_accepted=True)
        promote(candidate, desk.register, desk, opening.now, 1, known=known)
        self.hear("promoted", number)
