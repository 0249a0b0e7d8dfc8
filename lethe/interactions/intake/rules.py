"""What intake may take: which file is which table, whose column is which, and what to leave out.

These models are the `intake` section of params.yaml. The default is AWS Personalize's schema, so
an export of it loads with no configuration at all.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lethe.errors import BadFile
from lethe.interactions import columns as c
from lethe.interactions.intake.verdicts import Verdicts, mask

Kind: TypeAlias = Literal["interactions", "items", "users"]
KINDS: Final[tuple[Kind, ...]] = ("interactions", "items", "users")

_TESTS = ("equals", "starts_with", "matches", "not_matches", "below")
_Name = Annotated[str, Field(min_length=1, max_length=256)]


class _Rules(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class LandedFile:
    """A file that intake can read, and the table it belongs to. `bytes` is its size on disk."""

    path: Path
    name: str
    kind: Kind
    sha256: str
    bytes: int


class DropRule(_Rules):
    """Rows to leave out and count under `name`: one test on the export's own text.

    Exactly one test is given. `matches` and `not_matches` are RE2 expressions over the whole text;
    `below` holds for a finite number under the bound, and text that is no number is never below.

    >>> DropRule(name="cancelled", column="InvoiceNo", starts_with="C").column
    'InvoiceNo'
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9 _-]{0,62}$")
    column: _Name
    equals: str | None = None
    starts_with: str | None = Field(default=None, min_length=1)
    matches: str | None = None
    not_matches: str | None = None
    below: float | None = Field(default=None, allow_inf_nan=False)

    @field_validator("matches", "not_matches")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                c.matching(pa.array([""]), _whole(pattern))
            except pa.ArrowInvalid:
                raise ValueError("the pattern is not a valid RE2 expression") from None
        return pattern

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        given = [name for name in _TESTS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(_TESTS)} must be given")
        return self

    def take(self, texts: c.Array, verdicts: Verdicts) -> None:
        """Mark the rows whose text passes the test as dropped under `name`."""
        texts = pc.fill_null(texts, "")
        if self.equals is not None:
            holds = pc.equal(texts, self.equals)
        elif self.starts_with is not None:
            holds = pc.starts_with(texts, self.starts_with)
        elif self.below is not None:
            holds = pc.less(c.numbers(texts, Verdicts(len(texts))), self.below)
        elif self.matches is not None:
            holds = c.matching(texts, _whole(self.matches))
        else:
            holds = pc.invert(c.matching(texts, _whole(self.not_matches or "")))
        verdicts.take(mask(holds), self.name, drop=True)


def _whole(pattern: str) -> str:
    return rf"\A(?:{pattern})\z"


class TableRules(_Rules):
    """How one table is recognised and read.

    `files` are globs over file names. `header` names the columns of files that have no header
    line. `columns` maps our names to the export's; it replaces the default mapping as a whole.
    A `.tsv` file is split at tabs unless `delimiter` says otherwise.
    """

    required: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()

    files: tuple[_Name, ...] = Field(default=("*",), min_length=1)
    delimiter: str = Field(default=",", pattern=r'^[^"\r\n]$')
    header: tuple[_Name, ...] | None = Field(default=None, min_length=1)
    encoding: str = "utf-8"
    columns: dict[str, _Name] = Field(default_factory=dict)

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
            codecs.getincrementaldecoder(encoding)
        except LookupError:
            raise ValueError("no such text encoding") from None
        return encoding

    @model_validator(mode="after")
    def _columns_stand(self) -> Self:
        missing = set(self.required) - set(self.columns)
        unknown = set(self.columns) - {*self.required, *self.optional}
        if missing or unknown:
            allowed = ", ".join((*self.required, *self.optional))
            raise ValueError(f"columns must map {', '.join(self.required)}; it may map {allowed}")
        if self.header is not None and len(set(self.header)) != len(self.header):
            raise ValueError("header names a column twice")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """The export's columns without which a file is not this table."""
        return tuple(self.columns[name] for name in self.required)

    def delimiter_of(self, name: str) -> str:
        """The delimiter of a file: a tab where the name says so and nothing else was set."""
        tabs = name.endswith((".tsv", ".tsv.gz")) and self.delimiter == ","
        return "\t" if tabs else self.delimiter

    def header_in(self, line: str, name: str) -> tuple[str, ...]:
        """The column names in the header line of file `name`; BadFile if they are not usable."""
        try:
            names = next(csv.reader([line], delimiter=self.delimiter_of(name), strict=True), [])
        except csv.Error:
            raise BadFile(name, "its header line cannot be read") from None
        header = tuple(column.strip(" ") for column in names)
        if not all(column and column.isprintable() for column in header) or not header:
            raise BadFile(name, "its header holds a blank or unprintable name")
        return header


class InteractionRules(TableRules):
    """The interactions table.

    `timestamp_format` is "seconds" (whole Unix seconds) or a strptime format read as UTC.
    `strip_float_suffix` takes the ".0" off user ids that were exported as floats. `case_fold`
    makes user ids that differ in case one user. `drop` rules look at the export's text, before
    anything else does, in their order.
    """

    required: ClassVar[tuple[str, ...]] = (c.USER, c.ITEM, c.TIMESTAMP)
    optional: ClassVar[tuple[str, ...]] = (c.EVENT_TYPE, c.EVENT_VALUE, c.IMPRESSIONS, c.EVENT_ID)

    columns: dict[str, _Name] = {
        c.USER: "USER_ID",
        c.ITEM: "ITEM_ID",
        c.TIMESTAMP: "TIMESTAMP",
        c.EVENT_TYPE: "EVENT_TYPE",
        c.EVENT_VALUE: "EVENT_VALUE",
        c.IMPRESSIONS: "IMPRESSION",
        c.EVENT_ID: "EVENT_ID",
    }
    timestamp_format: str = Field(default="seconds", min_length=1, max_length=64)
    default_event_type: _Name = "interaction"
    drop: tuple[DropRule, ...] = ()
    blank_user: Literal["quarantine", "drop"] = "quarantine"
    strip_float_suffix: bool = False
    case_fold: bool = False

    @field_validator("timestamp_format")
    @classmethod
    def _directives(cls, value: str) -> str:
        if value != "seconds" and not re.search(r"%[a-zA-Z]", value):
            raise ValueError('timestamp_format is "seconds" or a strptime format')
        return value

    def user_ids(self, texts: c.Array, verdicts: Verdicts) -> c.Array:
        """Canonical user ids of a column, in the interactions and in the users' attributes."""
        if self.strip_float_suffix:
            texts = pc.replace_substring_regex(texts, r"\A( *[0-9]+)\.0( *)\z", r"\1\2")
        return c.canonical_ids(texts, verdicts, "user", case_fold=self.case_fold)

    @property
    def needs(self) -> tuple[str, ...]:
        """The required columns and those that a drop rule looks at, each once."""
        return tuple(dict.fromkeys((*super().needs, *(rule.column for rule in self.drop))))


class _AttributeRules(TableRules):
    """A key column; every other column, or those in `attributes`, is a string attribute."""

    attributes: tuple[_Name, ...] | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The key and the selected attributes."""
        return (*super().needs, *(self.attributes or ()))


class ItemRules(_AttributeRules):
    """The table of item attributes."""

    required: ClassVar[tuple[str, ...]] = (c.ITEM,)
    columns: dict[str, _Name] = {c.ITEM: "ITEM_ID"}


class UserRules(_AttributeRules):
    """The table of user attributes."""

    required: ClassVar[tuple[str, ...]] = (c.USER,)
    columns: dict[str, _Name] = {c.USER: "USER_ID"}


class IntakeRules(_Rules):
    """The `intake` section.

    `maximum_rows` and `maximum_file_bytes` (decompressed) bound one file; a file of which more
    than `maximum_refused_share` of the rows is refused is refused as a whole.
    """

    interactions: InteractionRules = InteractionRules()
    items: ItemRules = ItemRules()
    users: UserRules = UserRules()
    maximum_rows: int = Field(default=50_000_000, ge=1)
    maximum_file_bytes: int = Field(default=8 << 30, ge=1)
    maximum_refused_share: float = Field(default=0.5, ge=0, le=1)

    def kind_of(self, name: str, header: Callable[[TableRules], tuple[str, ...]]) -> Kind:
        """The table of file `name`; `header` reads its header by a table's rules, or BadFile.

        Raises:
            BadFile: it is none of our tables; says why for each.
        """
        reasons: dict[str, str] = {}
        for kind in KINDS:
            table: TableRules = getattr(self, kind)
            fault: str | None = "its globs do not match"
            try:
                if any(fnmatchcase(name, glob) for glob in table.files):
                    fault = self.misfit(kind, header(table))
            except BadFile as error:
                fault = error.rule
            if fault is None:
                return kind
            reasons.setdefault(fault, kind)
        told = [f"{kind}: {fault}" for fault, kind in reasons.items()]
        raise BadFile(name, f"no table of ours ({'; '.join(told)})" if told[1:] else fault or "")

    def misfit(self, kind: Kind, header: tuple[str, ...]) -> str | None:
        """Why a header is not this table's, or None.

        A file with both a user and an item column is interactions or nothing: as a table of items
        it would carry raw user ids into the data as an attribute.
        """
        if len(set(header)) != len(header):
            return "its header names a column twice"
        missing = [name for name in getattr(self, kind).needs if name not in header]
        if missing:
            return f"column {', '.join(missing)} is missing"
        foreign = {
            "interactions": set[str](),
            "items": {self.interactions.columns[c.USER], self.users.columns[c.USER]},
            "users": {self.interactions.columns[c.ITEM], self.items.columns[c.ITEM]},
        }[kind]
        crossed = sorted(foreign.intersection(header))
        return f"column {', '.join(crossed)} does not belong in it" if crossed else None
