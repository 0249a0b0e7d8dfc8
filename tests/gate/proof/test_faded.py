"""The verifier fades weights by itself: what it must count, and what neither side can get wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lethe.errors import ArtifactCorrupt
from lethe.gate.proof import retained
from lethe.gate.proof.retained import histories, rebuild
from lethe.gate.proof.verification import Verdict, verify
from lethe.interactions.shards.store import ShardStore
from lethe.interactions.training import windows
from lethe.interactions.training.fading import DAY, faded
from lethe.interactions.training.snapshot import SnapshotRules
from tests.fakes.interaction_store import Event
from tests.gate.proof.cases import case_of, solution_of
from tests.gate.proof.test_retained import PEOPLE, stored, trained

RULES = SnapshotRules(half_life_days=30, minimum_interactions=1, minimum_users=1)
GONE = frozenset({PEOPLE[7]})
EVENTS: list[Event] = [
    *((PEOPLE[n % 7], "abcde"[(n + n // 7) % 5], 3 * n * DAY, "view", None) for n in range(60)),
    # whoever is erased was there last
    *((PEOPLE[7], item, (300 + n) * DAY, "view", None) for n, item in enumerate("abz")),
]


@pytest.fixture
def shop() -> Iterator[tuple[ShardStore, Path]]:
    with stored(EVENTS, {"KIND": ["tea"] * 6}) as found:
        yield found


def definition(**changed: Any) -> dict[str, Any]:
    return RULES.model_copy(update=changed).model_dump(mode="json")


def refusing(shop: tuple[ShardStore, Path], **recorded: Any) -> set[str]:
    """Layers that refuse what the trainer makes of the shop, its definition recorded but for
    changes."""
    matrix = trained(*shop, RULES, GONE)
    solution = solution_of("als", matrix, definition=definition(**recorded))
    rebuilt = rebuild(shop[0].root, GONE.__contains__, solution.manifest.definition).matrix
    report = verify(case_of(solution, rebuilt, forbidden=frozenset()))
    assert (report.verdict is Verdict.REFUSED) is any(layer.findings for layer in report.layers)
    return {layer.layer for layer in report.layers if layer.findings}


def test_ages_are_counted_from_the_newest_row_of_the_retained(
    shop: tuple[ShardStore, Path],
) -> None:
    matrix, day = rebuild(shop[0].root, GONE.__contains__, definition())
    assert day == 3 * 59
    assert matrix.digest == trained(*shop, RULES, GONE).digest
    assert rebuild(shop[0].root, lambda _: False, definition()).day == 302
    assert rebuild(shop[0].root, GONE.__contains__, definition(half_life_days=None)).day is None


def test_a_definition_from_before_there_was_fading_is_read_as_it_always_was(
    shop: tuple[ShardStore, Path],
) -> None:
    plain = definition(half_life_days=None)
    assert "half_life_days" not in plain
    rebuilt = rebuild(shop[0].root, GONE.__contains__, plain).matrix
    assert rebuilt.csr.data.min() >= 1.0
    unset = rebuild(shop[0].root, GONE.__contains__, {**plain, "half_life_days": None}).matrix
    unfading = trained(*shop, RULES.model_copy(update={"half_life_days": None}), GONE)
    assert rebuilt.digest == unset.digest == unfading.digest


def test_whoever_must_not_be_there_fades_as_of_the_retained_and_what_is_newer_does_not(
    shop: tuple[ShardStore, Path],
) -> None:
    items = ("a", "b", "c", "d", "e")
    found = histories(shop[0].root, GONE.__contains__, items, definition(), 330)
    assert found.toarray().tolist() == [[0.5, np.float32(round(2 ** (-29 / 30), 6)), 0, 0, 0]]
    newer = histories(shop[0].root, GONE.__contains__, items, definition(), 3 * 59)
    assert newer.toarray().tolist() == [[1, 1, 0, 0, 0]]
    with pytest.raises(ArtifactCorrupt, match="from which day"):
        histories(shop[0].root, GONE.__contains__, items, definition(), None)


def test_everybody_weighs_as_much_among_those_who_must_not_be_there_as_in_the_matrix(
    shop: tuple[ShardStore, Path],
) -> None:
    matrix, day = rebuild(shop[0].root, lambda _: False, definition())
    found = histories(shop[0].root, lambda _: True, matrix.items, definition(), day)
    assert (found != matrix.csr).nnz == 0


def test_an_honest_version_is_refused_for_nothing_that_the_matrix_decides(
    shop: tuple[ShardStore, Path],
) -> None:
    assert refusing(shop) == set()


@pytest.mark.parametrize("recorded", [None, 29.0, 30.1])
def test_a_version_that_records_another_half_life_is_refused(
    shop: tuple[ShardStore, Path], recorded: float | None
) -> None:
    assert "manifest" in refusing(shop, half_life_days=recorded)


TRAINERS: dict[str, Callable[[Any, Any, float], Any]] = {
    "it fades nothing": lambda weight, moment, days: weight,
    "it counts from another day": lambda weight, moment, days: faded(
        np.append(weight, [1]), np.append(moment, [moment.max() + DAY]), days
    )[:-1],
    "it drops what is old": lambda weight, moment, days: np.where(
        moment < moment.max() - 170 * DAY, 1, faded(weight, moment, days)
    ),
}


@pytest.mark.parametrize("fault", TRAINERS)
def test_a_trainer_that_fades_in_another_way_is_refused(
    shop: tuple[ShardStore, Path], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(windows, "faded", TRAINERS[fault])
    assert "manifest" in refusing(shop)


def _undated(events: pa.Table, day: int, rules: Any) -> pa.Table:
    return events.drop_columns(["timestamp"])


VERIFIERS: dict[str, tuple[str, Any]] = {
    "it forgets that weights fade": ("_faded", _undated),
    "it rounds down": ("_halved", lambda number, times: int(number / 2 ** float(times))),
    "it counts from the newest row of everybody": ("_newest_day", lambda moments: 302),
}


@pytest.mark.parametrize("fault", VERIFIERS)
def test_a_verifier_that_fades_in_another_way_verifies_nothing(
    shop: tuple[ShardStore, Path], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    name, wrong = VERIFIERS[fault]
    monkeypatch.setattr(retained, name, wrong)
    assert "manifest" in refusing(shop)
