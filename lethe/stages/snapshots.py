"""The training set: the sealed interactions without those who must stay out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from lethe.durable import write_json
from lethe.estate.workspace import Workspace
from lethe.interactions.rights.identity import Keys
from lethe.interactions.rights.standing import Standing
from lethe.interactions.training.snapshot import SnapshotReceipt, build
from lethe.params import Params
from lethe.stages import opening


def excluded_pseudonyms(names: Iterable[str], standing: Standing, keys: Keys) -> frozenset[str]:
    """Those of the pseudonyms that may not be trained on."""
    excluded = standing.excluded
    listed = list(names) if excluded else []
    stones = zip(listed, keys.stones(listed), strict=True)
    return frozenset(name for name, stone in stones if stone in excluded)


def training(workspace: Workspace, params: Params) -> SnapshotReceipt:
    """The DVC stage: the training set of the sealed interactions, without who must stay out.

    Raises:
        TooFewInteractions: less is left than the configured minimums.
        ArtifactCorrupt: a shard does not have the digest its manifest names.
    """
    keys = opening.open_identities(workspace)
    store = opening.open_shards(workspace, params, keys)
    store.verify()
    head = opening.sealed_at(store)
    register = opening.open_register(workspace, params)
    register.check_chain(known=head)
    standing = register.standing(upto=head.position)
    present = opening.rows_by_user(store) if standing.excluded else ()
    receipt = build(
        store,
        excluded_pseudonyms(present, standing, keys),
        params.training,
        workspace.training,
        head.position,
        head.digest,
        opening.open_canaries(workspace, keys).pseudonyms(),
        keys.generation,
    )
    workspace.receipts.mkdir(parents=True, exist_ok=True)
    write_json(workspace.receipts / "training.json", asdict(receipt))
    return receipt
