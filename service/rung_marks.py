"""What a trial's attributes say of the rungs that it has reached: its values there, and where it is paused.

The store writes them, and search reads them to decide which trials go on.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from spezia.contract.outcomes import TrialSpeed

PAUSED = "spezia:paused"
"""User attribute of a trial that is paused, or was told to pause and still runs: a `Pause`. Optuna's tools show it."""

REACHED = "spezia:reached"
"""System attribute of a trial: by rung, its value there and when it came there."""

PROMOTED = "spezia:promoted"
"""System attribute of a trial: from how many rungs, from the first on, it was promoted, so that it passes them."""

PARTIAL = "spezia:partial"
"""System attribute of a trial: by step, what its current attempt has reported of a part of the validation rows. Such
values are no intermediate values, where all that reads a trial would take them for values of the whole split."""


@dataclass(frozen=True, kw_only=True)
class Pause:
    """Where a trial is paused."""

    rung: int
    """Rung, from 0."""
    step: int
    """Step of the evaluation at which the trial pauses."""
    attempt: int
    """Number of the attempt that was told to pause."""
    since: str
    """When it was told, as ISO 8601 in UTC."""
    has_checkpoint: bool = True
    """Whether its worker may offer a checkpoint of it, as far as the worker has said."""
    seconds_per_epoch: float | None = None
    """Seconds that the attempt took for an epoch; ``None``: its worker has not said."""
    trunk_seconds: float | None = None
    """Seconds that the trunk cache has saved the trial until then; ``None``: its worker has not said."""

    @property
    def began_at(self) -> datetime:
        """When the trial was told to pause."""
        return datetime.fromisoformat(self.since)

    @property
    def speed(self) -> TrialSpeed:
        """What was measured of the trial's speed until then."""
        return TrialSpeed(seconds_per_epoch=self.seconds_per_epoch, trunk_seconds=self.trunk_seconds)


@dataclass(frozen=True)
class Arrival:
    """A trial's arrival at a rung."""

    value: float
    """Value that the trial reported there."""
    at: str
    """When it did, as ISO 8601 in UTC."""


class Marked(Protocol):
    """What has these attributes: a trial of Optuna's."""

    intermediate_values: dict[int, float]
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]


def pause_of(trial: Marked) -> Pause | None:
    """Return where a trial is paused, or was told to pause; ``None``: it was not.

    Anyone who enqueues a trial may give it our user attribute, which says nothing of one that has reached no rung.
    """
    stored = trial.user_attrs.get(PAUSED)
    return None if stored is None or REACHED not in trial.system_attrs else Pause(**stored)


def arrivals_of(trial: Marked) -> dict[int, Arrival]:
    """Return the arrivals of a trial by rung."""
    return {int(rung): Arrival(*stored) for rung, stored in trial.system_attrs.get(REACHED, {}).items()}


def n_promoted_of(trial: Marked) -> int:
    """Return from how many rungs a trial was promoted."""
    return int(trial.system_attrs.get(PROMOTED, 0))


def partial_values_of(trial: Marked) -> dict[int, float]:
    """Return by step what a trial has reported of a part of the validation rows."""
    return {int(step): value for step, value in trial.system_attrs.get(PARTIAL, {}).items()}


def reported_values_of(trial: Marked) -> dict[int, float]:
    """Return by step all that a trial has reported, of a part of the validation rows or of all."""
    return trial.intermediate_values | partial_values_of(trial)
