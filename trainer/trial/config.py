"""The hyperparameters of one trial, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from spezia.common.plural import plural
from spezia.contract.hyperparameters import HYPERPARAMETERS, ParamValue, default_of
from spezia.contract.schedules import SCHEDULES
from spezia.contract.wire import nearest_name_hint
from trainer.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """The hyperparameters of one trial, each of which `spezia.contract.hyperparameters` explains.

    Impossible values raise ``ConfigError`` at construction.
    """

    method: str
    learning_rate: float
    batch_size: int
    epochs: int
    dropout: float | None
    weight_decay: float
    lr_schedule: str
    warmup_ratio: float
    frozen_layers: int
    frozen_fraction: float
    unfreeze: str
    layer_lr_decay: float
    label_smoothing: float
    max_grad_norm: float
    adam_beta2: float
    gradient_checkpointing: bool
    lora_rank: int
    lora_alpha_ratio: float
    lora_dropout: float
    lora_targets: str

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
        end = SCHEDULES[self.lr_schedule].arguments.get("lr_end")
        if isinstance(end, float) and self.learning_rate <= end:
            raise ConfigError(
                f"learning_rate = {self.learning_rate:g} must lie above {end:g}, where lr_schedule {self.lr_schedule} "
                "ends; raise the range of learning_rate or take another schedule"
            )

    @classmethod
    def from_params(cls, params: Mapping[str, ParamValue]) -> Self:
        """Fill what ``params`` leave out with the defaults.

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
                raise ConfigError(
                    f"{name} works with method {' or '.join(methods)} only, not with {config.method}; leave it out"
                )
        return config

    def depth(self, n_blocks: int) -> int:
        """Return how many of ``n_blocks`` blocks stay frozen for the whole trial, from the first on.

        Raises:
            ConfigError: the model has fewer blocks than are to be frozen.
        """
        if self.method == "head_only":
            return n_blocks
        if self.frozen_layers > n_blocks:
            raise ConfigError(
                f"frozen_layers = {self.frozen_layers}: the model has {plural(n_blocks, 'block')}; use at most that"
            )
        return self.frozen_layers or round(self.frozen_fraction * n_blocks)

    @property
    def needs_blocks(self) -> bool:
        """Whether the trial can only run on a model that can be split into blocks."""
        is_partial = bool(self.frozen_layers or self.frozen_fraction)
        return is_partial or self.unfreeze == "gradual" or self.layer_lr_decay < 1.0
