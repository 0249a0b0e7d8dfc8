"""The report says what is known, and claims nothing else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from lethe.reports.page import render
from lethe.reports.verdict import proof
from tests.fakes.night_report import ARTIFACT, CERTIFICATE, CLAIM, DATA, Page, night
from tests.reports.changed import with_change


def without_leaves(value: Any) -> Any:
    """The same shape with every leaf None."""
    if isinstance(value, dict):
        return {key: without_leaves(inner) for key, inner in value.items()}
    return [without_leaves(inner) for inner in value] if isinstance(value, list) else None


def test_a_promoted_night_tells_what_on_what_how_good_and_the_proof() -> None:
    page = Page(render(night()))
    text = page.text()
    assert page.tone("verdict") == "good"
    for fact in (
        "Promoted: version 2 is the new champion",
        "It replaces version 1.",
        "factors 64, alpha 12.4",
        DATA,
        "110,102",
        "NDCG@10 0.1423",
        "1.29 times the best baseline, similar items",
        "The champion has 0.1398 on the same test: no clear difference.",
        "better, beyond chance",
        "21 of 100 tries",
        "Proved: all 6 layers of verification passed",
        CLAIM,
        CERTIFICATE,
        ARTIFACT,
        "lethe certificate check FILE --key PUBLIC",
        "blank id",
        "People out of training",
        "Erase (Art. 17)",
        "verified, old copies not destroyed yet",
        "2026-05-30",
        "Haswell",
        "3 min 30 s",
        "84 %",
    ):
        assert fact in text, fact
    order = [
        text.index(part) for part in ("How good it is", "The proof that", "Requests of people")
    ]
    assert text.index("Promoted:") < order[0] < order[1] < order[2]


def test_the_same_facts_give_the_same_page() -> None:
    assert render(night()) == render(night())


def test_a_recipe_without_equations_is_proved_by_three_layers() -> None:
    def three(facts: dict[str, Any]) -> None:
        facts["certificate"]["recipe"] = "lightfm"
        del facts["certificate"]["layers"][3:]

    assert "Proved: all 3 layers of verification passed" in Page(render(with_change(three))).text()


@pytest.mark.parametrize(
    ("recipe", "required", "kept", "proved"),
    [
        ("pure_svd", ["structure", "manifest", "replay"], 3, True),
        ("pure_svd", ["replay"], 3, True),
        ("pure_svd", None, 3, False),
        ("pure_svd", ["replay"], 2, False),
        ("als", ["structure", "manifest", "replay"], 3, False),
    ],
)
def test_a_recipe_that_names_its_layers_is_proved_by_those_and_never_by_less(
    recipe: str, required: list[str] | None, kept: int, proved: bool
) -> None:
    def named(facts: dict[str, Any]) -> None:
        facts["certificate"] |= {"recipe": recipe, "required": required}
        del facts["certificate"]["layers"][kept:]

    assert (proof(with_change(named)).tone == "good") is proved


def test_the_data_are_told_by_dates_kinds_completeness_and_cardinality() -> None:
    text = Page(render(night())).text()
    for fact in (
        "From 1 January 2025, 00:00 UTC",
        "Kinds of events 3",
        "purchase 22,000",
        "And 412 rows of other kinds.",
        "interactions event_value 20 % not counted less than 70 % complete",
        "items brand 98 % 311 more than 30 categories",
        "items category 100 % 12 no",
    ):
        assert fact in text, fact


def test_popularity_stands_beside_coverage_with_its_meaning() -> None:
    text = Page(render(night())).text()
    assert "Coverage Popularity" in text
    assert "had a recommended item already" in text


def test_the_studies_are_drawn() -> None:
    text = Page(render(night())).text()
    assert "ALS (matrix factorisation): how much each hyper-parameter" in text


def test_a_layers_controls_and_what_would_help_are_told() -> None:
    def silent(facts: dict[str, Any]) -> None:
        facts["certificate"]["verdict"] = "INCONCLUSIVE"
        facts["certificate"]["layers"][5] |= {
            "conclusive": False,
            "passed": False,
            "advice": "more iterations",
            "controls": [
                {"name": "members", "wanted": "at least 99%", "found": "7 of 400", "passed": False}
            ],
        }

    text = Page(render(with_change(silent))).text()
    for fact in ("members: 7 of 400 (wanted: at least 99%)", "What would help: more iterations"):
        assert fact in text, fact


def test_a_page_without_facts_says_so_and_claims_nothing() -> None:
    page = Page(render({}))
    assert page.tone("verdict") == "warn"
    assert "Treat it as not promoted" in page.text()
    assert "Not proved: no certificate is at hand" in page.text()
    assert "good" not in Counter(a.get("class", "") for _, a in page.elements)
    for told in ("leaderboard", "comparison", "trial", "purge", "timings", "data version"):
        assert re.search(rf"No {told}s? (was|were) recorded", page.text()), told


@pytest.mark.parametrize("part", sorted(night()))
@pytest.mark.parametrize("absent", [None, {}, [], "?", 7], ids=repr)
def test_any_part_may_be_missing_or_of_another_shape(part: str, absent: Any) -> None:
    page = Page(render(with_change(lambda facts: facts.update({part: absent}))))
    assert "None" not in page.text()
    if part == "certificate":
        assert page.tone("verdict") == "bad"
        assert "Promoted without proof" in page.text()


def test_missing_leaves_are_not_recorded_and_never_none_or_nan() -> None:
    page = Page(render(without_leaves(night())))
    assert not re.search(r"\b(None|nan|Undefined)\b", page.text())
    assert "not recorded" in page.text()
    assert page.tone("verdict") == "warn"


def certificate(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda facts: facts["certificate"].update(changes)


def layer(number: int, **changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda facts: facts["certificate"]["layers"][number].update(changes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda facts: facts.pop("certificate"), "no certificate is at hand"),
        (certificate(verdict="REFUSED"), "verification refused"),
        (certificate(verdict="INCONCLUSIVE"), "inconclusive"),
        (certificate(verdict=None), "states no verdict"),
        (certificate(verdict="verified"), "states no verdict"),
        (certificate(layers=[]), "layer structure is missing"),
        (certificate(layers=None), "layer replay is missing"),
        (lambda facts: facts["certificate"]["layers"].pop(), "layer contribution is missing"),
        (lambda facts: facts["certificate"]["layers"].pop(2), "layer replay is missing"),
        (certificate(recipe=None, layers=[]), "layer contribution is missing"),
        (layer(1, passed=False), "layer manifest did not pass"),
        (layer(1, passed=None), "layer manifest did not pass"),
        (layer(1, passed="yes"), "layer manifest did not pass"),
        (layer(2, conclusive=False), "layer replay could not answer"),
        (certificate(digest=""), "digest is missing"),
        (certificate(artifact_digest=None), "artifact digest is missing"),
        (certificate(register_position=None), "register position is missing"),
        (certificate(data_version="e" * 32 + ".dir"), "another data version"),
        (certificate(register_position=13), "up to position 13"),
    ],
)
def test_a_certificate_that_does_not_bear_it_out_never_looks_like_success(
    change: Callable[[dict[str, Any]], Any], told: str
) -> None:
    page = Page(render(with_change(change)))
    assert page.tone("verdict") == "bad"
    assert page.tone("tone") in ("bad", "warn")
    assert "Proved:" not in page.text()
    assert told in page.text()
    assert "The certificate claims, in these words" not in page.text()


@pytest.mark.parametrize(
    ("outcome", "tone", "told"),
    [
        ("refused", "bad", "Refused: version 2 was not promoted"),
        ("nothing new", "idle", "Nothing new"),
        ("failed", "bad", "Failed: the night broke off"),
        ("PROMOTED", "warn", "No outcome was recorded"),
    ],
)
def test_only_a_promotion_looks_like_one(outcome: str, tone: str, told: str) -> None:
    def change(facts: dict[str, Any]) -> None:
        facts["night"].update(outcome=outcome, reasons=["the register moved on"])

    page = Page(render(with_change(change)))
    assert page.tone("verdict") == tone
    assert told in page.text()
    assert "the register moved on" in page.text()
    assert "new champion" not in page.text()


@pytest.mark.parametrize(
    ("part", "fact", "told"),
    [
        ("retired", {"champion_holds_erased": True}, "trained on a person who has since been"),
        ("retired", {"hits": 2}, "still found 2 traces of the erased"),
        ("requests", {"overdue": 1}, "1 request is overdue"),
        ("quality", {"accepted": False}, "although the quality rule refused it"),
    ],
)
def test_what_needs_a_person_is_an_alarm_on_top(part: str, fact: dict[str, Any], told: str) -> None:
    assert Page(render(night())).tone("alarms") == ""
    page = Page(render(with_change(lambda facts: facts[part].update(fact))))
    assert page.tone("alarms") == "bad"
    assert told in page.text()
    assert page.text().index(told) < page.text().index("How good it is")


def test_a_search_that_did_not_happen_is_no_clean_search() -> None:
    page = Page(render(with_change(lambda facts: facts["retired"].update(searched_files=0))))
    assert "that nothing was found says nothing" in page.text()


def test_rows_that_the_bars_do_not_explain_are_told() -> None:
    assert "differ from the rows read" not in render(night())
    page = Page(render(with_change(lambda facts: facts["intake"].update(rows_new=3900))))
    assert "differ from the rows read by 2:" in page.text()


def test_a_missing_count_is_no_unexplained_row() -> None:
    page = Page(render(with_change(lambda facts: facts["split"].update(dropped=None))))
    assert "unexplained" not in page.text()
