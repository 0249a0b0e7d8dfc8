"""The estate: every place in a workspace where something about a person may lie."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from lethe.estate.workspace import Workspace


@dataclass(frozen=True)
class Store:
    """One store.

    `places` are paths relative to the workspace; `may_hold` says what about a person can lie
    there; `forgets` says how it lets go. `raw_ids` is True where ids as the shop writes them may
    lie: everywhere else only pseudonyms could. `kept_until_closed` stores are exempt from the
    search that precedes the closing of a request, and are emptied of the person right after it.
    `backed_up` is False for what a backup must not hold, or has no use for. `tables` says that ids
    stand in the users' column of its tables alone: what is in the others can read like one.
    """

    name: str
    places: tuple[str, ...]
    may_hold: str
    forgets: str
    raw_ids: bool = False
    kept_until_closed: bool = False
    backed_up: bool = True
    tables: bool = False


DUMPS = ".lethe/dumps"

STORES: tuple[Store, ...] = (
    Store("landing", ("data/landing",), "rows with ids",
          "files go once their rows are versioned; late rows of the erased are dropped", True),
    Store("quarantine", ("data/quarantine",), "refused rows and files with ids",
          "rows that hold the id are removed", True),
    Store("requests", (".lethe/requests",), "ids as written by `lethe sample`",
          "files that hold the id are deleted", True),
    Store("batch outputs", ("data/recommendations",), "ids beside the items recommended to them",
          "a person's rows are taken out at once; a table goes with its version", True,
          backed_up=False, tables=True),
    Store("interactions", ("data/interactions",), "pseudonymous rows and attributes",
          "shards that hold the person are rewritten"),
    Store("training set", ("data/training",), "pseudonyms and pairs",
          "made anew from the purged interactions"),
    Store("DVC cache", (".dvc/cache", ".dvc/tmp"), "older data versions",
          "their objects are deleted and listed"),
    Store("DVC remote", (".lethe/remote",), "older data versions",
          "their objects are deleted and listed"),
    Store("DVC records", ("dvc.lock", "dvc.yaml", ".dvc/config", ".lethe/site-cache"),
          "digests and file names", "hold no ids; the site cache is emptied"),
    Store("solution versions", (".lethe/mlflow",), "id lists, factors, runs and tags",
          "versions that hold the person are destroyed, then VACUUM"),
    Store("studies", (".lethe/optuna.db", ".lethe/optuna.db-journal"),
          "hyper-parameters and scores", "hold no ids"),
    Store("dumps", (DUMPS,), "as solution versions and studies: of the stack, in a backup alone",
          "loaded into the databases when they are restored"),
    Store("Prefect", (".lethe/prefect",), "flow parameters and messages", "hold no ids",
          backed_up=False),
    Store("stack", (".lethe/stack",),
          "tombstones in the register's database; otherwise as MLflow, studies and Prefect",
          "holds no ids; half-sent files are wiped when the servers start", backed_up=False),
    Store("reports", (".lethe/reports", ".lethe/receipts", ".lethe/evidence",
                      ".lethe/certificates"), "counts and digests", "hold no ids"),
    Store("restricted", (".lethe/restricted",), "items and residuals of refusals, by no person",
          "emptied before an erasure is closed; a file goes with its version, or when it is old"),
    Store("temporary files", (".lethe/tmp", ".lethe/experiments"), "anything, while a night runs",
          "wiped at the start and the end of a night", True, backed_up=False),
    Store("records", (".lethe/catalogue.json", ".lethe/last-night.json", ".lethe/night.json",
                      ".lethe/night.lock", ".lethe/register.position", ".lethe/register.anchor",
                      ".lethe/merges.anchor", ".lethe/sample.json", ".lethe/studies.json",
                      ".lethe/canaries.json",
                      ".lethe/stage-error.json", ".lethe/restore.json"), "digests and positions",
          "hold no ids"),
    Store("suppressed", (".lethe/suppressed", ".lethe/suppressed.lock"),
          "digests under a salt of people whom no model may serve",
          "made anew without whoever is in no stored version any more", backed_up=False),
    Store("outbox", (".lethe/outbox",), "ids of people whom recipients must be told about",
          "a notice is deleted once it was delivered; until then its requests stay open",
          True, backed_up=False),
    Store("register", (".lethe/register.db", ".lethe/register.db-journal",
                       ".lethe/register.db.lock"), "tombstones",
          "kept: a tombstone is what keeps the person out", backed_up=False),
    Store("keys", (".lethe/keys",), "no person", "kept", backed_up=False),
    Store("vault", (".lethe/vault.db", ".lethe/vault.db-journal"), "ids beside pseudonyms",
          "the row is deleted, then VACUUM", True, True),
)  # fmt: skip

SETTINGS = ("params.yaml", "prefect.yaml", ".dvcignore")
"""Files of a workspace that lie in no store, because nobody can be in them."""


def files_of(workspace: Workspace, store: Store) -> Iterator[Path]:
    """Every regular file of a store, in a stable order.

    A place may be a symbolic link, made by the operator; links below it are not followed.
    """
    for place in store.places:
        path = workspace.root / place
        if path.is_file():
            yield path
        elif path.is_dir():
            for found in sorted(path.rglob("*")):
                if found.is_file() and not found.is_symlink():
                    yield found


def links_of(workspace: Workspace, store: Store) -> Iterator[Path]:
    """Symbolic links inside a store: where they lead, nobody looks."""
    for place in store.places:
        yield from (path for path in (workspace.root / place).rglob("*") if path.is_symlink())


def undeclared(workspace: Workspace) -> tuple[str, ...]:
    """Paths below `data/`, `.dvc/` and `.lethe/` that no store declares."""
    places = {workspace.root / place for store in STORES for place in store.places}
    harmless = {".gitkeep", ".gitignore"}
    found = (
        path
        for top in ("data", ".dvc", ".lethe")
        for path in sorted((workspace.root / top).rglob("*"))
        if path.is_file() and path.name not in harmless and not _lies_in(path, places)
    )
    return tuple(str(path.relative_to(workspace.root)) for path in found)


def _lies_in(path: Path, places: Set[Path]) -> bool:
    """By its name: a server adds files while the others are listed. A link in a store does not."""
    return path in places or (not path.is_symlink() and not places.isdisjoint(path.parents))
