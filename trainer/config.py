"""The hyperparameters of one trial, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from service.contract.hyperparameters import HYPERPARAMETERS, ParamValue
from service.contract.wire import nearest_name_hint
from trainer.errors import ConfigError

_POLYNOMIAL_END = 1e-7
"""Where transformers' polynomial schedule ends: a peak must lie above it."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One trial. Impossible values raise ``ConfigError`` at construction."""

    learning_rate: float
    """Peak rate of AdamW."""
    batch_size: int
    """Examples per optimizer step, whatever memory makes of it."""
    epochs: int
    """Passes over the training data."""
    dropout: float | None
    """Probability of every dropout outside frozen blocks; ``None``: the checkpoint's own."""
    weight_decay: float
    """Decoupled: share of a weight that a step takes away, times the rate."""
    lr_schedule: str
    """Name of the rate's shape, one of ``service.contract.hyperparameters.SCHEDULES``."""
    warmup_ratio: float
    """Share of all optimizer steps during which the rate rises from 0."""
    frozen_layers: int
    """0: nothing is frozen; k: the embeddings and the first k blocks are."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            hyperparameter = HYPERPARAMETERS[field.name]
            if value is None and hyperparameter.default is None:
                continue
            if problem := hyperparameter.problem(value):
                raise ConfigError(f"{field.name} = {value!r} {problem}")
        if self.lr_schedule == "polynomial" and self.learning_rate <= _POLYNOMIAL_END:
            raise ConfigError(
                f"learning_rate = {self.learning_rate:g} must lie above {_POLYNOMIAL_END:g}, where "
                "lr_schedule polynomial ends; raise the range of learning_rate or take another schedule"
            )

    @classmethod
    def from_params(cls, params: Mapping[str, ParamValue]) -> Self:
        """Fill what is left out with the defaults.

        Raises:
            ConfigError: an unknown name or an impossible value.
        """
        for name in params:
            if name not in HYPERPARAMETERS:
                raise ConfigError(f"unknown hyperparameter {name!r}{nearest_name_hint(name, HYPERPARAMETERS)}")
        values: dict[str, Any] = {name: known.default for name, known in HYPERPARAMETERS.items()}
        return cls(**(values | dict(params)))
