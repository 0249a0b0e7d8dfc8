"""What is learned from before a held-out window, and the evaluation on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from lethe.gate.scoring.evaluation import Evaluation, evaluate
from lethe.interactions.training.fading import span
from lethe.interactions.training.matrix import InteractionMatrix
from lethe.interactions.training.splits import HeldOutWindow
from lethe.interactions.training.splits import Window as TrainedOn
from lethe.interactions.training.windows import HeldOut, TrainingSet
from lethe.solutions.learned import Learned, Progress
from lethe.solutions.setting import Setting


@dataclass(frozen=True)
class Window:
    """What is learned from before a window, and what its users did next, with the cold told.

    `matrix` is as the training set's own rules have it; `span_days` that of the whole set.
    """

    training: Path
    learns: TrainedOn
    matrix: InteractionMatrix
    held_out: HeldOut
    span_days: int
    _faded: dict[float | None, InteractionMatrix]

    @classmethod
    def read(cls, training: Path, window: HeldOutWindow) -> Window:
        """Validation is judged after "train", test after "train+validation"."""
        data = TrainingSet.read(training)
        learns: TrainedOn = "train" if window == "validation" else "train+validation"
        matrix = data.matrix(learns)
        held_out = data.held_out(window, matrix)
        days = span(data.timestamp)
        return cls(training, learns, matrix, held_out, days, {data.half_life_days: matrix})

    def faded(self, half_life_days: float | None) -> InteractionMatrix:
        """The matrix with this half-life: other weights on the same cells, each made once."""
        if half_life_days not in self._faded:
            # read again: the rows take more room than a matrix, and few half-lives are asked for
            data = replace(TrainingSet.read(self.training), half_life_days=half_life_days)
            made, own = data.matrix(self.learns), self.matrix.csr
            csr = scipy.sparse.csr_matrix((made.csr.data, own.indices, own.indptr), own.shape)
            self._faded[half_life_days] = replace(self.matrix, csr=csr)
        return self._faded[half_life_days]

    def fit(self, setting: Setting, progress: Progress | None = None) -> Learned:
        """A cold fit, weights fading as the setting says.

        Raises:
            RecipeFailed: the fit failed.
        """
        return setting.fit(self.faded(setting.half_life_days), progress)

    def evaluate(self, learned: Learned, users: Any = None) -> Evaluation:
        """Every metric on the held-out window."""
        found = evaluate(learned, self.matrix.csr, self.held_out.csr, users=users)
        return found.telling_cold(self.held_out.cold_users, self.held_out.cold_items)

    def sample(self, size: int, seed: int) -> Any:
        """A fixed sample of the users with something held out: int64 rows, ascending."""
        rows = np.flatnonzero(np.diff(self.held_out.csr.indptr))
        if len(rows) > size:
            rows = np.random.default_rng(seed).choice(rows, size, replace=False)
        return np.sort(rows)
