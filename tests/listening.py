"""Whether a server on loopback answers yet."""

from __future__ import annotations

import urllib.request


def answers(address: str) -> bool:
    """Whether a request for it ends with 200."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except OSError:
        return False
