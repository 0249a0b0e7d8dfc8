"""Layers 1 to 3: every mutant is refused, and each layer alone refuses at least one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lethe.gate.proof.case import Case
from lethe.gate.proof.layers import manifest_layer, replay, structure
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions.learned import Factors
from tests.gate.proof.cases import case_of, cut, fitted, honest, shop, solution_of, stone

LAYERS = {"structure": structure, "manifest": manifest_layer, "replay": replay}
RECIPES = ("als", "lightfm")


def refusals(case: Case) -> set[str]:
    """The layers that refuse a case; every one must answer."""
    results = {name: layer(case) for name, layer in LAYERS.items()}
    for name, result in results.items():
        assert result.layer == name
        assert result.conclusive
        assert result.passed is not bool(result.findings)
        assert all(finding.layer == name and finding.count > 0 for finding in result.findings)
    return {name for name, result in results.items() if not result.passed}


@pytest.mark.parametrize("name", RECIPES)
def test_an_honest_version_passes_every_layer(name: str) -> None:
    assert refusals(case_of(honest(name))) == set()


@pytest.mark.parametrize("seed", [0, 11])
def test_an_honest_version_passes_with_any_seed(seed: int) -> None:
    factors, _ = fitted("als", shop().retained, seed)
    assert refusals(case_of(solution_of("als", shop().retained, factors, seed=seed))) == set()


def test_a_register_that_grew_by_a_stranger_does_no_harm() -> None:
    grown = case_of(honest("als"), head_position=9, head_digest="e" * 64)
    stranger = replace(grown, forbidden=grown.forbidden | {stone("a stranger")})
    assert refusals(stranger) == set()


# --- mutants of the artifact --------------------------------------------------------------------


def leftover_user(name: str) -> Case:
    """The purge forgot somebody: matrix, id list and factors still hold them."""
    return case_of(solution_of(name, cut(shop().everybody, {7})))


def leftover_row(name: str) -> Case:
    """The id was cut from the list, and the factors were learned with the row."""
    whole, kept = shop().everybody, shop().retained
    learned, _ = fitted(name, whole)
    rows = [whole.users.index(user) for user in kept.users]
    columns = [whole.items.index(item) for item in kept.items]
    sliced = Factors(
        learned.user_factors[rows],
        learned.item_factors[columns],
        None if learned.user_biases is None else learned.user_biases[rows],
        None if learned.item_biases is None else learned.item_biases[columns],
    )
    return case_of(solution_of(name, kept, sliced))


def swapped_user(name: str) -> Case:
    """An erased person stands under the name of a retained one."""
    stored = honest(name)
    users = tuple(sorted((*stored.users[1:], shop().erased[0])))
    return case_of(replace(stored, users=users))


def over_deleted(name: str) -> Case:
    """A retained person is missing."""
    return case_of(solution_of(name, cut(shop().everybody, {3, 7, 20})))


def orphan_item(name: str) -> Case:
    """The item that only an erased person bought is still listed."""
    kept, item = shop().retained, shop().everybody.items[-1]
    assert item not in kept.items
    stored = honest(name)

    def longer(array: Any) -> Any:
        return None if array is None else np.concatenate([array, np.zeros_like(array[-1:])])

    learned = stored.factors
    factors = replace(
        learned,
        item_factors=longer(learned.item_factors),
        item_biases=longer(learned.item_biases),
    )
    popular = np.append(stored.popular, np.int32(len(kept.items)))
    return case_of(replace(stored, factors=factors, items=(*stored.items, item), popular=popular))


def other_server(name: str) -> Case:
    """Somebody changed a byte of the code that serves the version."""
    return case_of(honest(name), beside={"MLmodel": True, "serving.py": False})


def unseen_server(name: str) -> Case:
    """Nobody looked at the code that serves the version."""
    return case_of(honest(name), beside={})


def one_ulp(name: str) -> Case:
    stored = honest(name)
    items = stored.factors.item_factors.copy()
    items[4, 2] = np.nextafter(items[4, 2], np.float32(9))
    return case_of(replace(stored, factors=replace(stored.factors, item_factors=items)))


def wrong_popular_order(name: str) -> Case:
    stored = honest(name)
    return case_of(replace(stored, popular=stored.popular[::-1].copy()))


def another_seed(name: str) -> Case:
    factors, _ = fitted(name, shop().retained, seed=6)
    return case_of(solution_of(name, shop().retained, factors))


def kept_categories(name: str) -> Case:
    """Factors learned with the categories that the rules drop."""
    plain = replace(shop().retained, item_features=None, user_features=None)
    return case_of(solution_of(name, shop().retained), retained=plain)


def stale_register(name: str) -> Case:
    """It was trained before somebody who is in it was erased."""
    late = case_of(honest(name), head_position=5, head_digest="e" * 64)
    return replace(late, forbidden=late.forbidden | {stone(shop().retained.users[11])})


def restored_register(name: str) -> Case:
    """The register that the version was trained at is not the one there is today."""
    return case_of(honest(name), head_position=3, recorded_head=None)


def another_chain(name: str) -> Case:
    return case_of(honest(name), recorded_head="f" * 64)


def wrong_digest(name: str) -> Case:
    return case_of(solution_of(name, shop().retained, matrix_digest="0" * 64))


def wrong_data_version(name: str) -> Case:
    return case_of(honest(name), data_version="e" * 32 + ".dir")


def wrong_environment(name: str) -> Case:
    case = case_of(honest(name))
    return replace(case, environment={**case.environment, "blas_kernel": "another"})


def swapped_file(name: str) -> Case:
    case = case_of(honest(name))
    return replace(case, files={**case.files, "popular.npy": "0" * 64})


def extra_file(name: str) -> Case:
    case = case_of(honest(name))
    return replace(case, files={**case.files, "notes.txt": "0" * 64})


def missing_file(name: str) -> Case:
    case = case_of(honest(name))
    return replace(case, files={n: d for n, d in case.files.items() if n != "users.txt"})


def missing_tombstone(name: str) -> Case:
    case = case_of(honest(name))
    return replace(case, tombstones=case.tombstones[1:])


def learned_nothing(name: str) -> Case:
    return case_of(honest(name), replay=lambda _matrix: {})


MUTANTS: dict[str, tuple[Callable[[str], Case], set[str]]] = {
    "leftover user": (leftover_user, {"structure", "manifest", "replay"}),
    "leftover row": (leftover_row, {"replay"}),
    "swapped user": (swapped_user, {"structure"}),
    "over-deletion": (over_deleted, {"structure", "manifest", "replay"}),
    "orphan item": (orphan_item, {"structure", "replay"}),
    "another server": (other_server, {"structure"}),
    "a server that nobody looked at": (unseen_server, {"structure"}),
    "one ulp": (one_ulp, {"replay"}),
    "wrong popular order": (wrong_popular_order, {"structure"}),
    "wrong seed": (another_seed, {"replay"}),
    "stale register": (stale_register, {"structure"}),
    "restored register": (restored_register, {"manifest"}),
    "another chain": (another_chain, {"manifest"}),
    "wrong digest": (wrong_digest, {"manifest"}),
    "wrong data version": (wrong_data_version, {"manifest"}),
    "wrong environment": (wrong_environment, {"manifest"}),
    "swapped file": (swapped_file, {"manifest"}),
    "extra file": (extra_file, {"manifest"}),
    "missing file": (missing_file, {"manifest"}),
    "missing tombstone": (missing_tombstone, {"structure"}),
    "a fit that learned nothing": (learned_nothing, {"replay"}),
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_refused_by_the_layers_that_look_there(mutant: str, name: str) -> None:
    made, expected = MUTANTS[mutant]
    assert refusals(made(name)) == expected


def test_each_layer_is_the_only_one_to_refuse_some_mutant() -> None:
    alone = [expected for _, expected in MUTANTS.values() if len(expected) == 1]
    assert set().union(*alone) == set(LAYERS)


# --- what only one recipe can get wrong ---------------------------------------------------------


def test_categories_that_the_rules_drop_are_noticed() -> None:
    """LightFM learns from attributes, so both the digest and the second fit tell; ALS does not."""
    assert refusals(kept_categories("lightfm")) == {"manifest", "replay"}
    assert refusals(kept_categories("als")) == {"manifest"}


@pytest.mark.parametrize("extra", [1, 40])
def test_only_the_replay_notices_a_warm_start(extra: int) -> None:
    """Factors of everybody, trained on with the retained alone: "untraining"."""
    warm = warm_start(shop().everybody, shop().retained, extra)
    assert refusals(case_of(solution_of("als", shop().retained, warm))) == {"replay"}


def warm_start(before: InteractionMatrix, after: InteractionMatrix, iterations: int) -> Factors:
    from implicit.cpu.als import AlternatingLeastSquares

    learned, values = fitted("als", before)
    model = AlternatingLeastSquares(
        factors=values["factors"],
        regularization=values["regularization"],
        alpha=values["alpha"],
        iterations=iterations,
        dtype=np.float32,
        num_threads=1,
        use_cg=False,
        random_state=0,
    )
    rows = [before.users.index(user) for user in after.users]
    columns = [before.items.index(item) for item in after.items]
    model.user_factors = learned.user_factors[rows].copy()
    model.item_factors = learned.item_factors[columns].copy()
    model.fit(after.csr.copy(), show_progress=False)
    return Factors(model.user_factors, model.item_factors)


def test_an_unsealed_fit_that_says_it_was_sealed_is_refused() -> None:
    factors, _ = fitted("als", shop().retained, seal=False)
    assert refusals(case_of(solution_of("als", shop().retained, factors))) == {"replay"}


def test_an_unconverged_fit_that_says_it_ran_longer_is_refused() -> None:
    factors, _ = fitted("als", shop().retained, iterations=2)
    assert refusals(case_of(solution_of("als", shop().retained, factors))) == {"replay"}
