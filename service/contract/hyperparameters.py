"""Every hyperparameter that a study may search or fix: its type, bounds, default and meaning.

The bounds are what the trainer can carry out at all, not advice. Defaults are where a search should
start: BERT (Devlin et al. 2019) for rate, batch, epochs and decay, RoBERTa (Liu et al. 2019) for warm-up.
"""

from dataclasses import dataclass
from typing import Literal

ParamValue = bool | int | float | str

SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)
"""Schedules of transformers' ``SchedulerType`` that need nothing but warm-up and total steps."""


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """One knob of a trial."""

    name: str
    type: Literal["float", "int", "name"]
    default: ParamValue | None
    """Used when a study neither searches nor fixes it; ``None``: the checkpoint's own."""
    low: float | None = None
    """Smallest allowed value."""
    high: float | None = None
    """Largest allowed value."""
    high_is_open: bool = False
    """``high`` itself is not allowed."""
    choices: tuple[str, ...] = ()
    """Allowed names, for type ``name``."""
    meaning: str

    def problem(self, value: object) -> str | None:
        """Say why ``value`` cannot be used, or ``None`` if it can."""
        if self.type == "name":
            known = isinstance(value, str) and value in self.choices
            return None if known else f"must be one of {', '.join(self.choices)}"
        if isinstance(value, bool) or not isinstance(value, int if self.type == "int" else int | float):
            return f"must be {'a whole number' if self.type == 'int' else 'a number'}"
        if self._is_inside(value):
            return None
        return f"must lie in [{self.low:g}, {self.high:g}{')' if self.high_is_open else ']'}"

    def _is_inside(self, value: float) -> bool:
        assert self.low is not None
        assert self.high is not None
        return self.low <= value and (value < self.high if self.high_is_open else value <= self.high)


_ALL = (
    Hyperparameter(
        name="learning_rate",
        type="float",
        default=2e-5,
        low=1e-12,
        high=1.0,
        meaning="peak learning rate of AdamW",
    ),
    Hyperparameter(
        name="batch_size",
        type="int",
        default=16,
        low=1,
        high=65_536,
        meaning="examples per optimizer step (micro-batch times accumulation)",
    ),
    Hyperparameter(
        name="epochs",
        type="int",
        default=3,
        low=1,
        high=1_000,
        meaning="passes over the training data; the best evaluation counts, not the last",
    ),
    Hyperparameter(
        name="dropout",
        type="float",
        default=None,
        low=0.0,
        high=1.0,
        high_is_open=True,
        meaning="probability of every dropout of the model outside frozen blocks",
    ),
    Hyperparameter(
        name="weight_decay",
        type="float",
        default=0.01,
        low=0.0,
        high=10.0,
        meaning="decoupled weight decay, not on parameters of fewer than two dimensions",
    ),
    Hyperparameter(
        name="lr_schedule",
        type="name",
        default="linear",
        choices=SCHEDULES,
        meaning="shape of the learning rate over the trial",
    ),
    Hyperparameter(
        name="warmup_ratio",
        type="float",
        default=0.06,
        low=0.0,
        high=1.0,
        high_is_open=True,
        meaning="share of the optimizer steps during which the rate rises from 0",
    ),
    Hyperparameter(
        name="frozen_layers",
        type="int",
        default=0,
        low=0,
        high=1_000,
        meaning="0: nothing is frozen; k: the embeddings and the first k blocks are",
    ),
)

HYPERPARAMETERS = {hyperparameter.name: hyperparameter for hyperparameter in _ALL}
