"""The small world of the promotion race: what is in it, what may happen, and which laws hold."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

from lethe.interactions.rights.register import (
    GENESIS,
    Action,
    Entry,
    Head,
    Promotion,
    Request,
)
from lethe.interactions.rights.standing import Fold
from tests.fakes.register import MemoryRegister
from tests.fakes.version_store import StoredVersion
from tests.gate.scene import A, B, C, Certificate

EVENTS = frozenset({"erase A", "erase B", "late file", "overwrite 1", "crash"})
INSIDE = EVENTS - {"late file"}
RESTORE = EVENTS - {"overwrite 1"} | {"restore"}
STEPS = ("begin", "snapshot", "record", "verify", "promote", "over")


@dataclass(frozen=True)
class Variant:
    """Which defence is on."""

    verify_at: str = "verify"  # or "begin"
    filter_snapshot: bool = True
    recheck_register: bool = True
    check_digest: bool = True
    lock: bool = True
    anchor: bool = True
    durable_intent: bool = True


LETHE = Variant()
BLIND = Variant(recheck_register=False, check_digest=False, anchor=False)
VARIANTS = {
    "verified against the register at the start": replace(
        BLIND, verify_at="begin", filter_snapshot=False
    ),
    "verified against the register at verify time": replace(BLIND, filter_snapshot=False),
    "and every snapshot filtered": BLIND,
    "and the register checked again at the commit point": replace(LETHE, check_digest=False),
    "the register restored from the data's backup": replace(LETHE, anchor=False),
    "the INTENT lost in the crash": replace(LETHE, durable_intent=False),
    "everything but the lock": replace(LETHE, lock=False),
}


@dataclass(frozen=True)
class Night:
    step: int = 0
    began: int = 0
    users: frozenset[str] = frozenset()
    certificate: Certificate | None = None


@dataclass(frozen=True)
class State:
    left: frozenset[str] = EVENTS
    data: frozenset[str] = frozenset({A, B, C})
    asked: frozenset[str] = frozenset()  # every erasure ever received, restored register or not
    anchor: Head = GENESIS
    entries: tuple[Entry, ...] = ()
    promotions: tuple[Promotion, ...] = ()
    versions: tuple[StoredVersion | None, ...] = (None, None)
    champion: int | None = None
    nights: tuple[Night, Night] = (Night(), Night())


def overwritten(version: StoredVersion) -> StoredVersion:
    return StoredVersion(version.users, genuine=False)


@functools.cache
def appended(chain: tuple[Entry, ...], stone: str) -> tuple[Entry, ...]:
    register = MemoryRegister(chain)
    register.append([Request(Action.ERASE, stone, 1)])
    return register.chain


@functools.cache
def erased(entries: tuple[Entry, ...]) -> frozenset[str]:
    return Fold(entries).standing().erased


@functools.cache
def heads(entries: tuple[Entry, ...]) -> tuple[Head, ...]:
    return (GENESIS, *(Head(entry.position, entry.digest) for entry in entries))
