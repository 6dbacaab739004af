"""How close a task is to what a checkpoint has learnt already."""

from typing import Literal

from spezia.contract.wire import Reply


class Similarity(Reply):
    """What the untouched checkpoint can do, measured before the first trial, and what follows for freezing."""

    metrics: dict[str, float]
    """Of a linear probe on frozen hidden states, on validation rows: ``probe_…``, what guessing gets, and
    ``skill``, the share of the way from guessing to perfection that the probe goes. Of causal-lm: the
    checkpoint's own ``validation_loss``."""
    suggestion: Literal["similar-task", "different-task"] | None
    """The preset that fits; null: it is in between, or cannot be told."""
    why: str
