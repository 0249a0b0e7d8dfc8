"""Waking somebody: a night that failed, was refused, or left a request overdue tells a webhook.

The address is `LETHE_WEBHOOK` (or in the file that `LETHE_WEBHOOK_FILE` names): often a secret, so
it stands in no file of the workspace and in no message. What is posted is one JSON object without
ids; its `text` is what chat servers show. An alarm that cannot be delivered is said on standard
error, and changes nothing about how the night ends.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from lethe.errors import BadConfiguration, LetheError
from lethe.estate.workspace import Workspace
from lethe.nights.saying.events import say
from lethe.reports.requests import counts, warning
from lethe.stages import opening

VARIABLE = "LETHE_WEBHOOK"
WAIT_SECONDS = 10.0
_OUTCOMES = {1: "refused", 2: "bad input", 3: "failed"}


@contextlib.contextmanager
def watched(folder: str) -> Iterator[None]:
    """Post what the block ends with, if that is an error; and overdue requests in any case.

    Raises:
        BadConfiguration: the address is no http or https URL; said before the block begins.
    """
    address = webhook()
    if address is None:
        yield
        return
    try:
        yield
    except Exception as error:
        _post(address, {**_failure(error), **_standing(folder)})
        raise
    standing = _standing(folder)
    if late := warning(standing.get("overdue", 0)):
        _post(address, {"event": "overdue", "message": late, "exit_code": 1, **standing})


def webhook() -> str | None:
    """The configured address, or None.

    Raises:
        BadConfiguration: it is no http or https URL with a host, or its file cannot be read.
    """
    address = os.environ.get(VARIABLE, "")
    if not address and (file := os.environ.get(f"{VARIABLE}_FILE")):
        try:
            address = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise BadConfiguration(f"the file that {VARIABLE}_FILE names cannot be read") from None
        if not address:
            raise BadConfiguration(f"the file that {VARIABLE}_FILE names is empty")
    if not address:
        return None
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise BadConfiguration(f"{VARIABLE} is no http or https address")
    return address


def _failure(error: Exception) -> dict[str, Any]:
    """Our own messages hold no ids; of another error only its class is told."""
    if isinstance(error, LetheError):
        outcome = _OUTCOMES[error.exit_code]
        return {"event": outcome, "message": str(error), "exit_code": error.exit_code}
    message = f"unexpected {type(error).__name__}"
    return {"event": "failed", "message": message, "exit_code": 3}


def _standing(folder: str) -> dict[str, Any]:
    """Whose alarm it is and how the requests stand, as far as that can be told."""
    found: dict[str, Any] = {"workspace": Path(folder).resolve().name}
    with contextlib.suppress(LetheError):  # what failed may be what would be asked here
        workspace = Workspace.find(Path(folder))
        params = opening.open_params(workspace)
        found["workspace"] = params.name
        found |= counts(opening.open_register(workspace, params), opening.now())
    return found


class _NoRedirect(HTTPRedirectHandler):
    """Nothing but the configured address is spoken to."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _post(address: str, facts: dict[str, Any]) -> None:
    text = f"Lethe, {facts['workspace']}: {facts['event']}: {facts['message']}"
    body = json.dumps({**facts, "text": text}, sort_keys=True).encode()
    request = Request(address, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
    try:
        with build_opener(_NoRedirect).open(request, timeout=WAIT_SECONDS):
            say("alarm", f"{facts['event']}: told to the webhook")
    except (OSError, URLError, ValueError) as error:
        code = getattr(error, "code", "")
        told = f"{type(error).__name__} {code}".strip()
        say("alarm", f"{facts['event']}: the webhook could not be told: {told}")
