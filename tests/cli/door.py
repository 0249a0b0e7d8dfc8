"""What a test sees of a command that ran in its own process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as one JSON object, and nothing beside it."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


Door = Callable[..., Ended]
