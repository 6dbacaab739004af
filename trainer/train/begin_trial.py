"""Sets up what a trial trains: its model, what feeds it, and its optimizer."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from trainer.model.device import describe_device, training_tokens
from trainer.model.device_memory import retry_with_free_memory
from trainer.model.forward import forward
from trainer.model.frozen_in_bf16 import keep_frozen_in_bf16
from trainer.model.memory_hints import MemoryHints
from trainer.model.micro_batch_size import MicroBatchSize
from trainer.model.trial_model import TrialModel, make_trial_model
from trainer.train.optimizer import make_optimizer
from trainer.train.prepare import Prepared
from trainer.train.trial_steps import TrialSteps
from trainer.trial.config import TrialConfig
from trainer.trial.seeds import derive_seed
from trainer.trunk.cache import TrunkCache
from trainer.trunk.open_trunk import open_trunk
from trainer.trunk.trunk import Trunk

_MEMORY_HYPERPARAMETERS = (
    "method",
    "frozen_layers",
    "frozen_fraction",
    "unfreeze",
    "gradient_checkpointing",
    "lora_rank",
    "lora_targets",
)
"""Hyperparameters that decide what a forward pass must keep for the backward pass."""


@dataclass(frozen=True, kw_only=True)
class BegunTrial:
    """A trial before its first optimizer step."""

    prepared: Prepared
    """What the trial trains on: splits that feed the model from the trunk cache, where that is used."""
    trial_model: TrialModel
    optimizer: torch.optim.AdamW
    trunk: Trunk | None
    """What counts the rows from the trunk cache; ``None``: the trial does without the cache."""
    steps: TrialSteps


def begin_trial(
    prepared: Prepared,
    config: TrialConfig,
    *,
    n_steps: int,
    seed: int,
    number: int,
    hints: MemoryHints,
    cache: TrunkCache | None,
) -> BegunTrial:
    """Set up a trial of ``n_steps`` optimizer steps, as `trainer.train.fine_tune.fine_tune` wants it.

    Raises:
        ConfigError: ``config`` cannot run on this model.
        torch.OutOfMemoryError, RuntimeError: model and optimizer do not fit.
    """
    trial_model = retry_with_free_memory(lambda: _make_trial_model(prepared, config, n_steps, seed=seed, number=number))
    model = trial_model.model
    trunk = None
    if cache is not None and trial_model.depth:
        splits = prepared.train, prepared.validation
        train, validation, trunk = open_trunk(cache, model, trial_model.depth, splits, prepared.facts)
        prepared = replace(prepared, train=train, validation=validation)
    optimizer = retry_with_free_memory(lambda: make_optimizer(model, config, trial_model.rate_shares))
    tokens = training_tokens(prepared.device)
    micro_batch = MicroBatchSize(tokens, hints, memory_key(prepared, _memory_params(config)))
    return BegunTrial(
        prepared=prepared,
        trial_model=trial_model,
        optimizer=optimizer,
        trunk=trunk,
        steps=TrialSteps(prepared, config, model, optimizer, micro_batch, (trunk or Trunk()).select),
    )


def memory_key(prepared: Prepared, work: dict[str, Any]) -> str:
    """Return what decides how many tokens fit into a pass of ``work``, as a key of `MemoryHints`."""
    facts = prepared.facts
    key = {"model": facts.model_sha256, "max_tokens": facts.max_tokens, "precision": facts.precision}
    return json.dumps(key | work | {"device": describe_device(prepared.device).name}, sort_keys=True)


def _make_trial_model(prepared: Prepared, config: TrialConfig, n_steps: int, *, seed: int, number: int) -> TrialModel:
    model = prepared.pretrained.new_model(seed=seed, number=number).to(prepared.device)

    def probe() -> torch.Tensor:
        first = prepared.train.collate(np.zeros(1, dtype=np.int64), model.device)
        return forward(model, first, prepared.facts.precision)

    trial_model = make_trial_model(
        model,
        prepared.pretrained,
        config,
        probe=probe,
        n_steps=n_steps,
        seed=derive_seed("adapters", seed, number),
    )
    if prepared.facts.precision == "bf16":
        keep_frozen_in_bf16(model, prepared.pretrained.model, probe)
    return trial_model


def _memory_params(config: TrialConfig) -> dict[str, Any]:
    return {name: value for name, value in asdict(config).items() if name in _MEMORY_HYPERPARAMETERS}
