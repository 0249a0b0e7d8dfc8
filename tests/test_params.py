"""params.yaml: every number a person may turn, bounded, and nothing that is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.errors import BadConfiguration
from lethe.params import Params, as_flat, read_params, space_override
from lethe.solutions.recipes import recipe

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "params.yaml"
EXAMPLES = sorted((ROOT / "examples").glob("*.params.yaml"))


def test_the_repository_and_a_new_workspace_start_from_the_same_parameters() -> None:
    template = ROOT / "lethe" / "desk" / "templates"

    assert (template / "params.yaml").read_bytes() == PARAMS.read_bytes()
    assert (template / "dvc.yaml").read_bytes() == (ROOT / "dvc.yaml").read_bytes()


def test_the_default_parameters_name_both_recipes() -> None:
    params = read_params(PARAMS)

    assert set(params.tuning.recipes) == {"als", "lightfm"}
    assert params.promotion.must_beat == ("popular",)


def test_an_empty_search_space_is_the_recipes_own() -> None:
    params = read_params(PARAMS, ["tuning.recipes.als={}", "tuning.recipes.lightfm={}"])

    assert params.tuning.recipes == {
        name: dict(recipe(name).space) for name in params.tuning.recipes
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_fits_over_the_defaults(path: Path) -> None:
    document = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))

    Params.model_validate({**document, **yaml.safe_load(path.read_text(encoding="utf-8"))})


@pytest.mark.parametrize(
    "section", ["", *sorted(set(Params.model_fields) - {"name", "seed", "recipients"})]
)
def test_an_unknown_key_is_an_error_in_every_section(section: str, tmp_path: Path) -> None:
    document = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    place = document.setdefault(section, {}) if section else document
    place["tirals"] = 3
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")

    with pytest.raises(BadConfiguration, match=r"params\.yaml: .*tirals"):
        read_params(path)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seed=-1", "seed"),
        ("name=Shop One", "name"),
        ("tuning.trials=0", "tuning.trials"),
        ("tuning.recipes={}", "tuning.recipes"),
        ("tuning.recipes.als.factros={kind: int, low: 8, high: 16}", "no hyper-parameter"),
        ("tuning.recipes.als.factors={kind: int, low: 16, high: 8}", "low <= high"),
        ("tuning.recipes.svd={}", "no recipe is called"),
        ("tuning.recipes.als.factors={kind: int, low: 16, high: 9999}", "search space factors"),
        ("tuning.recipes.popular={}", "is a baseline"),
        ("tuning.shortened={svd: {iterations: 4}}", "no recipe is called"),
        ("tuning.shortened={als: {epochs: 4}}", "no hyper-parameter"),
        ("tuning.shortened={als: {iterations: 0}}", "greater than or equal to 1"),
        ("tuning.shortened={als: {alpha: 4}}", "alpha is searched, so trials need it"),
        ("tuning.half_life_days=[7, 7]", "a half-life stands there twice"),
        ("tuning.half_life_days=[0.5]", "greater than or equal to 1"),
        ("tuning.recipes.als.half_life_days={kind: categorical, choices: [30]}", "no hyper-par"),
        ("promotion.metric=ndcg", "no metric is called ndcg"),
        ("promotion.must_beat=[als]", "als is no baseline"),
        ("promotion.tolerance=0.9", "promotion.tolerance"),
        ("purge.buckets=0", "purge.buckets"),
        ("retention.data_versions=0", "retention.data_versions"),
        ("environment.blas_kernel=a b", "environment.blas_kernel"),
        ("night.wait_seconds=-1", "night.wait_seconds"),
        ("training.test_share=1.5", "training.test_share"),
        ("trials", "section.key=value"),
        ("=3", "section.key=value"),
        ("seed.deep=1", "seed is not a section"),
        ("seed=[", "not YAML"),
    ],
)
def test_a_value_out_of_bounds_is_named_by_its_key(override: str, told: str) -> None:
    with pytest.raises(BadConfiguration, match=told.replace("<", ".")):
        read_params(PARAMS, [override])


def test_overrides_are_yaml_and_the_last_one_counts() -> None:
    params = read_params(PARAMS, ["tuning.trials=3", "tuning.minutes=2.5", "tuning.trials=4"])

    assert (params.tuning.trials, params.tuning.minutes) == (4, 2.5)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\xff", "not readable"), (b"a: [", "not readable"), (b"", "mapping"), (b"- 1", "mapping")],
)
def test_a_file_that_is_no_mapping_is_refused(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)

    with pytest.raises(BadConfiguration, match=told):
        read_params(path)
    with pytest.raises(BadConfiguration, match="missing"):
        read_params(tmp_path / "nowhere.yaml")


def test_a_key_that_stands_twice_is_refused_and_not_read_as_the_last(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("training:\n", "training:\n  half_life_days: 30\n"))
    assert path.read_text() != text
    with pytest.raises(BadConfiguration, match=r"params\.yaml, line \d+: the key half_life_days"):
        read_params(path)


def test_a_search_space_file_stands_for_the_recipes_and_a_set_after_it_still_counts(
    tmp_path: Path,
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(
        "als:\n  factors: {kind: int, low: 8, high: 24, log: true}\n"
        "  alpha: {kind: float, low: 1, high: 2}\nlightfm: {}\n"
    )
    wider = "tuning.recipes.als.alpha={kind: float, low: 1, high: 9}"
    found = read_params(PARAMS, [space_override(space), wider]).tuning.recipes
    assert (found["als"]["factors"].high, found["als"]["alpha"].high) == (24, 9)
    assert found["als"].keys() == {"factors", "alpha"}
    assert found["lightfm"] == dict(recipe("lightfm").space)
    assert list(found) == ["als", "lightfm"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- als", r"space\.yaml must hold a mapping"),
        ("als: [", r"space\.yaml is not readable as YAML"),
        ("als: {}\nals: {}", r"space\.yaml, line 2: the key als stands there again"),
        ("als: {factros: {kind: int, low: 1, high: 2}}", "no hyper-parameter"),
        ("{}", "at least one recipe"),
    ],
)
def test_a_search_space_file_that_says_nothing_usable_is_refused(
    text: str, told: str, tmp_path: Path
) -> None:
    space = tmp_path / "space.yaml"
    with pytest.raises(BadConfiguration, match=r"space\.yaml is missing"):
        space_override(space)
    space.write_text(text)
    with pytest.raises(BadConfiguration, match=told):
        read_params(PARAMS, [space_override(space)])


def test_what_learning_depends_on_moves_its_digest_and_nothing_else_does() -> None:
    digest = read_params(PARAMS).learning_digest

    for moving in (
        "seed=1",
        "tuning.trials=9",
        "training.maximum_weight=9",
        "promotion.tolerance=0",
    ):
        assert read_params(PARAMS, [moving]).learning_digest != digest
    for still in ("night.wait_seconds=1", "retention.data_versions=2"):
        assert read_params(PARAMS, [still]).learning_digest == digest


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.integers() | st.text(max_size=3),
        lambda inner: st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3),
        max_leaves=8,
    ).filter(lambda value: isinstance(value, dict))
)
def test_flat_names_keep_every_leaf(nested: Any) -> None:
    def leaves(value: Any) -> int:
        return sum(map(leaves, value.values())) if isinstance(value, dict) else 1

    assert len(as_flat(nested)) == leaves(nested)
