"""The pictures of a study show its trials, its best so far, and the weights of its parameters."""

from __future__ import annotations

import copy
import itertools
import json
import re
import sys
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.durable import read_json
from lethe.reports.studies import figures, page, pictures
from lethe.reports.studies.pictures import Tried
from tests.fakes.night_report import Page, night
from tests.watched import Shop, run

VALUES = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(VALUES, st.booleans()), max_size=12))
def test_whatever_the_values_the_picture_stands_and_every_trial_is_in_it(
    trials: list[tuple[float, bool]],
) -> None:
    tried = [Tried(place, value, done) for place, (value, done) in enumerate(trials)]
    root = ElementTree.fromstring(pictures.history("h", "<t>", tried))  # noqa: S314
    dots = list(root.iter("{http://www.w3.org/2000/svg}circle"))

    assert len(dots) == sum(done for _, done in trials)
    assert all(0 <= float(dot.attrib["cx"]) <= 348 for dot in dots)
    assert all(0 <= float(dot.attrib["cy"]) <= 216 for dot in dots)


def test_the_best_so_far_never_falls_and_a_pruned_trial_does_not_raise_it() -> None:
    values = [0.2, 0.1, 0.3, 0.25]
    tried = [Tried(place, value, True) for place, value in enumerate(values)]
    drawn = pictures.history("h", "t", [*tried, Tried(4, 0.9, False)])
    [line] = re.findall(r'class="curve best" d="(.*?)"', drawn)
    heights = [float(y) for y in re.findall(r"(?:M[\d.]+ |V)([\d.]+)", line)]

    assert all(later <= earlier for earlier, later in itertools.pairwise(heights))
    assert heights[0] > heights[-1]
    assert "The best went from 0.2000 to 0.3000." in drawn


def test_a_bar_is_as_long_as_its_share() -> None:
    drawn = pictures.importance("i", "t", [("alpha", 0.75), ("factors", 0.25)])
    wide = [float(width) for width in re.findall(r'class="bar"[^>]* width="([\d.]+)"', drawn)]

    assert abs(wide[0] / wide[1] - 3) < 0.01
    assert "alpha: 75 %; factors: 25 %" in drawn


def test_the_page_tells_each_recipe_and_which_one_has_too_few_trials() -> None:
    seen = Page(page.render(night(), "Studies"))

    assert len(seen.all("svg")) == 3
    assert "ALS (matrix factorisation): how much each hyper-parameter" in seen.text()
    assert "Which hyper-parameter of lightfm moved the value is not told" in seen.text()


def test_without_trials_it_says_so() -> None:
    facts = copy.deepcopy(night())
    facts["trials"] = []

    assert "No trial was recorded." in Page(page.render(facts, "Studies")).text()


def test_dvc_shows_the_leaderboard_and_the_trials_of_the_last_night(small_night: Shop) -> None:
    def dvc(*arguments: str) -> str:
        done = run(
            (sys.executable, "-m", "dvc", *arguments), small_night.root, small_night.connections
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = json.loads(dvc("metrics", "show", "--json"))
    [shown] = told[""]["data"].values()
    night = read_json(next(small_night.root.glob(".lethe/reports/????-*.json")))
    assert shown["data"] == {row["name"]: row["means"] for row in night["leaderboard"]}
    assert {"lightfm", "popular"} <= shown["data"].keys()
    [curves] = small_night.root.glob(".lethe/reports/dvc/curves.csv")
    assert curves.read_text(encoding="utf-8") == figures.curves(night)
    assert dvc("status").strip() == "Data and pipelines are up to date."
