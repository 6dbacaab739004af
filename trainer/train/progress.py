"""Counts a trial's way: the step it is at, its best one, and when early stopping has had enough."""

import math
from typing import Any

from trainer.trunk.trunk import Trunk


class Progress:
    """The step a trial is at, how long ago its best one was, and what it has read from the cache.

    Steps are counted whether they are evaluated or not, so that patience lasts as long in a trial that leaves some out.
    """

    def __init__(self, *, is_minimized: bool, patience: int | None, trunk: Trunk | None) -> None:
        """Start a trial that has made no evaluation.

        Args:
            is_minimized: whether smaller values are better.
            patience: steps without a better evaluation after which the trial ends; ``None``: it does not end early.
            trunk: counts the rows that come from the cache; ``None``: none do.
        """
        self.step = 0
        """Step of the last evaluation; 0 before the first."""
        self.value = math.nan
        """Value of the last evaluation."""
        self._sign = 1.0 if is_minimized else -1.0
        self._patience = patience
        self._best = math.inf
        self._best_step = 0
        self.trunk = trunk or Trunk()
        """Counts the rows that come from the cache."""

    def note(self, step: int, value: float) -> bool:
        """Count an evaluation, and return whether it is the best. Of equals the first is."""
        self.step = step
        self.value = value
        if self._sign * value >= self._best:
            return False
        self._best = self._sign * value
        self._best_step = step
        return True

    def note_partial(self, step: int, value: float) -> None:
        """Count an evaluation of a part of the validation rows, which is never the best."""
        self.step = step
        self.value = value

    @property
    def loss(self) -> float:
        """Value of the last evaluation, with the sign that makes smaller better; 0 before the first."""
        return self._sign * self.value if self.step else 0.0

    @property
    def is_best(self) -> bool:
        """Whether the last evaluation is the best."""
        return self.step == self._best_step

    @property
    def trunk_seconds(self) -> float | None:
        """Seconds that the trunk cache has saved; ``None``: nothing came from it, or they are not known."""
        return self.trunk.saved_seconds if self.trunk.n_rows else None

    @property
    def is_out_of_patience(self) -> bool:
        """Whether early stopping ends the trial at this step."""
        return self._patience is not None and self.step - self._best_step >= self._patience

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of this."""
        return {
            "step": self.step,
            "value": self.value,
            "best": self._best,
            "best_step": self._best_step,
            "cached_rows": self.trunk.n_rows,
            "trunk_seconds": self.trunk.saved_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
        self.step, self.value = state_dict["step"], state_dict["value"]
        self._best, self._best_step = state_dict["best"], state_dict["best_step"]
        self.trunk.n_rows = state_dict["cached_rows"]
        self.trunk.add_saved(state_dict["trunk_seconds"])
