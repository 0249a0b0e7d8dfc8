"""What is judged, and against what: the one thing that every layer looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions.factors import Solution


@dataclass(frozen=True, repr=False)
class Case:
    """What is judged, and against what.

    `stored` is the artifact read back, `files` its names with recomputed SHA-256. `beside` says of
    each file around it, such as the code that serves it, whether it is what Lethe writes.
    `retained` is the rebuilt matrix. `tombstones` are those of `stored.users`, in order.
    `forbidden` are the tombstones that may not train at the register's head (`head_position`,
    `head_digest`); `recorded_head` is the digest the register has *today* at the position that
    the manifest names, None if it has no such entry. `environment` is this process's;
    `data_version` is the digest of the data the matrix was rebuilt from. `replay` runs the recipe
    cold on a matrix and returns the SHA-256 of each array it learned.

    `suspects` are people who must have left no trace, by group ("erased", "objecting",
    "restricted", "canary"): weights as in `retained.csr`, float32 CSR in its columns, one row a
    person. Their histories are read for this alone and nothing about one of them is told.
    `canaries` are the rows of living canaries in `retained`, who must be found when they are
    pretended erased. `untested` counts erased canaries whose histories nothing holds any more.

    `layers` are those that the recipe's line in the table names: see
    `lethe.gate.proof.report.required_layers`.
    """

    artifact_digest: str
    stored: Solution
    files: Mapping[str, str]
    beside: Mapping[str, bool]
    retained: InteractionMatrix
    tombstones: tuple[str, ...]
    forbidden: frozenset[str]
    head_position: int
    head_digest: str
    recorded_head: str | None
    data_version: str
    environment: Mapping[str, str]
    replay: Callable[[InteractionMatrix], Mapping[str, str]]
    suspects: Mapping[str, Any] = field(default_factory=dict)
    canaries: tuple[int, ...] = ()
    untested: int = 0
    layers: tuple[str, ...] = ()
