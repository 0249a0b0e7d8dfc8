"""params.yaml becomes one frozen, bounded object; an unknown key or a value out of bounds stops.

Each section's model stands beside the algorithm that it configures and receives nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from lethe.adapters.studies import StudyRules
from lethe.durable import sha256_json
from lethe.errors import BadConfiguration
from lethe.estate.canaries.roll import CanaryRules
from lethe.estate.outward.tables import Form
from lethe.gate.scoring.metrics import metric_names
from lethe.gate.scoring.quality import QualityRule
from lethe.interactions.intake.rules import IntakeRules
from lethe.interactions.training.fading import worth_trying
from lethe.interactions.training.snapshot import SnapshotRules
from lethe.solutions.recipes import RECIPES, Choice, Dimension, recipe

# The safe loader, in C where it was built: each step of a night reads params.yaml anew.
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Once(_LOADER):  # type: ignore[misc]  # which of the two is known when it runs
    """Of a key that stands twice the last would count, and nobody would hear of the first."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise BadConfiguration(f"line {line}: the key {key.value} stands there again")
                seen.add(key.value)
        return dict(super().construct_mapping(node, deep))


class Section(BaseModel):
    """A section of params.yaml: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PurgeRules(Section):
    """How the shards are cut; a change takes effect for a new workspace only."""

    buckets: int = Field(default=8, ge=1, le=256)


class TuningRules(Section):
    """What is searched, for how long, and how often a trial is scored on the way.

    `recipes` maps a recipe's name to its search space, an empty one to the recipe's own; a fixed
    value is a categorical of one.
    `trials` counts per recipe; `minutes` (per recipe) ends a study early and makes its result
    depend on the machine's speed. Trials are scored on `sample_users` users of the validation
    window every `report_every` iterations; 0 scores only the end. `shortened` maps a recipe's name
    to hyper-parameters that every trial is fitted with in place of its own, to be quick; the best
    `finalists` are then fitted as they are, and the best of those is chosen. `half_life_days` are
    searched with each recipe, those that suit the time that the data span: `Params.half_lives`.
    """

    recipes: dict[str, dict[str, Dimension]]
    half_life_days: tuple[Annotated[float, Field(ge=1, le=36_500)] | None, ...] = (
        None, 7, 15, 30, 60, 120, 240, 480, 960,
    )  # fmt: skip
    trials: int = Field(default=10, ge=1, le=10_000)
    minutes: float | None = Field(default=None, gt=0)
    sample_users: int = Field(default=1_000, ge=10)
    report_every: int = Field(default=2, ge=0, le=1_000)
    shortened: dict[str, dict[str, Choice]] = Field(default_factory=dict)
    finalists: int = Field(default=2, ge=1, le=100)
    study: StudyRules = StudyRules()

    @field_validator("recipes")
    @classmethod
    def _known(cls, recipes: dict[str, dict[str, Dimension]]) -> dict[str, dict[str, Dimension]]:
        if not recipes:
            raise ValueError("at least one recipe must be searched")
        for name, space in recipes.items():
            try:
                searched = recipe(name)
                searched.check_space(space)
            except BadConfiguration as error:
                raise ValueError(str(error)) from None
            if searched.baseline:
                raise ValueError(f"{name} is a baseline: it is scored, and never tuned or promoted")
        return {name: space or dict(recipe(name).space) for name, space in recipes.items()}

    @field_validator("half_life_days")
    @classmethod
    def _once_each(cls, half_lives: tuple[float | None, ...]) -> tuple[float | None, ...]:
        if len(set(half_lives)) < len(half_lives):
            raise ValueError("a half-life stands there twice")
        return half_lives

    @model_validator(mode="after")
    def _shortens_what_is_fixed(self) -> Self:
        """A searched hyper-parameter that no trial is fitted with would be chosen blindly."""
        for name, values in self.shortened.items():
            fixed = {key: Dimension(kind="categorical", choices=(values[key],)) for key in values}
            try:
                recipe(name).check_space(fixed)
            except BadConfiguration as error:
                raise ValueError(f"shortened: {error}") from None
            space = self.recipes.get(name, {})
            for key in sorted(values.keys() & space.keys()):
                if len(set(space[key].corners())) > 1:
                    raise ValueError(f"shortened: {name}: {key} is searched, so trials need it")
        return self


class RetentionRules(Section):
    """How many data versions and finished studies are kept when nobody is erased.

    `restricted_days`: how long the details of a refusal are kept at most.
    """

    data_versions: int = Field(default=30, ge=1)
    nights_of_studies: int = Field(default=30, ge=1)
    restricted_days: int = Field(default=14, ge=1, le=365)


class EnvironmentRules(Section):
    """What is pinned in the process that fits, since it changes the factors' bits."""

    blas_kernel: str = Field(default="Haswell", pattern=r"^[A-Za-z0-9]+$")


class NightRules(Section):
    """How a night behaves towards another one."""

    wait_seconds: float = Field(default=600, ge=0)
    lock_seconds: float = Field(default=60, gt=0)


class RecommendRules(Section):
    """What `lethe recommend` writes where it is not told otherwise, and whether a night does so.

    `k` is the longest list; `items_already_seen` says what becomes of items that a user has in the
    training set.
    """

    after_night: bool = False
    k: int = Field(default=100, ge=1, le=10_000)
    items_already_seen: Literal["drop", "keep"] = "drop"
    format: Form = "csv"


class Params(Section):
    """The whole of params.yaml.

    `name` is the registered model's and the experiment's name; `seed` the one seed from which
    every other is derived; `recipients` names those to whom personal data is disclosed.
    """

    name: str = Field(default="shop", pattern=r"^[a-z][a-z0-9-]{0,62}$")
    seed: int = Field(default=20_240_301, ge=0, lt=2**31)
    recipients: tuple[str, ...] = ()
    intake: IntakeRules = IntakeRules()
    purge: PurgeRules = PurgeRules()
    canaries: CanaryRules = CanaryRules()
    training: SnapshotRules = SnapshotRules()
    tuning: TuningRules
    promotion: QualityRule = QualityRule()
    retention: RetentionRules = RetentionRules()
    environment: EnvironmentRules = EnvironmentRules()
    night: NightRules = NightRules()
    recommend: RecommendRules = RecommendRules()

    @field_validator("promotion")
    @classmethod
    def _judgeable(cls, rule: QualityRule) -> QualityRule:
        """A metric or a baseline that is never measured would refuse every night."""
        if rule.metric not in metric_names():
            raise ValueError(
                f"no metric is called {rule.metric}; known: {', '.join(metric_names())}"
            )
        baselines = [name for name, entry in RECIPES.items() if entry.baseline]
        if unknown := sorted(set(rule.must_beat) - set(baselines)):
            raise ValueError(f"{', '.join(unknown)} is no baseline; known: {', '.join(baselines)}")
        return rule

    def half_lives(self, days: int, too_short: float | None = None) -> tuple[float | None, ...]:
        """How weights may fade in data that span so many days: at least one answer, None for not.

        One alone if `training` fixes it, or if no other is searched, suits `days`, and is longer
        than one that was `too_short`.
        """
        if self.training.half_life_days is not None:
            return (self.training.half_life_days,)
        found = worth_trying(self.tuning.half_life_days, days)
        if too_short is not None:
            found = tuple(days for days in found if days is None or days > too_short)
        return found or (None,)

    @property
    def learning_digest(self) -> str:
        """Hex SHA-256 of the sections on which tonight's factors depend."""
        dumped = self.model_dump(mode="json", include={"seed", "training", "tuning", "environment"})
        return sha256_json({**dumped, "promotion": self.promotion.model_dump(mode="json")})


def read_params(path: Path, overrides: Sequence[str] = ()) -> Params:
    """Read params.yaml and lay `a.b=value` overrides (values are YAML) over it.

    Raises:
        BadConfiguration: names the file, the key and the rule.
    """
    document = _document(path)
    for override in overrides:
        _override(document, override)
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        faults = (
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise BadConfiguration(f"{path.name}: {'; '.join(faults)}") from None


def space_override(path: Path) -> str:
    """What a search-space file says, as an override: it holds what `tuning.recipes` is to hold.

    Raises:
        BadConfiguration: names the file and the rule. Axes are checked where the override is read.
    """
    return f"tuning.recipes={json.dumps(_document(path))}"


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Once)  # noqa: S506
    except BadConfiguration as error:
        raise BadConfiguration(f"{path.name}, {error}") from None
    except FileNotFoundError:
        raise BadConfiguration(f"{path.name} is missing") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise BadConfiguration(f"{path.name} is not readable as YAML") from None
    if not isinstance(document, dict):
        raise BadConfiguration(f"{path.name} must hold a mapping of sections")
    return document


def _override(document: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise BadConfiguration(f"--set takes section.key=value, not {override!r}")
    section: Any = document
    for key in keys[:-1]:
        section = section.setdefault(key, {}) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            raise BadConfiguration(f"--set {path}: {key} is not a section")
    try:
        section[keys[-1]] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise BadConfiguration(f"--set {path}: the value is not YAML") from None


def as_flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested sections as dotted names, for a ledger that takes flat parameters.

    >>> as_flat({"a": {"b": 1}, "c": None})
    {'a.b': '1', 'c': 'None'}
    """
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(as_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat
