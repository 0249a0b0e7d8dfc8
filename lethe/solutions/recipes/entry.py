"""What a recipe is, and search spaces as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lethe.errors import BadConfiguration
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions.learned import Factors, Learned, Progress

Choice = bool | int | float | str | None


class Dimension(BaseModel):
    """One axis of a search space.

    ``float`` and ``int`` need ``low <= high`` (both ends included; ``log`` needs ``low > 0``);
    ``categorical`` needs ``choices``.

    >>> Dimension(kind="float", low=0.1, high=100.0, log=True).high
    100.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["float", "int", "categorical"]
    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)
    log: bool = False
    choices: tuple[Choice, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind == "categorical":
            if not self.choices or len(set(map(repr, self.choices))) != len(self.choices):
                raise ValueError("a categorical dimension needs choices that do not repeat")
            if self.log or self.low is not None or self.high is not None:
                raise ValueError("a categorical dimension takes choices, not low, high or log")
            return self
        if self.low is None or self.high is None or self.choices or not self.low <= self.high:
            raise ValueError("a numeric dimension needs low <= high and no choices")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic dimension needs low > 0")
        if self.kind == "int" and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("an int dimension needs whole numbers")
        return self

    def corners(self) -> tuple[Choice, ...]:
        """The values that bound the axis: its two ends, or every choice."""
        if self.kind == "categorical":
            return self.choices
        cast = int if self.kind == "int" else float
        return tuple(cast(end) for end in (self.low, self.high) if end is not None)


Fit = Callable[[InteractionMatrix, Any, int, Progress | None], Learned]
AtRest = Callable[[Any, Factors], bool]
FitToRest = Callable[[InteractionMatrix, Any, int, AtRest], tuple[BaseModel, Factors]]


@dataclass(frozen=True)
class Recipe:
    """A way to learn: bounded hyper-parameters, a default search space and a cold fit.

    Attributes:
        name: as in `params.yaml`, reports and manifests.
        hyperparameters: frozen pydantic model; the second argument of `fit` is one of these.
        fit: ``fit(matrix, hyperparameters, seed, progress)`` -> what was learned. Cold, and the
            same bits for the same arguments and environment. `als`, `lightfm` and `popular`
            return `Factors`.
        space: default search space; `params.yaml` may give another.
        first: hyper-parameters, beside its defaults, that a search tries first where no earlier
            night left its best.
        baseline: True for what a winner must beat; a baseline is never recorded or promoted.
        fit_to_rest: ``fit_to_rest(matrix, hyperparameters, seed, at_rest)`` -> hyper-parameters and
            factors: `fit`, and more of it until ``at_rest(hyperparameters, factors)``; None where
            there is no such thing. With the hyper-parameters it returns `fit` gives the same bits.
        layers: the layers of deletion verification that it is held to. Naming none means all six;
            `structure`, `manifest` and `replay` are asked of every recipe, whatever stands here.
    """

    name: str
    hyperparameters: type[BaseModel]
    fit: Fit
    space: Mapping[str, Dimension] = field(default_factory=dict)
    first: Mapping[str, Choice] = field(default_factory=dict)
    baseline: bool = False
    fit_to_rest: FitToRest | None = None
    layers: tuple[str, ...] = ()

    def check_space(self, space: Mapping[str, Dimension]) -> None:
        """Refuse a space that could propose what the hyper-parameters do not allow.

        Raises:
            BadConfiguration: an unknown name, or an end of an axis outside the bounds.
        """
        for name, dimension in space.items():
            if name not in self.hyperparameters.model_fields:
                raise BadConfiguration(f"recipe {self.name} has no hyper-parameter {name!r}")
            for value in dimension.corners():
                try:
                    self.hyperparameters.model_validate({name: value})
                except ValidationError as error:
                    rule = error.errors()[0]["msg"]
                    raise BadConfiguration(
                        f"recipe {self.name}, search space {name}: {value!r}: {rule}"
                    ) from None
