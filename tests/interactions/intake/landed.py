"""Files that land in a folder, and what intake makes of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from lethe.interactions.columns import INTERACTIONS
from lethe.interactions.intake.reading import read_interactions, survey
from lethe.interactions.intake.rules import IntakeRules, LandedFile
from lethe.interactions.intake.verdicts import RefusedFile

HEADER = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE,EVENT_ID\n"
GOOD = "u1,i1,1000,view,1.5,e1\n"
DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"


def land(folder: Path, content: str | bytes, name: str = "day.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def only(folder: Path, rules: IntakeRules | None = None) -> LandedFile:
    (found,) = survey(folder, rules or IntakeRules())
    assert isinstance(found, LandedFile), found
    return found


def refusal(folder: Path, rules: IntakeRules | None = None) -> str:
    (found,) = survey(folder, rules or IntakeRules())
    assert isinstance(found, RefusedFile), found
    return found.rule


def read(
    folder: Path, rules: IntakeRules | None = None
) -> tuple[pa.Table, Counter[str], dict[int, str]]:
    """All rows, dropped counts, and refused rows as {row: rule}; checks that nothing is lost."""
    rules = rules or IntakeRules()
    tables, dropped, refused, total = [], Counter[str](), {}, 0
    for batch in read_interactions(only(folder, rules), rules):
        assert batch.table.schema == INTERACTIONS
        assert batch.rows_read == batch.table.num_rows + sum(batch.dropped.values()) + len(
            batch.refused
        )
        tables.append(batch.table)
        dropped.update(batch.dropped)
        refused.update({row.row: row.rule for row in batch.refused})
        total += batch.rows_read
    return pa.concat_tables(tables), dropped, refused


def lenient(**kwargs: Any) -> IntakeRules:
    return IntakeRules.model_validate({"maximum_refused_share": 1, **kwargs})
