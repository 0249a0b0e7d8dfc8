"""The short ways of reading give what the long ones give: same texts, same verdicts, same lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import BadFile
from lethe.interactions import columns as c
from lethe.interactions.intake import lines, plain, reading
from lethe.interactions.intake.reading import ReadingAhead, read_interactions, survey
from lethe.interactions.intake.rules import IntakeRules, InteractionRules, LandedFile
from lethe.interactions.intake.verdicts import Verdicts
from tests.interactions.intake.landed import GOOD, HEADER, land

TEXT = st.one_of(
    st.sampled_from(["", " ", "a", "A b", " a", "a ", "~!", "12", "-3", "007", "9" * 18, "9" * 19]),
    st.text(st.characters(min_codepoint=0x1F, max_codepoint=0x7F), max_size=4),
    st.text(st.sampled_from("aé\u0301\u200b\x07 A1"), max_size=4),
    st.sampled_from(["a" * 256, "a" * 257]),
)
TEXTS = st.lists(st.one_of(TEXT, st.none()), max_size=5)


def outcomes(texts: list[str | None]) -> list[object]:
    """What every rule about texts makes of a column, and which rows it takes."""
    column, found = pa.array(["x", *texts], pa.string()).slice(1), list[object]()
    rules: tuple[Callable[[Verdicts], pa.Array], ...] = (
        lambda v: c.canonical_ids(column, v),
        lambda v: c.canonical_ids(column, v, "user", case_fold=True),
        lambda v: c.seconds(column, "seconds", v),
        lambda v: c.optional_text(column, "event type", 3, v),
        lambda v: c.numbers(column, v),
    )
    for rule in rules:
        verdicts = Verdicts(len(column))
        made = rule(verdicts)
        kept = verdicts.kept()
        found += [made.filter(pa.array(kept)).to_pylist(), made.type, verdicts.refused()]
    return found


@given(texts=TEXTS)
@settings(max_examples=150, deadline=None)
def test_a_column_that_is_plain_is_what_the_slow_rules_make_of_it(texts: list[str | None]) -> None:
    quick = outcomes(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "every", lambda *_: False)
        assert outcomes(texts) == quick


@pytest.mark.parametrize("cut", ["length", "first", "last", "space"])
def test_whoever_looks_at_less_of_a_column_is_found_out(cut: str) -> None:
    """Each half of the look is needed: what it lets through, the slow rules change or refuse."""
    faulty = {"length": "a" * 257, "first": "a\x07", "last": "e\u0301", "space": " a"}[cut]
    assert not plain.every(pa.array([faulty]), 256)
    assert outcomes([faulty])[0] != [faulty]


@given(parts=st.lists(st.sampled_from(['a,"b",c', "a,b,c", ",", '"', "\n", "\r", "é"]), max_size=9))
@settings(max_examples=150, deadline=None)
def test_a_block_without_odd_lines_is_read_as_line_by_line(parts: list[str]) -> None:
    body = ("".join(parts) + "\n").encode()

    def told() -> object:
        try:
            block = lines._text_block("f", body, 7, InteractionRules(), ("u", "i", "t"))
        except BadFile as error:
            return error.rule
        shown = [block.line(index) for index in range(block.table.num_rows)]
        return block.table.to_pylist(), block.rows.tolist(), shown, block.refused, block.blanks

    quick = told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_ODD", (b"",))
        assert told() == quick


def test_files_read_ahead_give_their_batches_and_their_faults(tmp_path: Path) -> None:
    for number in range(6):
        land(tmp_path, HEADER + GOOD * (number + 1), f"{number}.csv")
    land(tmp_path, HEADER + GOOD + ",i,1,view,1,\n" * 9, "3.csv")
    rules = IntakeRules()
    files = [file for file in survey(tmp_path, rules) if isinstance(file, LandedFile)]
    ahead = ReadingAhead(files[1:], rules)
    for place, file in enumerate(files):
        if place == 2:
            continue  # passed over
        if place == 3:
            with pytest.raises(BadFile, match="9 of 10 rows refused"):
                list(ahead.of(file))
            continue
        found = [batch.table for batch in ahead.of(file)]
        assert found == [batch.table for batch in read_interactions(file, rules)]
    ahead.close()
    assert reading._AHEAD > 1
