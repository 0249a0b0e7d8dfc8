"""Which window each kept interaction belongs to: what is learned from, and what is held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

Window = Literal["train", "train+validation", "all"]
HeldOutWindow = Literal["validation", "test"]
PARTITION: tuple[Literal["train"], Literal["validation"], Literal["test"]] = (
    "train",
    "validation",
    "test",
)
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Rows = npt.NDArray[np.bool_]


class SplitRule(BaseModel):
    """`global_time` cuts everybody's time at the same two moments; `leave_last_out` each one's own.

    See `Cuts` and `LastOut`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["global_time", "leave_last_out"] = "global_time"


class Split(Protocol):
    """A rule that gives each row exactly one of the windows "train", "validation" and "test"."""

    def within(self, window: Window | HeldOutWindow, user: Ints, timestamp: Longs) -> Rows:
        """A mask of the rows that lie in `window`. `user` holds codes, `timestamp` Unix seconds."""
        ...

    def record(self) -> dict[str, int]:
        """What `read` makes the same split from."""
        ...


@dataclass(frozen=True)
class Cuts:
    """Where time is cut, in Unix seconds: train < validation <= validation rows < test <= test.

    >>> cuts, nobody = Cuts(validation=10, test=20), np.zeros(3, np.int32)
    >>> cuts.within("train+validation", nobody, np.array([9, 19, 20])).tolist()
    [True, True, False]
    """

    validation: int
    test: int

    def within(self, window: Window | HeldOutWindow, user: Ints, timestamp: Longs) -> Rows:
        """A mask of the rows whose timestamp lies in `window`; whose they are does not matter."""
        first, end = {
            "train": (None, self.validation),
            "train+validation": (None, self.test),
            "all": (None, None),
            "validation": (self.validation, self.test),
            "test": (self.test, None),
        }[window]
        mask = np.ones(len(timestamp), dtype=np.bool_)
        if first is not None:
            mask &= timestamp >= first
        if end is not None:
            mask &= timestamp < end
        return mask

    def record(self) -> dict[str, int]:
        """The two moments."""
        return {"validation": self.validation, "test": self.test}


@dataclass(frozen=True)
class LastOut:
    """Each user's last moment is test, the one before it validation, all earlier ones train.

    A moment is all of a user's rows of one timestamp: ties are held out together, so that nothing
    of a user at or after what is held out is learned from. Who has two moments has no validation;
    who has one has train alone.

    >>> user, timestamp = np.array([7, 7, 7, 7, 8], np.int32), np.array([1, 5, 9, 9, 9])
    >>> {name: LastOut().within(name, user, timestamp).tolist() for name in ("train", "test")}
    {'train': [True, False, False, False, True], 'test': [False, False, True, True, False]}
    """

    def within(self, window: Window | HeldOutWindow, user: Ints, timestamp: Longs) -> Rows:
        """A mask of the rows in `window`. All rows of a user must be among those given."""
        times, time = np.unique(timestamp, return_inverse=True)
        moment = user.astype(np.int64) * max(1, len(times)) + time
        moments, place = np.unique(moment, return_inverse=True)
        owner = moments // max(1, len(times))
        ends = np.searchsorted(owner, owner, side="right")
        begins = np.searchsorted(owner, owner, side="left")
        rank = np.arange(len(owner))
        part = np.zeros(len(owner), dtype=np.int8)  # an index of PARTITION
        part[(ends - rank == 2) & (ends - begins > 2)] = 1  # noqa: PLR2004 - the last but one
        part[(ends - rank == 1) & (ends - begins > 1)] = 2
        windows: dict[str, tuple[int, ...]] = {
            "train": (0,),
            "train+validation": (0, 1),
            "all": (0, 1, 2),
            "validation": (1,),
            "test": (2,),
        }
        mask: Rows = np.isin(part, windows[window])[place]
        return mask

    def record(self) -> dict[str, int]:
        """Nothing: the rows say it."""
        return {}


def read(rules: dict[str, Any], record: dict[str, int]) -> Split:
    """The split that a snapshot was built with, from its rules and the split's own record."""
    kind = SplitRule.model_validate(rules.get("split", {})).kind
    return Cuts(**record) if kind == "global_time" else LastOut()


def rows_of(split: Split, user: Ints, timestamp: Longs) -> dict[str, int]:
    """How many rows each of the three windows holds."""
    return {name: int(split.within(name, user, timestamp).sum()) for name in PARTITION}


def present(codes: Ints) -> Longs:
    """The codes that occur, ascending; they are few beside the rows.

    >>> present(np.array([4, 0, 4], np.int32)).tolist()
    [0, 4]
    """
    return np.flatnonzero(np.bincount(codes))
