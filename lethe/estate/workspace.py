"""A workspace: one folder with its parameters, data, keys and stores, and where each lies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lethe.durable import read_json
from lethe.errors import BadConfiguration, NotAWorkspace, RefusedByGate


@dataclass(frozen=True)
class Workspace:
    """The paths of a workspace; building one touches nothing.

    Raises:
        NotAWorkspace: from `Workspace.find`, where the folder was never initialised.
        RefusedByGate: from `Workspace.find`, while a restored backup is not purged yet.
    """

    root: Path

    @classmethod
    def find(cls, folder: Path) -> Workspace:
        """The workspace at `folder`, which must have been made by `lethe init`."""
        workspace = cls(folder.resolve())
        workspace.refuse_half_restored()
        if not workspace.fingerprints.is_file():
            raise NotAWorkspace(f"{folder.name or '.'} is no workspace; `lethe init` makes one")
        return workspace

    def refuse_half_restored(self) -> None:
        """What was restored can hold people erased since: nothing is done before they are out.

        Raises:
            RefusedByGate: a restore was begun and has not ended.
        """
        if self.restoring.exists():
            raise RefusedByGate(
                "a restore has not ended here: nothing else is done before the register was "
                "replayed over it; `lethe restore` with the backup ends it"
            )

    @property
    def params(self) -> Path:
        """Every number a person may turn."""
        return self.root / "params.yaml"

    @property
    def state(self) -> Path:
        """The private folder (0700) of everything that is not data."""
        return self.root / ".lethe"

    @property
    def landing(self) -> Path:
        """Where the shop drops its export files."""
        return self.root / "data" / "landing"

    @property
    def quarantine(self) -> Path:
        """Refused rows and files, with their rules."""
        return self.root / "data" / "quarantine"

    @property
    def interactions(self) -> Path:
        """The purged, pseudonymised shards: the data version."""
        return self.root / "data" / "interactions"

    @property
    def training(self) -> Path:
        """The training set of the present data version."""
        return self.root / "data" / "training"

    @property
    def recommendations(self) -> Path:
        """What the champion recommends to everybody, with ids, for the shop to take over."""
        return self.root / "data" / "recommendations"

    @property
    def keys(self) -> Path:
        """Key files, 0600 in a folder of 0700."""
        return self.state / "keys"

    @property
    def fingerprints(self) -> Path:
        """The fingerprints of the keys this workspace was made with."""
        return self.keys / "fingerprints.json"

    @property
    def vault(self) -> Path:
        """Pseudonym -> id."""
        return self.state / "vault.db"

    @property
    def register_position(self) -> Path:
        """The head the data stages purge at; a dependency in dvc.yaml."""
        return self.state / "register.position"

    @property
    def catalogue(self) -> Path:
        """The retained data versions."""
        return self.state / "catalogue.json"

    @property
    def certificates(self) -> Path:
        """Signed certificates by artifact digest; no personal data."""
        return self.state / "certificates"

    @property
    def evidence(self) -> Path:
        """What was destroyed and searched for each erasure; no personal data."""
        return self.state / "evidence"

    @property
    def canaries(self) -> Path:
        """How many canaries were made and how many of them have asked to be erased."""
        return self.state / "canaries.json"

    @property
    def last_night(self) -> Path:
        """What the last finished night worked on, so that unchanged work is not done again."""
        return self.state / "last-night.json"

    @property
    def register_anchor(self) -> Path:
        """The newest head of the register that a command entered, remembered outside it."""
        return self.state / "register.anchor"

    @property
    def merges_anchor(self) -> Path:
        """The newest merge of ids in the register, remembered outside it."""
        return self.state / "merges.anchor"

    @property
    def receipts(self) -> Path:
        """What the last intake and purge counted."""
        return self.state / "receipts"

    @property
    def suppressed(self) -> Path:
        """Whom no model may serve; `LETHE_SUPPRESSED` names it to whoever serves one."""
        return self.state / "suppressed"

    @property
    def outbox(self) -> Path:
        """What recipients must be told of erasures and restrictions, 0700; with ids."""
        return self.state / "outbox"

    @property
    def mlflow(self) -> Path:
        """MLflow's database and artifacts."""
        return self.state / "mlflow"

    @property
    def studies(self) -> Path:
        """Optuna's database."""
        return self.state / "optuna.db"

    @property
    def reports(self) -> Path:
        """One HTML page per night."""
        return self.state / "reports"

    @property
    def restricted(self) -> Path:
        """Details that no report may show, 0700."""
        return self.state / "restricted"

    @property
    def temporary(self) -> Path:
        """Wiped at the start and end of a night."""
        return self.state / "tmp"

    @property
    def candidates(self) -> Path:
        """Solution folders of the running night, wiped with it."""
        return self.temporary / "candidates"

    @property
    def journal(self) -> Path:
        """Which night is under way, so that a killed one is taken up again."""
        return self.state / "night.json"

    @property
    def restoring(self) -> Path:
        """Says that a backup is being restored: there until the register was replayed over it."""
        return self.state / "restore.json"

    @property
    def night_lock(self) -> Path:
        """Held by the one running night."""
        return self.state / "night.lock"

    @property
    def stack(self) -> Path:
        """The files of the servers that `lethe up` starts, 0700."""
        return self.state / "stack"

    @property
    def stack_environment(self) -> Path:
        """How these servers are reached, one `NAME=value` a line, with passwords: 0600."""
        return self.keys / "stack.env"

    @property
    def prefect_home(self) -> Path:
        """Prefect's private folder."""
        return self.state / "prefect"

    def keeps_mlflow_itself(self) -> bool:
        """Whether the solution versions lie in this folder, and at no server."""
        return self.tracking_uri() == f"sqlite:///{self.mlflow / 'mlflow.db'}"

    def register_url(self) -> str:
        """The register's address: `LETHE_REGISTER_URL`, or SQLite in the workspace."""
        return os.environ.get("LETHE_REGISTER_URL") or f"sqlite:///{self.state / 'register.db'}"

    def tracking_uri(self) -> str:
        """MLflow's address: `MLFLOW_TRACKING_URI`, or SQLite in the workspace."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.mlflow / 'mlflow.db'}"

    def studies_at(self) -> Path | str:
        """Optuna's database: the address `LETHE_STUDIES_URL`, or SQLite in the workspace."""
        return os.environ.get("LETHE_STUDIES_URL") or self.studies

    def recorded_fingerprints(self) -> dict[str, str]:
        """Key name -> fingerprint, as written by `lethe init`.

        Raises:
            BadConfiguration: the file is not readable.
        """
        try:
            found = read_json(self.fingerprints)
        except (OSError, ValueError):
            raise BadConfiguration("fingerprints.json of the keys is not readable") from None
        return {str(name): str(value) for name, value in dict(found).items()}
