"""Tables of attributes as they land."""

from __future__ import annotations

from pathlib import Path

import pytest

from lethe.errors import BadFile
from lethe.interactions.intake.reading import read_attributes
from lethe.interactions.intake.rules import IntakeRules
from tests.interactions.intake.landed import land, only


def test_attributes_are_strings_by_canonical_key(tmp_path: Path) -> None:
    land(tmp_path, "ITEM_ID,GENRE,YEAR\n2, ,01995\n1,a|b,1996\n1,a|b,1996\n", "items.csv")
    table = read_attributes(only(tmp_path), IntakeRules(), "items")
    assert table.to_pylist() == [
        {"item": "1", "GENRE": "a|b", "YEAR": "1996"},
        {"item": "2", "GENRE": None, "YEAR": "01995"},
    ]


def test_user_attributes_meet_the_same_folding_as_the_interactions(tmp_path: Path) -> None:
    rules = IntakeRules.model_validate(
        {"interactions": {"strip_float_suffix": True, "case_fold": True}}
    )
    land(tmp_path, "USER_ID,AGE\n17850.0,20\nANNA,30\n", "users.csv")
    table = read_attributes(only(tmp_path, rules), rules, "users")
    assert table.column("user").to_pylist() == ["17850", "anna"]


@pytest.mark.parametrize(
    "body", ["1,a\n1,b\n", ",a\n", "1,a,b\n", "1\u200b,a\n", '1,"a\n'], ids=str.__len__
)
def test_a_fault_refuses_an_attribute_table(tmp_path: Path, body: str) -> None:
    land(tmp_path, "ITEM_ID,GENRE\n" + body, "items.csv")
    with pytest.raises(BadFile):
        read_attributes(only(tmp_path), IntakeRules(), "items")
