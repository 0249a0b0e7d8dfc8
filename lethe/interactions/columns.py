"""The columns of an interaction, and how an export's text becomes each of them.

Everything here works on one block of rows as Arrow string columns. A row that breaks a rule is
marked in `Verdicts`, never changed and never lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lethe.interactions.intake import plain
from lethe.interactions.intake.verdicts import RefusedRow, Verdicts, mask
from lethe.interactions.rights.identity import canonical_id, id_fault

USER: Final = "user"
ITEM: Final = "item"
TIMESTAMP: Final = "timestamp"
EVENT_TYPE: Final = "event_type"
EVENT_VALUE: Final = "event_value"
IMPRESSIONS: Final = "impressions"
EVENT_ID: Final = "event_id"

#: One row per event. `timestamp` is Unix seconds; `user` is a pseudonym everywhere below intake.
INTERACTIONS: Final = pa.schema(
    [
        (USER, pa.string()),
        (ITEM, pa.string()),
        (TIMESTAMP, pa.int64()),
        (EVENT_TYPE, pa.string()),
        (EVENT_VALUE, pa.float64()),
        (IMPRESSIONS, pa.string()),
        (EVENT_ID, pa.string()),
    ]
)
#: The columns that are never null.
REQUIRED: Final = (USER, ITEM, TIMESTAMP, EVENT_TYPE)
#: 2100-01-01 in Unix seconds. A time from here on is a time in milliseconds (or finer).
TIMESTAMP_LIMIT: Final = 4_102_444_800

Array: TypeAlias = Any  # a pyarrow array; pyarrow ships no types
Numbers: TypeAlias = npt.NDArray[np.int64]

# Printable ASCII without outer spaces needs no look by the slow rules of `identity`.
_PLAIN = r"\A[!-~](?:[ -~]*[!-~])?\z"
_PLAIN_FOLDED = r"\A[!-@\[-~]+\z"
_PLAIN_BYTES = 256
_NUMBER = r"\A[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\z"
_NOT_FINITE = r"(?i)\A[+-]?(?:nan|inf|infinity)\z"
_CONTROL = r"[\p{Cc}\p{Cf}]"


@dataclass(frozen=True, repr=False)
class Block:
    """Rows of a file as text, by the export's names.

    `rows` are the file's numbers of the rows in `table`; `line(i)` shows row i of it as it came.
    `refused` and `blanks` are lines that did not become rows; `epochs` names the columns of times
    that are Unix seconds already.
    """

    table: pa.Table
    rows: Numbers
    line: Callable[[int], str]
    refused: tuple[RefusedRow, ...] = ()
    blanks: int = 0
    epochs: frozenset[str] = frozenset()

    @property
    def read(self) -> int:
        """How many lines or rows of the file this block accounts for."""
        return int(self.table.num_rows) + len(self.refused) + self.blanks

    def text(self, column: str) -> Array:
        """One column as a single array of strings."""
        return self.table.column(column).combine_chunks()


def blank(texts: Array) -> Array:
    """True where a text is null or holds nothing but ASCII spaces."""
    return pc.equal(pc.fill_null(pc.utf8_trim(texts, characters=" "), ""), "")


def matching(texts: Array, pattern: str) -> Array:
    """True where the RE2 `pattern` is found in the text; null where the text is null."""
    return pc.match_substring_regex(texts, pattern)


def canonical_ids(
    texts: Array, verdicts: Verdicts, what: str = ITEM, *, case_fold: bool = False
) -> Array:
    """Canonical ids of a column (see `lethe.interactions.rights.identity`), faults marked.

    Plain ASCII ids are their own canonical form; the others go through the one definition, each
    distinct text once. A test holds the short way to the long one.
    """
    capitals = case_fold and pc.any(matching(texts, "[A-Z]")).as_py()
    if plain.every(texts, _PLAIN_BYTES) and not capitals:
        return texts
    texts = pc.fill_null(texts, "")
    verdicts.take(mask(blank(texts)), f"{what}: blank id")
    own = matching(texts, _PLAIN_FOLDED if case_fold else _PLAIN)
    own = pc.and_(own, pc.less_equal(pc.binary_length(texts), _PLAIN_BYTES))
    others = pc.unique(pc.filter(texts, pc.invert(own)))
    if not len(others):
        return texts
    forms: list[str] = []
    faults: dict[str, list[str]] = {}
    for text in others.to_pylist():
        fault = id_fault(text, case_fold)
        forms.append(text if fault else canonical_id(text, case_fold=case_fold))
        if fault:
            faults.setdefault(fault, []).append(text)
    for fault, faulty in sorted(faults.items()):
        found = pc.is_in(texts, value_set=pa.array(faulty, pa.string()))
        verdicts.take(mask(found), f"{what}: {fault}")
    place = pc.index_in(texts, value_set=others)
    return pc.coalesce(pc.take(pa.array(forms, pa.string()), place), texts)


def as_text(column: Array) -> Array | None:
    """A parquet column as text, exactly; None where the type has no exact text.

    Integers become decimal digits and times become Unix seconds, rounded down.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_timestamp(kind):
        column = pc.floor_temporal(column, unit="second").cast(pa.timestamp("s")).cast(pa.int64())
    exact = (
        *(pa.types.is_string, pa.types.is_large_string, pa.types.is_null, pa.types.is_timestamp),
        *(pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_date),
    )
    return column.cast(pa.string()) if any(test(kind) for test in exact) else None


def unfolded_bytes(column: Array) -> int:
    """The size of a column once its dictionary, if it has one, is unfolded."""
    if pa.types.is_dictionary(column.type) and pa.types.is_string(column.type.value_type):
        lengths = pc.take(pc.binary_length(column.dictionary), column.indices)
        return int(pc.sum(lengths).as_py() or 0) + 8 * len(column)
    return int(column.nbytes)


def seconds(texts: Array, timestamp_format: str, verdicts: Verdicts) -> Array:
    """Unix seconds (int64) of a column of times; 0 where a row is marked."""
    if timestamp_format == "seconds" and plain.every(texts, 18, ord("0"), ord("9")):
        times = pc.cast(texts, pa.int64())
    else:
        times = _slow_seconds(pc.fill_null(texts, ""), timestamp_format, verdicts)
    late = mask(pc.greater_equal(times, TIMESTAMP_LIMIT))
    verdicts.take(late, "timestamp: from 2100 on, probably milliseconds")
    return times


def _slow_seconds(texts: Array, timestamp_format: str, verdicts: Verdicts) -> Array:
    verdicts.take(mask(blank(texts)), "timestamp: blank")
    if timestamp_format == "seconds":
        verdicts.take(mask(matching(texts, r"\A-[0-9]+(?:\.[0-9]+)?\z")), "timestamp: negative")
        whole_number = matching(texts, r"\A[0-9]{1,18}\z")
        verdicts.take(~mask(whole_number), "timestamp: not a whole number of seconds")
        return pc.cast(pc.if_else(whole_number, texts, "0"), pa.int64())
    times = _parsed(texts, timestamp_format)
    verdicts.take(mask(pc.is_null(times)), "timestamp: not in the configured format")
    times = pc.fill_null(times, 0)
    verdicts.take(mask(pc.less(times, 0)), "timestamp: negative")
    return times


def _parsed(texts: Array, timestamp_format: str) -> Array:
    """Times in a strptime format, UTC; null where the text is no such time.

    Arrow's parser turns 30 February into 2 March, so only what prints back as it was read is
    taken from it; Python's stricter parser reads the other distinct texts.
    """
    distinct = pc.unique(texts)
    known: Array = pa.nulls(len(distinct), pa.int64())
    if "%z" not in timestamp_format.lower():
        quick = pc.strptime(distinct, format=timestamp_format, unit="s", error_is_null=True)
        same = pc.equal(pc.strftime(quick, format=timestamp_format), distinct)
        known = pc.if_else(pc.fill_null(same, False), pc.cast(quick, pa.int64()), known)
    slow = pc.is_null(known)
    times = [_parsed_slowly(text, timestamp_format) for text in distinct.filter(slow).to_pylist()]
    if times:
        known = pc.replace_with_mask(known, slow, pa.array(times, pa.int64()))
    return pc.take(known, pc.index_in(texts, value_set=distinct))


def _parsed_slowly(text: str, timestamp_format: str) -> int | None:
    try:
        time = datetime.strptime(text, timestamp_format)  # noqa: DTZ007 - the zone is set below
        return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None


def numbers(texts: Array, verdicts: Verdicts) -> Array:
    """float64 of a column of numbers; null where blank, and where a row is marked."""
    if texts.null_count == len(texts):
        return pa.nulls(len(texts), pa.float64())
    texts = pc.if_else(blank(texts), pa.scalar(None, pa.string()), pc.utf8_trim(texts, " "))
    verdicts.take(mask(matching(texts, _NOT_FINITE)), "event value: not finite")
    number = matching(texts, _NUMBER)
    verdicts.take(mask(pc.invert(number)), "event value: not a number")
    values = pc.cast(
        pc.if_else(pc.fill_null(number, False), texts, pa.scalar(None, pa.string())), pa.float64()
    )
    verdicts.take(mask(pc.invert(pc.is_finite(values))), "event value: not finite")
    # -0.0 and 0.0 are equal and have different bytes: adding 0 leaves only 0.0
    return pc.add(values, 0.0)


def optional_text(texts: Array, what: str, limit: int, verdicts: Verdicts) -> Array:
    """A string column; blank becomes null, more than `limit` bytes or a control mark a row."""
    if texts.null_count == len(texts) or plain.every(texts, limit):
        return texts
    texts = pc.if_else(blank(texts), pa.scalar(None, pa.string()), pc.utf8_trim(texts, " "))
    verdicts.take(mask(pc.greater(pc.binary_length(texts), limit)), f"{what}: too long")
    verdicts.take(mask(matching(texts, _CONTROL)), f"{what}: control or zero-width character")
    return texts


def typed(
    users: Array, texts: Mapping[str, Array], form: str, event_type: str, verdicts: Verdicts
) -> pa.Table:
    """Turn text columns by our names into the kept rows in schema INTERACTIONS.

    `users` are canonical ids, `form` is the times' format, `event_type` stands where there is
    none. `texts` has at least item and timestamp; another column that is absent is null.
    """
    absent = pa.nulls(len(users), pa.string())

    def text(name: str, limit: int) -> Array:
        what = name.replace("_", " ")
        return optional_text(texts.get(name, absent), what, limit, verdicts)

    columns = {
        USER: users,
        ITEM: canonical_ids(texts[ITEM], verdicts),
        TIMESTAMP: seconds(texts[TIMESTAMP], form, verdicts),
        EVENT_TYPE: pc.fill_null(text(EVENT_TYPE, _PLAIN_BYTES), event_type),
        EVENT_VALUE: numbers(texts.get(EVENT_VALUE, absent), verdicts),
        IMPRESSIONS: text(IMPRESSIONS, 16_384),
        EVENT_ID: text(EVENT_ID, _PLAIN_BYTES),
    }
    table, kept = pa.table(columns, schema=INTERACTIONS), verdicts.kept()
    return table if kept.all() else table.filter(pa.array(kept))
