"""Layer 6 by itself: who counts as found, what the controls must show, and every word told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lethe.gate.proof.als import presence
from lethe.gate.proof.als.presence import ADVICE, Group, contribution
from lethe.gate.proof.report import Cloud, LayerResult

NAN = float("nan")
ABOVE = np.inf


def group(alone: list[float], joint: list[float], name: str = "erased", **more: Any) -> Group:
    lengths = np.arange(1, len(alone) + 1)
    return Group(name, np.array(alone, dtype=float), np.array(joint, dtype=float), lengths, **more)


def test_a_group_tells_how_many_their_extremes_and_who_could_not_be_measured() -> None:
    assert group([0.1] * 9, [0.1, -0.2, NAN, 0.3, NAN, 0.25, NAN, NAN, 0.0]).told() == (
        "9 erased: a -0.200 to 0.300, cohort p 1, 4 without a measurable contribution"
    )
    assert group([0.1], [0.1], chance=0.0213).told() == "1 erased: a 0.100 to 0.100, cohort p 0.021"
    assert group([NAN] * 2, [NAN] * 2).told() == "2 erased: 2 without a measurable contribution"


@pytest.mark.parametrize(
    ("alone", "joint", "lowest"),
    [
        ([0.2, 0.3], [0.4, 0.5], 0.0),
        ([-0.2, NAN], [0.4, -0.1], -0.2),
        ([0.2, NAN], [-0.7, 0.1], -0.7),
        ([NAN, NAN], [NAN, NAN], 0.0),
    ],
)
def test_the_lowest_of_a_group_is_of_both_ways_to_measure_and_never_above_nought(
    alone: list[float], joint: list[float], lowest: float
) -> None:
    assert group(alone, joint).lowest() == lowest


@pytest.mark.parametrize(("lowest", "holds"), [(-0.5, False), (-0.49, True), (0.0, True)])
def test_nobody_may_be_in_the_factors_far_less_than_not_at_all(lowest: float, holds: bool) -> None:
    control = presence._lowest([group([0.1], [0.2]), group([0.1], [lowest], "canary")])
    assert (control.passed, control.wanted, control.found) == (holds, "above -0.5", f"{lowest:.3f}")


@pytest.mark.parametrize(
    ("right", "unknown", "passed", "found"),
    [
        (0, 0, False, "0 of 0"),
        (0, 3, False, "0 of 0"),
        (1, 0, True, "1 of 1, median 1.000"),
        (99, 0, True, "99 of 100, median 1.000"),
        (98, 0, False, "98 of 100, median 1.000"),
        (99, 7, True, "99 of 100, median 1.000"),
    ],
)
def test_a_control_holds_where_ninety_nine_of_a_hundred_are_right(
    right: int, unknown: int, passed: bool, found: str
) -> None:
    wrong = 100 - right if right > 1 else 0
    shares = np.array([1.0] * right + [0.0] * wrong + [NAN] * unknown)
    control = presence._right("one", shares, (shares > 0.5) | np.isnan(shares))
    assert (control.passed, control.found, control.wanted) == (passed, found, "at least 99%")


def test_people_are_judged_jointly_or_alone_where_only_that_reaches_the_threshold() -> None:
    low, high = [0.1, 0.2], [0.1, 0.25]
    for alone, joint, expected in (
        (low, low, "joint"), (low, high, "joint"), (high, high, "joint"), (high, low, "alone")
    ):  # fmt: skip
        groups = [group([0.0], [0.0], "canary"), group(alone, joint)]
        found = presence._judged(groups, 0.25)
        wanted = [getattr(one, expected) for one in groups]
        assert [a.tolist() for a in found] == [a.tolist() for a in wanted], (alone, joint)


def test_who_reaches_the_threshold_is_a_finding_and_a_group_that_stands_out_is_another() -> None:
    groups = [
        group([0.1] * 4, [0.25, 0.2499, 0.9, NAN]),
        group([0.1], [0.1], "canary", chance=1e-3),
        group([0.1], [0.1], "objecting", chance=np.nextafter(1e-3, ABOVE)),
    ]
    found = presence._findings(groups, [one.joint for one in groups], 0.25)
    assert [(one.layer, one.rule, one.count) for one in found] == [
        ("contribution", "the history of a person (erased) is in the item factors", 2),
        ("contribution", "a group (canary) stands out against people never seen", 1),
    ]


def test_the_largest_share_is_that_of_all_groups_and_none_where_nothing_was_measured() -> None:
    assert presence._highest([np.array([0.1, NAN]), np.array([0.3]), np.array([NAN])]) == 0.3
    assert presence._highest([np.array([NAN]), np.empty(0)]) is None


def test_those_who_reach_a_threshold_are_told_among_those_measured() -> None:
    shares = np.array([0.25, 0.2, NAN, 0.9, NAN, NAN])
    assert presence._reaching("people", shares, 0.25) == "2 of 3 people"


def test_a_groups_chance_is_that_of_its_shares_alone_above_those_of_people_never_seen() -> None:
    unseen = np.array([0.0, NAN, 0.1, -0.1, 0.05])
    one = group([0.2, NAN, 0.3], [0.9, 0.9, 0.9])
    expected = stats.mannwhitneyu(
        [0.2, 0.3], [0.0, 0.1, -0.1, 0.05], alternative="greater", method="asymptotic"
    )
    assert presence._against(one, unseen).chance == pytest.approx(float(expected.pvalue))
    assert presence._against(one, np.array([NAN, NAN])).chance == 1.0
    assert presence._against(group([NAN], [NAN]), unseen).chance == 1.0


def test_of_a_group_the_hundred_largest_shares_are_told_in_confidence_to_four_digits() -> None:
    many = group([0.0] * 140, [k / 100 for k in range(140)])
    told = presence._shares_of(many)
    assert told == {"group": "erased", "shares": [k / 100 for k in range(139, 39, -1)]}
    few = presence._shares_of(group([0.0] * 3, [0.123449, NAN, 0.98765]))
    assert few == {"group": "erased", "shares": [0.9877, 0.1234]}


# --- the whole layer, on known shares -----------------------------------------------------------

UNSEEN, MEMBERS, ALIKE = "unseen", "members", "alike"


def answered(
    monkeypatch: pytest.MonkeyPatch,
    members: list[float],
    unseen: list[float],
    suspects: list[float] | None = None,
    **more: Any,
) -> LayerResult:
    """The layer where each kind of people has these shares, however they are measured."""
    shares = {MEMBERS: members, UNSEEN: unseen, ALIKE: members, "living": more.pop("living", [])}

    def of(confidence: Any, _field: Any) -> Any:
        values = np.array(shares[confidence.kind], dtype=float)
        return SimpleNamespace(size=np.ones(len(values)), alone=lambda: values)

    class Rows:
        """Confidences that only know whose they are."""

        def __init__(self, kind: str) -> None:
            self.kind = kind

        def __getitem__(self, rows: Any) -> Rows:
            return Rows("living" if isinstance(rows, list) else rows[0])

    stub = SimpleNamespace(
        members=lambda *_: (MEMBERS,), alike=lambda *_: (ALIKE,), never_seen=lambda *_: Rows(UNSEEN)
    )
    groups = [] if suspects is None else [group(suspects, suspects)]
    monkeypatch.setattr(presence, "People", SimpleNamespace(of=of))
    monkeypatch.setattr(presence, "controls", stub)
    monkeypatch.setattr(presence, "_measured", lambda *_: (groups, None))
    monkeypatch.setattr(presence, "_lengths", lambda *_: None)
    objective: Any = SimpleNamespace(confidence=Rows("all"))
    return contribution(objective, more.pop("field", None), {}, 7, **more)


def test_where_members_read_whole_and_strangers_nothing_the_layer_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = answered(monkeypatch, [0.0, 0.1], [0.0, 0.1, NAN], [0.2, 0.1])
    assert (layer.conclusive, layer.findings, layer.advice) == (True, (), "")
    assert layer.threshold == (
        "a below 0.25 for each person, chance of each group above 0.001, controls right in 99%"
    )
    assert layer.value == (
        f"2 erased: a 0.100 to 0.200, cohort p {_chance():.2g}; "
        "members with histories as long: 2 of 2 found"
    )
    assert (layer.measured, layer.limit) == (0.2, 0.25)
    assert layer.power == "2 of 2 members pretended erased would be found"
    assert layer.false_alarms == "0 of 2 people never seen would be named"
    assert layer.clouds == (
        Cloud.of("people who must not be there", [0.2, 0.1]),
        Cloud.of("people never seen", [0.0, 0.1, NAN]),
        Cloud.of("members pretended erased", [1.0, 1.1]),
    )
    assert layer.details == ({"group": "erased", "shares": [0.2, 0.1]},)
    assert [(one.name, one.found) for one in layer.controls] == [
        ("members pretended erased, a above 0.5", "2 of 2, median 1.050"),
        ("people never seen, a below 0.5", "2 of 2, median 0.050"),
        ("the lowest a of those who must not be there", "0.000"),
    ]


def _chance() -> float:
    return presence._against(group([0.2, 0.1], [0.2, 0.1]), np.array([0.0, 0.1, NAN])).chance


def test_without_suspects_the_controls_alone_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = answered(monkeypatch, [0.0], [0.0])
    assert (layer.conclusive, layer.value) == (True, "nobody to test; controls only")
    assert (layer.measured, len(layer.controls), layer.details) == (None, 2, ())
    layer = answered(monkeypatch, [0.0], [0.0], untested=3)
    told = "3 erased canaries whose histories are gone: not tested"
    assert layer.value == f"nobody to test; controls only; {told}"


@pytest.mark.parametrize(("share", "found"), [(-0.5, 0), (-0.499, 1)])
def test_a_member_is_found_above_a_half_and_not_at_it(
    monkeypatch: pytest.MonkeyPatch, share: float, found: int
) -> None:
    layer = answered(monkeypatch, [share], [0.0], [0.1])
    assert layer.controls[0].passed is bool(found)
    assert layer.value.endswith(f"members with histories as long: {found} of 1 found")
    assert (layer.conclusive, layer.advice) == (bool(found), "" if found else ADVICE)
    living = answered(monkeypatch, [0.0], [0.0], canaries=(4,), living=[share])
    assert living.controls[2].name == "living canaries pretended erased, a above 0.5"
    assert living.controls[2].passed is bool(found)


@pytest.mark.parametrize(("share", "right"), [(0.5, False), (0.499, True)])
def test_a_stranger_is_left_alone_below_a_half_and_not_at_it(
    monkeypatch: pytest.MonkeyPatch, share: float, right: bool
) -> None:
    layer = answered(monkeypatch, [0.0], [share])
    assert (layer.controls[1].passed, layer.conclusive) == (right, right)


@pytest.mark.parametrize(
    ("unseen", "limit"), [([0.1], 0.25), ([-3.0], 0.25), ([0.3], 0.3), ([0.9, NAN], 0.5)]
)
def test_the_threshold_is_what_people_never_seen_reach_within_its_bounds(
    monkeypatch: pytest.MonkeyPatch, unseen: list[float], limit: float
) -> None:
    layer = answered(monkeypatch, [0.0], unseen)
    assert layer.limit == limit
    assert layer.threshold.startswith(f"a below {limit:.2f} ")


def test_somebody_at_the_threshold_is_a_finding_unless_the_controls_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = answered(monkeypatch, [0.0], [0.3], [0.3])
    assert [finding.count for finding in layer.findings] == [1]
    assert layer.false_alarms == "1 of 1 people never seen would be named"
    silent = answered(monkeypatch, [-0.9], [0.3], [0.3])
    assert (silent.findings, silent.conclusive, silent.advice) == ((), False, ADVICE)
