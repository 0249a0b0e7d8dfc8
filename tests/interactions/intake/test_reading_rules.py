"""What the rules of an export say of its rows: which are dropped, and what its times mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from lethe.interactions.intake.rules import DropRule, IntakeRules
from tests.interactions.intake.landed import land, lenient, read


def test_drop_rules_look_at_the_exports_text_in_their_order(tmp_path: Path) -> None:
    columns = {"user": "who", "item": "what", "timestamp": "when", "event_value": "qty"}
    rules = lenient(
        interactions={
            "columns": columns,
            "timestamp_format": "%Y-%m-%d %H:%M:%S",
            "default_event_type": "purchase",
            "blank_user": "drop",
            "strip_float_suffix": True,
            "drop": [
                {"name": "cancelled", "column": "no", "starts_with": "C"},
                {"name": "not positive", "column": "qty", "below": 1},
                {"name": "no product", "column": "what", "not_matches": r"[0-9]{5}[A-Z]*"},
            ],
        }
    )
    land(
        tmp_path,
        "no,who,what,when,qty\n"
        "1,17850.0,85123A,2010-12-01 08:26:00,6\n"
        "C2,17850.0,85123A,2010-12-01 08:26:00,-6\n"
        "3,17850.0,85123A,2010-12-01 08:26:00,-6\n"
        "4,17850.0,POST,2010-12-01 08:26:00,1\n"
        "5,,85123A,2010-12-01 08:26:00,1\n"
        "6,17850.5,85123A,2011-02-30 08:26:00,1\n",
    )
    table, dropped, refused = read(tmp_path, rules)
    assert dropped == {"cancelled": 1, "not positive": 1, "no product": 1, "blank user": 1}
    assert refused == {6: "timestamp: not in the configured format"}  # 30 February
    assert table.select(["user", "timestamp", "event_type", "event_value"]).to_pylist() == [
        {"user": "17850", "timestamp": 1291191960, "event_type": "purchase", "event_value": 6.0}
    ]


@pytest.mark.parametrize(
    ("text", "form", "seconds"),
    [
        ("12/1/2010 8:26", "%m/%d/%Y %H:%M", 1291191960),
        ("2010-12-01T08:26:00Z", "%Y-%m-%dT%H:%M:%SZ", 1291191960),
        ("2010-12-01 09:26:00+0100", "%Y-%m-%d %H:%M:%S%z", 1291191960),
    ],
)
def test_times_in_a_format_are_read_as_utc(
    tmp_path: Path, text: str, form: str, seconds: int
) -> None:
    land(tmp_path, f"USER_ID,ITEM_ID,TIMESTAMP\nu,i,{text}\n")
    rules = IntakeRules.model_validate({"interactions": {"timestamp_format": form}})
    assert read(tmp_path, rules)[0].column("timestamp").to_pylist() == [seconds]


def test_rules_refuse_what_they_do_not_understand() -> None:
    for wrong in (
        {"interactions": {"columns": {"user": "U"}}},
        {"interactions": {"unknown": 1}},
        {"interactions": {"encoding": "klingon"}},
        {"interactions": {"timestamp_format": "iso"}},
        {"items": {"header": ["a", "a"]}},
        {"maximum_rows": 0},
    ):
        with pytest.raises(ValidationError):
            IntakeRules.model_validate(wrong)
    for tests in ({}, {"equals": "a", "below": 1}, {"matches": "("}):
        with pytest.raises(ValidationError):
            DropRule.model_validate({"name": "x", "column": "y", **tests})
