"""What layers 1 to 3 count, each by its rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lethe.gate.proof import report
from lethe.gate.proof.case import Case
from lethe.gate.proof.layers import manifest_layer, popular_order, replay, structure
from lethe.gate.proof.report import LayerResult
from lethe.gate.proof.verification import verify
from lethe.solutions.factors import Solution, array_digests
from tests.gate.proof.cases import case_of, fitted, honest, shop, stone

LOW, HIGH = "0" * 64, "f" * 64
FIRST = ("structure", "manifest", "replay")


@pytest.fixture(scope="module")
def case() -> Case:
    """Of LightFM: the algebra is not asked."""
    whole = case_of(honest("lightfm"))
    return replace(whole, replay=lambda _matrix: array_digests(whole.stored.factors))


def counted(layer: LayerResult) -> dict[str, int]:
    return {finding.rule: finding.count for finding in layer.findings}


def stored(case: Case, **changes: Any) -> Case:
    """Of an artifact that proves nothing about itself: the layers must not rely on that."""
    names = ("factors", "users", "items", "popular", "manifest")
    held = {name: getattr(case.stored, name) for name in names}
    return replace(case, stored=SimpleNamespace(**{**held, **changes}))  # type: ignore[arg-type]


def recorded(case: Case, **changes: Any) -> Case:
    return stored(case, manifest=case.stored.manifest.model_copy(update=changes))


def _with_factors(case: Case, **changes: Any) -> Case:
    arrays = case.stored.factors
    held = {"user_factors": arrays.user_factors, "item_factors": arrays.item_factors}
    return stored(case, factors=SimpleNamespace(**{**held, **changes}))


def _listing(case: Case, users: tuple[str, ...]) -> Case:
    """Other users, each with a factor and a tombstone."""
    width = case.stored.factors.user_factors.shape[1]
    case = _with_factors(case, user_factors=np.ones((len(users), width), np.float32))
    case = stored(case, users=users)
    return replace(case, tombstones=tuple(map(stone, users)))


def test_of_an_honest_version_nothing_is_counted_and_everything_is_told(case: Case) -> None:
    found = verify(case)
    assert [layer.value for layer in found.layers] == [
        "118 users, 59 items, 0 differences",
        f"matrix {case.retained.digest[:16]}, register position 4",
        "4 of 4 arrays equal",
    ]
    for layer in found.layers:
        assert (layer.findings, layer.measured, layer.limit) == ((), 0.0, 0.0)
        assert (layer.details, layer.controls, layer.clouds) == ((), (), ())
        assert (layer.conclusive, layer.statistic, layer.advice) == (True, "", "")
        assert (layer.power, layer.false_alarms) == ("", "")
    assert (found.users, found.items, found.canaries) == (118, 59, 0)
    assert (case.canaries, case.untested, dict(case.suspects)) == ((), 0, {})
    assert (found.trained_at_position, found.register_position) == (4, 4)


def test_canaries_are_no_users(case: Case) -> None:
    found = verify(replace(case, canaries=(0, 1, 7)))
    assert (found.users, found.canaries) == (115, 3)
    assert found.layers[0].value == "115 users, 59 items, 0 differences"


def test_strangers_and_missing_users_are_counted_apart(case: Case) -> None:
    users = tuple(sorted((*case.stored.users[3:], *shop().erased)))
    assert counted(structure(_listing(case, users))) == {
        "a user in the artifact is not among the retained": 2,
        "a retained user is missing from the artifact": 3,
        "a user may not train at the register's head": 2,
    }


def test_more_users_than_the_retained_and_fewer_are_no_other_order(case: Case) -> None:
    users = case.stored.users
    more = _listing(case, (*users, "zz"))
    assert counted(structure(more)) == {"a user in the artifact is not among the retained": 1}
    fewer = _listing(case, users[:-2])
    assert counted(structure(fewer)) == {"a retained user is missing from the artifact": 2}


def test_every_repetition_of_a_user_is_counted(case: Case) -> None:
    assert counted(structure(_listing(case, case.stored.users * 3))) == {
        "a user is listed more than once": 236,
        "users stand in another order than the retained": 1,
    }


def test_another_order_of_users_or_items_is_one_difference(case: Case) -> None:
    users, items = case.stored.users, case.stored.items
    turned = _listing(case, (*users[:-2], users[-1], users[-2]))
    assert counted(structure(turned)) == {"users stand in another order than the retained": 1}
    turned = stored(case, items=(items[1], items[0], *items[2:]))
    assert counted(structure(turned)) == {"items stand in another order than the retained": 1}


def test_items_too_many_and_missing_are_counted_apart_and_listed_for_the_restricted_file(
    case: Case,
) -> None:
    items = tuple(sorted((*case.stored.items[3:], "zz1", "zz2", "zz3")))
    layer = structure(stored(case, items=(*items[:-1],)))
    assert counted(layer) == {
        "an item in the artifact has no retained interaction": 2,
        "an item with retained interactions is missing": 3,
        "item factor rows differ from the number of items": 1,
    }
    touched = np.bincount(case.retained.csr.indices, minlength=59)
    assert layer.details == (
        *(
            {"item": item, "stored": False, "retained_users": int(touched[place])}
            for place, item in enumerate(case.retained.items[:3])
        ),
        {"item": "zz1", "stored": True, "retained_users": 0},
        {"item": "zz2", "stored": True, "retained_users": 0},
    )
    assert (layer.measured, layer.value) == (6.0, "118 users, 58 items, 6 differences")


@pytest.mark.parametrize("number", [1, 3])
def test_items_of_the_retained_alone_or_of_the_artifact_alone_are_no_other_order(
    case: Case, number: int
) -> None:
    items = case.stored.items
    fewer = structure(stored(case, items=items[number:]))
    more = structure(stored(case, items=(*items, *(f"zz{k}" for k in range(number)))))
    rows = {"item factor rows differ from the number of items": number}
    assert counted(fewer) == {"an item with retained interactions is missing": number, **rows}
    assert counted(more) == {"an item in the artifact has no retained interaction": number, **rows}


def test_no_more_than_a_hundred_odd_items_are_listed(case: Case) -> None:
    items = (*case.stored.items, *(f"zz{number:03}" for number in range(140)))
    details = structure(stored(case, items=items)).details
    assert [row["item"] for row in details] == [f"zz{number:03}" for number in range(100)]
    assert report.LARGEST_DETAILS == 100


@pytest.mark.parametrize("stones", [115, 121])
def test_users_without_a_tombstone_and_tombstones_without_a_user_are_counted(
    case: Case, stones: int
) -> None:
    listed = (case.tombstones * 2)[:stones]
    told = {"a listed user has no tombstone to compare": 3}
    assert counted(structure(replace(case, tombstones=listed))) == told


@pytest.mark.parametrize("rows", [3, -3])
def test_factor_rows_too_many_or_too_few_are_counted(case: Case, rows: int) -> None:
    def resized(array: Any) -> Any:
        return array[:rows] if rows < 0 else np.concatenate([array, array[:rows]])

    factors = case.stored.factors
    users = _with_factors(case, user_factors=resized(factors.user_factors))
    told = {"user factor rows differ from the number of users": 3}
    assert counted(structure(users)) == told
    items = _with_factors(case, item_factors=resized(factors.item_factors))
    told = {"item factor rows differ from the number of items": 3}
    assert counted(structure(items)) == told


def test_every_number_that_is_none_is_counted(case: Case) -> None:
    users, items = (
        case.stored.factors.user_factors.copy(),
        case.stored.factors.item_factors.copy(),
    )
    users[:3, 0], items[4, :2] = np.nan, np.inf
    broken = _with_factors(case, user_factors=users, item_factors=items)
    assert counted(structure(broken)) == {"a factor is not finite": 5}


def test_files_beside_the_artifact_that_are_not_lethes_are_named(case: Case) -> None:
    beside = {"a.py": False, "b.py": True, "c.py": False, "d.py": True, "e.py": True}
    assert counted(structure(replace(case, beside=beside))) == {
        "what serves the artifact is not what Lethe writes (a.py, c.py)": 2
    }
    assert counted(structure(replace(case, beside={}))) == {
        "nothing that serves the artifact was looked at": 1
    }


def test_popular_items_are_ordered_by_people_and_then_by_place() -> None:
    touched = np.bincount(shop().retained.csr.indices, minlength=59)
    expected = sorted(range(59), key=lambda item: (-touched[item], item))
    assert popular_order(shop().retained).tolist() == expected


@pytest.mark.parametrize("other", [LOW, HIGH])
@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ("matrix_digest", "the rebuilt matrix has another digest than the recorded one"),
        ("data_version", "the data version is not the recorded one"),
        ("register_head", "the register does not contain the recorded head"),
    ],
)
def test_a_recorded_digest_that_is_lower_or_higher_is_another(
    case: Case, other: str, changes: str, rule: str
) -> None:
    layer = manifest_layer(recorded(case, **{changes: other}))
    assert (counted(layer), layer.measured) == ({rule: 1}, 1.0)


@pytest.mark.parametrize(("position", "found"), [(0, 0), (3, 0), (4, 0), (5, 1), (400, 1)])
def test_a_version_from_beyond_the_registers_head_is_refused(
    case: Case, position: int, found: int
) -> None:
    layer = manifest_layer(recorded(case, register_position=position))
    assert counted(layer).get("the register is older than the version", 0) == found


def test_a_register_without_the_recorded_head_has_none(case: Case) -> None:
    told = {"the register does not contain the recorded head": 1}
    assert counted(manifest_layer(replace(case, recorded_head=None))) == told


def test_files_that_changed_are_missing_or_too_many_are_counted(case: Case) -> None:
    names = sorted(set(case.files) - {"manifest.json"})
    changed = {**case.files, names[0]: LOW, names[1]: HIGH, "x": LOW, "y": LOW, "z": LOW}
    del changed[names[2]]
    assert counted(manifest_layer(replace(case, files=changed))) == {
        "a file's digest is not the recorded one": 3,
        "a file is not in the manifest": 3,
    }
    without = {name: digest for name, digest in case.files.items() if name != "manifest.json"}
    assert counted(manifest_layer(replace(case, files=without))) == {}


def test_all_that_differs_in_the_environment_is_named(case: Case) -> None:
    here = dict(case.environment)
    names = sorted(here)
    here |= {names[0]: "0", names[1]: "zzz", "more": "1"}
    del here[names[2]]
    told = f"environment differs ({', '.join(sorted([*names[:3], 'more']))})"
    assert counted(manifest_layer(replace(case, environment=here))) == {told: 4}


def test_arrays_that_differ_are_missing_or_too_many_are_counted(case: Case) -> None:
    digests = dict(array_digests(case.stored.factors))
    names = sorted(digests)

    def layer(learned: Mapping[str, str]) -> LayerResult:
        return replay(replace(case, replay=lambda _matrix: learned))

    differs, other = (
        "an array differs from that of a second cold fit",
        "the second fit learned other arrays",
    )
    low, high = ({**digests, names[0]: digest} for digest in (LOW, HIGH))
    assert counted(layer(low)) == counted(layer(high)) == {differs: 1}
    assert (layer(low).value, layer(low).measured) == ("3 of 4 arrays equal", 1.0)
    more = {**digests, "another": LOW, "and another": LOW}
    assert counted(layer(more)) == {other: 2}
    del more[names[0]]
    assert counted(layer(more)) == {differs: 1, other: 3}
    copied = {name: digest.encode().decode() for name, digest in digests.items()}
    assert counted(layer(copied)) == {}


def test_nothing_of_a_case_is_shown(case: Case) -> None:
    assert "repr" in repr(case) or "object at" in repr(case)
    assert case.stored.users[0] not in repr(case)


def test_a_solution_of_another_seed_is_replayed_with_it() -> None:
    factors, _ = fitted("lightfm", shop().retained, 6)
    other: Solution = replace(honest("lightfm"), factors=factors)
    assert counted(replay(case_of(other)))["an array differs from that of a second cold fit"] == 4
