"""The hyperparameters of one trial, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from spezia.contract.hyperparameters import HYPERPARAMETERS, ParamValue, default_of
from spezia.contract.wire import nearest_name_hint
from trainer.errors import ConfigError

_POLYNOMIAL_END = 1e-7
"""Where transformers' polynomial schedule ends: a peak must lie above it."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One trial. Impossible values raise ``ConfigError`` at construction."""

    method: str
    """What trains: ``full``, ``head_only`` or ``lora``."""
    learning_rate: float
    """Peak rate of AdamW."""
    batch_size: int
    """Examples per optimizer step, whatever memory makes of it."""
    epochs: int
    """Passes over the training data."""
    dropout: float | None
    """Probability of every dropout outside frozen blocks and adapters; ``None``: the checkpoint's own."""
    weight_decay: float
    """Decoupled: share of a weight that a step takes away, times the rate."""
    lr_schedule: str
    """Name of the rate's shape, one of ``spezia.contract.hyperparameters.SCHEDULES``."""
    warmup_ratio: float
    """Share of all optimizer steps during which the rate rises from 0."""
    frozen_layers: int
    """0: nothing is frozen; k: the embeddings and the first k blocks are."""
    frozen_fraction: float
    """The same as a share of all blocks; one of the two is 0. See ``depth``."""
    unfreeze: str
    """``none``, or ``gradual``: blocks thaw top-down during the first third of the optimizer steps."""
    layer_lr_decay: float
    """Rate of a block as a share of the rate of the block above it."""
    label_smoothing: float
    """Share of the training target's probability that is spread over all classes."""
    max_grad_norm: float
    """Largest L2 norm of an effective batch's gradients; 0: any."""
    adam_beta2: float
    """Decay of AdamW's second moments."""
    gradient_checkpointing: bool
    """Whether blocks that train compute their activations again in the backward pass."""
    lora_rank: int
    lora_alpha_ratio: float
    """Alpha divided by rank: the factor of what an adapter adds."""
    lora_dropout: float
    """Probability of the dropout in front of the adapters."""
    lora_targets: str
    """``all-linear`` or ``attention``: the linear layers of the blocks that get an adapter."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            hyperparameter = HYPERPARAMETERS[field.name]
            if value is None and hyperparameter.default is None:
                continue
            if problem := hyperparameter.problem(value):
                raise ConfigError(f"{field.name} = {value!r} {problem}")
        if self.frozen_layers and self.frozen_fraction:
            raise ConfigError("frozen_layers and frozen_fraction say the same in two ways; give one of them")
        if self.lr_schedule == "polynomial" and self.learning_rate <= _POLYNOMIAL_END:
            raise ConfigError(
                f"learning_rate = {self.learning_rate:g} must lie above {_POLYNOMIAL_END:g}, where "
                "lr_schedule polynomial ends; raise the range of learning_rate or take another schedule"
            )

    @classmethod
    def from_params(cls, params: Mapping[str, ParamValue]) -> Self:
        """Fill what is left out with the defaults.

        Raises:
            ConfigError: an unknown name, an impossible value, or a parameter that the trial's method has not.
        """
        for name in params:
            if name not in HYPERPARAMETERS:
                raise ConfigError(f"unknown hyperparameter {name!r}{nearest_name_hint(name, HYPERPARAMETERS)}")
        values: dict[str, Any] = {name: default_of(name, params) for name in HYPERPARAMETERS}
        config = cls(**(values | dict(params)))
        for name in params:
            methods = HYPERPARAMETERS[name].methods
            if config.method not in methods:
                raise ConfigError(f"{name}: only method {' and '.join(methods)} has it, not {config.method}; drop it")
        return config

    def depth(self, n_blocks: int) -> int:
        """Of ``n_blocks``, how many from the first on stay frozen for the whole trial; 0: nothing does.

        Raises:
            ConfigError: the model has fewer.
        """
        if self.method == "head_only":
            return n_blocks
        if self.frozen_layers > n_blocks:
            raise ConfigError(
                f"frozen_layers = {self.frozen_layers}: the model has {n_blocks} blocks; use at most that"
            )
        return self.frozen_layers or round(self.frozen_fraction * n_blocks)

    @property
    def needs_blocks(self) -> bool:
        """Whether it can only run on a model that can be split into blocks."""
        is_partial = bool(self.frozen_layers or self.frozen_fraction)
        return is_partial or self.unfreeze == "gradual" or self.layer_lr_decay < 1.0
