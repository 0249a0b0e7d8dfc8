"""Canaries: invented users who enter through the real intake and leave through the real register.

They let a night without requests prove itself: verification must find the erased canaries' share
in the factors to be nothing, and that of the others to be whole. Ids follow from the pseudonym
key and a running number; only two counters and the digest of the last file are stored. Canaries
are no people: whoever counts, ranks or measures people leaves them out.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lethe.durable import read_json, write_json
from lethe.errors import BadConfiguration
from lethe.interactions.rights.identity import Keys


class CanaryRules(BaseModel):
    """How many canaries there are: a share of the users, never more than `maximum`; 0 is none.

    `history` is how many items each has met, at most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(default=0.02, ge=0, le=0.02)
    maximum: int = Field(default=100, ge=0, le=1_000)
    history: int = Field(default=15, ge=4, le=200)

    def wanted(self, users: int) -> int:
        """How many live canaries a data set of `users` users carries.

        >>> CanaryRules().wanted(1_000), CanaryRules().wanted(1_000_000), CanaryRules().wanted(40)
        (20, 100, 0)
        """
        wanted = min(self.maximum, int(self.share * users))
        return wanted if wanted >= 2 else 0  # noqa: PLR2004 - one to erase and one to keep

    @property
    def off(self) -> bool:
        """No canary is wanted, however many users there are."""
        return not self.share or not self.maximum


@dataclass(frozen=True)
class Plan:
    """What one night does: who leaves, who comes, and the landed file that they are made from.

    Numbers from the first up to, and without, the second. A plan is written down before it is
    carried out, so that a killed night repeats it and makes no other.
    """

    leaving: tuple[int, int] = (0, 0)
    coming: tuple[int, int] = (0, 0)
    template: str = ""
    sha256: str = ""

    @classmethod
    def of(cls, noted: dict[str, Any]) -> Plan:
        """From its JSON."""
        pairs = {name: tuple(noted[name]) for name in ("leaving", "coming")}
        return cls(**{**noted, **pairs})


@dataclass(frozen=True)
class Canaries:
    """The canaries of one workspace: numbers below `erased` have asked to be erased.

    The file at `path` holds the two counters and the SHA-256 of the last file of canaries.
    """

    path: Path
    keys: Keys = field(repr=False)

    def counters(self) -> tuple[int, int]:
        """(made, erased).

        Raises:
            BadConfiguration: the file is not readable.
        """
        made, erased, _ = self._read()
        return made, erased

    def landed(self) -> str:
        """SHA-256 of the last file of canaries; empty before the first."""
        return self._read()[2]

    def _read(self) -> tuple[int, int, str]:
        if not self.path.is_file():
            return 0, 0, ""
        try:
            found = read_json(self.path)
            made, erased = int(found["made"]), int(found["erased"])
            landed = str(found.get("landed", ""))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise BadConfiguration(f"{self.path.name} is not readable") from None
        if not 0 <= erased <= made:
            raise BadConfiguration(f"{self.path.name} counts more canaries erased than made")
        return made, erased, landed

    def note(self, made: int = 0, erased: int = 0, landed: str = "") -> None:
        """Write down that there may be so many by now; a counter never falls."""
        before = self._read()
        write_json(
            self.path,
            {
                "made": max(made, before[0]),
                "erased": max(erased, before[1]),
                "landed": landed or before[2],
            },
        )

    def ids(self, first: int, end: int) -> list[str]:
        """Ids of the canaries numbered `first` to `end` - 1."""
        key = self.keys.pseudonym
        return [
            "lethe-canary-"
            + hmac.digest(key, f"canary {number}".encode(), hashlib.sha256).hex()[:20]
            for number in range(first, end)
        ]

    def pseudonyms(self) -> frozenset[str]:
        """Pseudonyms of all canaries ever made."""
        return frozenset(self.keys.name(one, 0) for one in self.ids(0, self.counters()[0]))

    def tombstones(self, first: int, end: int) -> list[str]:
        """Tombstones of the canaries numbered `first` to `end` - 1."""
        return [self.keys.stone(self.keys.name(one, 0)) for one in self.ids(first, end)]

    def plan(self, wanted: int, rules: CanaryRules, template: tuple[str, str] | None) -> Plan:
        """The older half of the living leave, or all if canaries are switched off; others come.

        `template` is a landed file's name and SHA-256; without one nobody comes.
        """
        made, erased = self.counters()
        living = made - erased
        leaving = living if rules.off else living // 2
        coming = max(0, wanted - (living - leaving)) if template else 0
        name, sha256 = template if template and coming else ("", "")
        return Plan((erased, erased + leaving), (made, made + coming), name, sha256)
