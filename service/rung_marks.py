"""What a trial's attributes say of the rungs that it has reached: its values there, and where it is paused.

The store writes them, and search reads them to decide which trials go on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

PAUSED = "spezia:paused"
"""User attribute of a trial that is paused, or was told to pause and still runs: a `Pause`. Optuna's tools show it."""

REACHED = "spezia:reached"
"""System attribute of a trial: by rung, its value there and when it came there."""

PROMOTED = "spezia:promoted"
"""System attribute of a trial: from how many rungs, from the first on, it was promoted, so that it passes them."""


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

    @property
    def began_at(self) -> datetime:
        """When the trial was told to pause."""
        return datetime.fromisoformat(self.since)


@dataclass(frozen=True)
class Arrival:
    """A trial's arrival at a rung."""

    value: float
    """Value that the trial reported there."""
    at: str
    """When it did, as ISO 8601 in UTC."""


def pause_in(user_attrs: Mapping[str, Any]) -> Pause | None:
    """Return where a trial of these user attributes is paused or told to pause; ``None``: it is not."""
    stored = user_attrs.get(PAUSED)
    return None if stored is None else Pause(**stored)


def arrivals_in(system_attrs: Mapping[str, Any]) -> dict[int, Arrival]:
    """Return by rung the arrivals of a trial of these system attributes."""
    return {int(rung): Arrival(*stored) for rung, stored in system_attrs.get(REACHED, {}).items()}


def n_promoted_in(system_attrs: Mapping[str, Any]) -> int:
    """Return from how many rungs a trial of these system attributes was promoted."""
    return int(system_attrs.get(PROMOTED, 0))
