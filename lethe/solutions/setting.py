"""A setting: all that a fit depends on but the data and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from lethe.durable import sha256_json
from lethe.interactions.training.fading import nearest
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.solutions.learned import Learned, Progress
from lethe.solutions.recipes import AtRest, recipe

FURTHER: Final = "further_iterations"
"""Stands among the hyper-parameters of what went on until it was at rest: how much further."""
DISCOUNT: Final = "popularity_discount"
"""Stands among the hyper-parameters of a recipe that can trust an item less if many have it."""
HALF_LIFE: Final = "half_life_days"
"""Stands among the hyper-parameters of a trial where half-lives are searched."""


@dataclass(frozen=True)
class Setting:
    """A recipe's hyper-parameters, defaults filled in, its seed, and how weights fade before it.

    `half_life_days` says of which matrix `fit` is to be given; None is the one that does not fade.
    """

    recipe: str
    hyperparameters: Mapping[str, Any]
    seed: int
    half_life_days: float | None = None

    @classmethod
    def of(
        cls, name: str, values: Mapping[str, Any], seed: int, half_life_days: float | None = None
    ) -> Setting:
        """From values as a trial has them; `half_life_days` counts where HALF_LIFE is not theirs.

        Raises:
            BadConfiguration: no recipe has that name.
            ValidationError: a value is unknown to the recipe or out of its bounds.
        """
        own = dict(values)
        days = own.pop(HALF_LIFE, half_life_days)
        whole = recipe(name).hyperparameters.model_validate(own).model_dump(mode="json")
        return cls(name, whole, seed, None if days is None else float(days))

    @property
    def values(self) -> dict[str, Any]:
        """What a person is shown: the hyper-parameters, and HALF_LIFE where weights fade."""
        fades = {} if self.half_life_days is None else {HALF_LIFE: self.half_life_days}
        return {**self.hyperparameters, **fades}

    @property
    def digest(self) -> str:
        """Hex SHA-256: equal for equal settings alone."""
        return sha256_json(asdict(self))

    @property
    def as_searched(self) -> Setting:
        """Without what training went on for: of equal settings one need not be fitted."""
        if FURTHER not in self.hyperparameters:
            return self
        return replace(self, hyperparameters={**self.hyperparameters, FURTHER: 0})

    def fading(self, offered: tuple[float | None, ...]) -> Setting:
        """The same with the nearest half-life that is `offered`: see `fading.nearest`."""
        return replace(self, half_life_days=nearest(self.half_life_days, offered))

    @property
    def discount(self) -> float:
        """The popularity discount; 0 of a recipe that knows none."""
        return float(self.hyperparameters.get(DISCOUNT, 0.0))

    def undiscounted(self) -> Setting:
        """The same, trusting every item alike."""
        if not self.discount:
            return self
        return replace(self, hyperparameters={**self.hyperparameters, DISCOUNT: 0.0})

    def fit(self, matrix: InteractionMatrix, progress: Progress | None = None) -> Learned:
        """A cold fit on `matrix`, whose weights have faded already.

        Raises:
            RecipeFailed: the fit failed.
        """
        chosen = recipe(self.recipe)
        values = chosen.hyperparameters.model_validate(dict(self.hyperparameters))
        return chosen.fit(matrix, values, self.seed, progress)

    def fit_to_rest(self, matrix: InteractionMatrix, at_rest: AtRest) -> tuple[Setting, Learned]:
        """`fit`, and more of it until `at_rest`; the setting returned gives the same with `fit`.

        A recipe that knows no such thing is fitted as it is.

        Raises:
            RecipeFailed: the fit failed.
        """
        chosen = recipe(self.recipe)
        if chosen.fit_to_rest is None:
            return self, self.fit(matrix)
        values = chosen.hyperparameters.model_validate(dict(self.hyperparameters))
        made, learned = chosen.fit_to_rest(matrix, values, self.seed, at_rest)
        return replace(self, hyperparameters=made.model_dump(mode="json")), learned
