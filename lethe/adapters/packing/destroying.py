"""Deleting for good what MLflow keeps: rows past its server, and files wherever they lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from lethe.errors import StoreUnavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient


def hard_deleting(client: MlflowClient) -> Any:
    """The client's store if it is a database, otherwise the server's, at LETHE_MLFLOW_DATABASE_URL.

    A server offers no deletion for good.

    Raises:
        StoreUnavailable: the client speaks to a server, and its database is not named.
    """
    store = client._tracking_client.store
    if hasattr(store, "_hard_delete_logged_model"):
        return store
    address = os.environ.get("LETHE_MLFLOW_DATABASE_URL")
    if not address:
        raise StoreUnavailable(
            "MLflow can destroy in a database only, not through a server; "
            "LETHE_MLFLOW_DATABASE_URL names the server's"
        )
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    opened: Any = SqlAlchemyStore
    return opened(address, "mlflow-artifacts:/")


def remove_files(location: str) -> None:
    """Delete a folder of artifacts, wherever it is, and look whether it is gone."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository: Any = get_artifact_repository(location)
    repository.delete_artifacts()
    parts = urlsplit(location)
    local = Path(unquote(parts.path)) if parts.scheme in ("", "file") else None
    if local.exists() if local else repository.list_artifacts():
        raise StoreUnavailable("files of what was destroyed are left in the artifact store")
