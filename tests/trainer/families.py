"""Studies of every architecture with a tiny random model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import nn
from transformers import (
    PreTrainedModel,
)

from tests.trainer import tiny
from tests.trainer.observed import NUMBER, SEED
from trainer.data.batches import epoch_batches
from trainer.model.freeze import find_blocks
from trainer.train.prepare import Prepared
from trainer.trial.seeds import derive_seed

METHODS: dict[str, dict[str, Any]] = {
    "full": {},
    "head_only": {"method": "head_only"},
    "lora": {"method": "lora", "lora_rank": 4, "lora_dropout": 0.1},
    "frozen": {"frozen_layers": 2},
    "lora-frozen": {"method": "lora", "lora_rank": 4, "frozen_fraction": 0.34, "lora_targets": "attention"},
    "gradual": {"unfreeze": "gradual"},
}
"""Params of every way to train."""
N_ROWS, N_BLOCKS = 48, 3
SHORT: dict[str, Any] = {"batch_size": 8, "epochs": 1, "learning_rate": 1e-3}
"""Six optimizer steps."""

Study = Callable[..., Prepared]


def mostly_slow(kept: tuple[str, ...]) -> list[Any]:
    return [pytest.param(one, marks=() if one in kept else pytest.mark.slow) for one in tiny.FAMILIES]


def spec_of(family: str, name: str, **overrides: Any) -> Any:
    if family != "vit":
        return tiny.make_spec(model={"name": name}, **overrides)
    data = {"train": "images/train", "validation": "images/validation", "test": None}
    return tiny.make_spec(task="image-classification", model={"name": name}, data=data, **overrides)


def every_step(family_study: Study, family: str, n_steps: int = 6) -> Prepared:
    """A study that evaluates after each of its optimizer steps."""
    return family_study(family, training={"evaluations_per_epoch": n_steps}, fixed={"batch_size": N_ROWS // n_steps})


def blocks_of(model: PreTrainedModel) -> list[nn.Module]:
    blocks = find_blocks(model)
    assert blocks is not None
    return blocks


def attention_of(block: nn.Module) -> nn.Module:
    return next(child for child in block.children() if "Attention" in type(child).__name__)


def head_of(model: PreTrainedModel) -> set[str]:
    """Names of what lies outside of the base model."""
    return {name for name, _ in model.named_parameters() if not name.startswith(f"{model.base_model_prefix}.")}


def first_batch(prepared: Prepared, batch_size: int) -> np.ndarray[Any, Any]:
    return epoch_batches(prepared.train.lengths_N, batch_size, derive_seed("batches", SEED, NUMBER, 0))[0]
