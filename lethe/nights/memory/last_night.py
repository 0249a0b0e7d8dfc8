"""What the last promoted night worked on, so that unchanged work is not done again.

One file: what the champion was made from, on what grounds it was searched for, what the searches
found best, and which half-life was turned down.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lethe.adapters.packing import model_folder
from lethe.durable import read_json, sha256_file, sha256_json, write_json
from lethe.estate.workspace import Workspace
from lethe.params import Params


def key(workspace: Workspace, params: Params) -> str:
    """Digest of the shards, of the register's head they were purged at, settings and serving code.

    Not the data version's own digest: that names the landed files too, and a file in which there
    was no row to keep is no reason to learn again. A version that an older Lethe would serve in
    another way does not verify any more: that is a reason.
    """
    return _digest(workspace, params, "shards", "register_position", "register_head")


def grounds(workspace: Workspace, params: Params) -> str:
    """Digest of all that a search depends on but rights: the files taken in, and as in `key`."""
    return _digest(workspace, params, "taken")


def _digest(workspace: Workspace, params: Params, *facts: str) -> str:
    sealed = read_json(workspace.interactions / "manifest.json")
    data = [sealed[name] for name in facts]
    return sha256_json([*data, params.learning_digest, sha256_file(model_folder.SERVING)])


def made_from(workspace: Workspace, key: str, champion: int | None) -> bool:
    """Whether the champion was made from exactly what `key` stands for."""
    last = _read(workspace)
    return champion is not None and (last.get("key"), last.get("champion")) == (key, champion)


def is_searched(workspace: Workspace, grounds: str, champion: int | None) -> bool:
    """Whether a search on the same grounds led to the champion, and nothing failed since."""
    last = _read(workspace)
    found = (last.get("searched"), last.get("champion"))
    return champion is not None and found == (grounds, champion)


def best(workspace: Workspace, recipe: str) -> dict[str, Any] | None:
    """The hyper-parameters that the last search found best for a recipe, or None."""
    found = _read(workspace).get("best", {}).get(recipe)
    return dict(found) if found else None


def rely_on_search(workspace: Workspace) -> None:
    """Until a promotion nothing counts as searched: a night that is refused is not repeated so."""
    write_json(workspace.last_night, {**_read(workspace), "searched": None})


def too_short(workspace: Workspace) -> float | None:
    """The half-life that the last promoted night turned down, or None."""
    found = _read(workspace).get("too_short")
    return None if found is None else float(found)


def remember(
    workspace: Workspace,
    params: Params,
    champion: int,
    best: Mapping[str, Mapping[str, Any]],
    too_short: float | None = None,
) -> None:
    """Note what a new champion was made from and, by recipe, what was best; none leaves it.

    The next night is offered longer half-lives than one that was `too_short`, and only the next.
    """
    facts = {
        "key": key(workspace, params),
        "champion": champion,
        "best": {recipe: dict(values) for recipe, values in best.items()}
        or _read(workspace).get("best", {}),
        "searched": grounds(workspace, params),
    }
    if too_short is not None:
        facts["too_short"] = too_short
    write_json(workspace.last_night, facts)


def hold(workspace: Workspace, champion: int) -> None:
    """After a rollback: a night to which nothing came does not promote again what was left."""
    if workspace.last_night.is_file():
        write_json(workspace.last_night, {**_read(workspace), "champion": champion})


def _read(workspace: Workspace) -> dict[str, Any]:
    return dict(read_json(workspace.last_night)) if workspace.last_night.is_file() else {}
