"""Studies in memory: random search from the seed, the same words as lethe.adapters.studies."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lethe.adapters.studies import Objective, ParamValue, StudyResult, TrialRecord
from lethe.errors import LetheError, RecipeFailed
from lethe.solutions.recipes import Dimension


class FakeStudies:
    """Stands where the module `studies` stands; keeps finished trials by (storage, name)."""

    def __init__(self) -> None:
        self.kept: dict[tuple[Path, str], list[TrialRecord]] = {}

    def tune(
        self,
        storage: Path,
        name: str,
        space: Mapping[str, Dimension],
        objective: Objective,
        *,
        trials: int,
        minutes: float | None,
        seed: int,
        first: Sequence[Mapping[str, ParamValue]] = (),
        on_trial: Callable[[TrialRecord], None] | None = None,
    ) -> StudyResult:
        done = self.kept.setdefault((storage, name), [])
        while len(done) < trials:
            params = _draw(space, random.Random(f"{seed}-{len(done)}"))  # noqa: S311 - no secret
            if len(done) < len(first):
                guess = first[len(done)]
                params |= {key: guess[key] for key in guess if key in space}
            done.append(_try(len(done), params, objective))
        for record in done:
            if on_trial:
                on_trial(record)
        complete = [t for t in done if t.state == "complete"]
        if not complete:
            kinds = ", ".join(sorted({t.failure or "" for t in done}))
            raise RecipeFailed(f"study {name}: all {len(done)} trials failed ({kinds})")
        best = max(complete, key=lambda t: t.value)
        return StudyResult(best.params, best.value, tuple(done))

    def forget(self, storage: Path, name: str) -> bool:
        return self.kept.pop((storage, name), None) is not None


def _draw(space: Mapping[str, Dimension], dice: random.Random) -> dict[str, ParamValue]:
    params: dict[str, ParamValue] = {}
    for key in sorted(space):
        dimension = space[key]
        if dimension.kind == "categorical":
            params[key] = dice.choice(list(dimension.choices or ()))
        elif dimension.kind == "int":
            params[key] = dice.randint(int(dimension.low or 0), int(dimension.high or 0))
        else:
            params[key] = dice.uniform(dimension.low or 0.0, dimension.high or 0.0)
    return params


def _try(number: int, params: dict[str, ParamValue], objective: Objective) -> TrialRecord:
    steps: list[tuple[int, float]] = []
    try:
        score = objective(dict(params), lambda step, value: steps.append((step, value)))
    except Exception as error:
        kind = type(error).__name__
        reason = f"{kind}: {error}" if isinstance(error, LetheError) else kind
        return TrialRecord(number, params, math.nan, "failed", 0.0, tuple(steps), {}, reason)
    metrics = dict(score.metrics)
    return TrialRecord(number, params, score.value, "complete", 0.0, tuple(steps), metrics, None)
