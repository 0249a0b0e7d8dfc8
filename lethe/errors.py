"""Every error that Lethe raises, and the exit code each one ends with.

    LetheError
    ├── RefusedByGate              1  a gate looked and said no; nothing was changed
    │   ├── VerificationRefused       deletion verification found something
    │   ├── PromotionRefused          the promotion rule or protocol said no
    │   └── TooFewInteractions        less data than a training may start from
    ├── BadInput                   2  what came in cannot be used
    │   ├── BadFile                   names the file, the row and the rule
    │   ├── FilesRefused              landed files were; everything else was done
    │   ├── BadRequest                a request of rights that cannot be entered
    │   └── BadConfiguration          params.yaml, a key, a workspace
    │       ├── WrongKey              a key whose fingerprint is not the recorded one
    │       └── NotAWorkspace         no workspace here
    └── OutsideFailure             3  a tool or store below us failed
        ├── StoreUnavailable          a register, database, cache or remote
        ├── Busy                      somebody else holds the lock
        ├── ArtifactCorrupt           bytes differ from the digest recorded for them
        └── RecipeFailed              a fit or a whole study failed

A message names files, rows, rules, counts and digests. It never holds a user id, raw or
pseudonymous.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class LetheError(Exception):
    """Root of the tree. `exit_code` is what the process ends with.

    `summary` is what a command has to tell all the same, such as a night that was refused.
    """

    exit_code: ClassVar[int] = 3
    summary: Mapping[str, Any] | None = None


class RefusedByGate(LetheError):
    """A gate said no. `reasons` are short sentences without ids."""

    exit_code = 1

    def __init__(self, message: str, reasons: tuple[str, ...] = ()) -> None:
        super().__init__("; ".join((message, *reasons)))
        self.reasons = reasons


class VerificationRefused(RefusedByGate):
    """Deletion verification ended as REFUSED or INCONCLUSIVE."""


class PromotionRefused(RefusedByGate):
    """The promotion protocol or the quality rule said no."""


class TooFewInteractions(RefusedByGate):
    """Fewer interactions or users than the configured minimums."""


class BadInput(LetheError):
    """Something handed to us cannot be used."""

    exit_code = 2


class BadFile(BadInput):
    """A file breaks a rule.

    `file` is a name without its folder, `row` counts data rows from 1 (None: the whole file).
    """

    def __init__(self, file: str, rule: str, row: int | None = None) -> None:
        where = f"{file}" if row is None else f"{file}, row {row}"
        super().__init__(f"{where}: {rule}")
        self.file, self.rule, self.row = file, rule, row


class FilesRefused(BadInput):
    """A night did all it had to, but for landed files that were refused whole."""


class BadRequest(BadInput):
    """A request of rights that the register cannot enter."""


class BadConfiguration(BadInput):
    """A parameter, a key or a workspace is not usable as configured."""


class WrongKey(BadConfiguration):
    """A key is not the one whose fingerprint the workspace recorded."""


class NotAWorkspace(BadConfiguration):
    """The folder holds no workspace."""


class OutsideFailure(LetheError):
    """A tool or a store below us failed."""

    exit_code = 3


class StoreUnavailable(OutsideFailure):
    """A register, database, cache or remote could not be opened or written."""


class Busy(OutsideFailure):
    """Another process holds the lock for longer than we were told to wait."""


class ArtifactCorrupt(OutsideFailure):
    """Stored bytes differ from the digest recorded for them."""


class RecipeFailed(OutsideFailure):
    """A fit failed, or every trial of a study did."""
