"""Hyperparameters of a trial, checked at construction."""

import re
from dataclasses import fields
from typing import Any

import pytest

from spezia.contract.hyperparameters import HYPERPARAMETERS
from trainer.errors import ConfigError
from trainer.trial.config import TrialConfig


def test_config_has_a_field_for_every_hyperparameter() -> None:
    assert {field.name for field in fields(TrialConfig)} == set(HYPERPARAMETERS)


def test_what_is_left_out_gets_its_default() -> None:
    config = TrialConfig.from_params({"batch_size": 8})
    assert config.batch_size == 8
    assert config.dropout is None
    assert (config.learning_rate, config.epochs, config.lr_schedule) == (2e-5, 3, "linear")


@pytest.mark.parametrize(("method", "rate"), [("full", 2e-5), ("lora", 2e-4), ("head_only", 1e-3)])
def test_the_default_rate_is_the_methods(method: str, rate: float) -> None:
    assert TrialConfig.from_params({"method": method}).learning_rate == rate


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"learningrate": 1e-3}, "unknown hyperparameter 'learningrate'; did you mean 'learning_rate'?"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0 must be a number from"),
        ({"learning_rate": float("nan")}, "learning_rate = nan must be a number from"),
        ({"batch_size": 8.0}, "batch_size = 8.0 must be a whole number"),
        ({"batch_size": True}, "batch_size = True must be a whole number"),
        ({"epochs": 0}, "epochs = 0 must be a whole number from 1"),
        ({"dropout": 1.0}, "dropout = 1.0 must be a number from"),
        ({"weight_decay": -0.1}, "weight_decay = -0.1 must be a number from"),
        ({"lr_schedule": "linar"}, "lr_schedule = 'linar' must be one of linear"),
        ({"warmup_ratio": 1.0}, "warmup_ratio = 1.0 must be a number from"),
        ({"frozen_layers": -1}, "frozen_layers = -1 must be a whole number from 0"),
        ({"lr_schedule": "polynomial", "learning_rate": 1e-7}, "learning_rate = 1e-07 must lie above 1e-07"),
        ({"lora_rank": 8}, "lora_rank works with method lora only, not with full"),
        (
            {"method": "head_only", "frozen_layers": 1},
            "frozen_layers works with method full or lora only, not with head_only",
        ),
        ({"method": "head_only", "unfreeze": "gradual"}, "unfreeze works with method full or lora only"),
        ({"method": "head_only", "layer_lr_decay": 0.9}, "layer_lr_decay works with method full or lora only"),
        ({"frozen_layers": 1, "frozen_fraction": 0.5}, "frozen_layers and frozen_fraction say the same"),
        ({"layer_lr_decay": 0.0}, "layer_lr_decay = 0.0 must be a number from 0 to 1, 0 excluded"),
        ({"method": "qlora"}, "method = 'qlora' must be one of full, head_only, lora"),
        ({"gradient_checkpointing": 1}, "gradient_checkpointing = 1 must be true or false"),
        ({"method": "lora", "lora_rank": 0}, "lora_rank = 0 must be a whole number from 1"),
        ({"label_smoothing": 1.0}, "label_smoothing = 1.0 must be a number from 0 to 1, 1 excluded"),
    ],
)
def test_impossible_params_are_refused_by_name(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        TrialConfig.from_params(params)
