"""Whatever stands in a fact, the page holds: nothing runs, nobody is named, it does not break."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.reports.page import render
from lethe.reports.verdict import proof
from tests.fakes.night_report import Page, night
from tests.reports.changed import with_change

EVIL = "<script>alert('x')</script>\"&"


def test_text_from_outside_is_escaped_wherever_it_stands() -> None:
    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: poison(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [poison(inner) for inner in value]
        return value + EVIL if isinstance(value, str) else value

    facts = poison(night())
    facts["night"]["outcome"] = "refused"
    facts["intake"]["refused"] = {EVIL: 3}
    facts["comparisons"] |= {EVIL: {"difference": 1}}
    facts["trials"][0]["recipe"] = EVIL
    html = render(facts)
    page = Page(html)
    assert not page.all("script")
    assert EVIL in page.text("td")
    assert EVIL in page.text("th")
    assert html.count("<svg") == len(page.all("svg"))


def test_a_stray_id_in_a_request_stays_out_of_the_page() -> None:
    stray = {"user": "customer-4711", "tombstone": "f" * 64, "evidence": "e" * 64}
    html = render(with_change(lambda facts: facts["requests"]["rows"][0].update(stray)))
    assert not any(value in html for value in stray.values())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_a_fact_turns_out_to_be_the_page_stands(data: st.DataObject) -> None:
    facts = night()
    for _ in range(data.draw(st.integers(1, 4))):
        place: Any = facts
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
                place = place[key]
                continue
            place[key] = data.draw(json_values)
            break
    page = Page(render(facts))
    promoted = page.tone("verdict") == "good"
    assert not promoted or proof(facts).tone == "good"
