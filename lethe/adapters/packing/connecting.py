"""MLflow's client, and what its errors become."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lethe.errors import BadConfiguration, LetheError, StoreUnavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient


@contextlib.contextmanager
def mlflow_errors(doing: str) -> Iterator[None]:
    """Translate what MLflow and its database raise; also a decorator.

    Raises:
        StoreUnavailable: names what was being done and the error's class and code, no more.
    """
    try:
        yield
    except LetheError:
        raise
    except Exception as error:  # MLflow lets its database's and file system's errors through
        code = getattr(error, "error_code", "")
        raise StoreUnavailable(f"MLflow, {doing}: {type(error).__name__} {code}".strip()) from error


def import_ahead() -> None:
    """Import now what a night needs of MLflow: for whoever waits for something else meanwhile."""
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def connect(tracking_uri: str) -> MlflowClient:
    """A client of this store; sets nothing global.

    Raises:
        BadConfiguration: MLflow's telemetry was not switched off before.
    """
    if os.environ.get("MLFLOW_DISABLE_TELEMETRY", "").lower() != "true":
        raise BadConfiguration("set MLFLOW_DISABLE_TELEMETRY=true before MLflow is used")
    with mlflow_errors("opening the store"):
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def at_server(client: MlflowClient) -> bool:
    """Whether the client speaks to a server and not to a database."""
    return urlsplit(client.tracking_uri).scheme in ("http", "https")
