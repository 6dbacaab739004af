"""The model of one trial: its dropouts, adapters and checkpointing, and which of it trains when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from trainer.errors import ConfigError
from trainer.model import lora
from trainer.model.dropout import set_dropout
from trainer.model.dropout_masks import DropoutMasks, count_dropout
from trainer.model.freeze import Probe, Stage, find_blocks, frozen_at, make_stage, rate_shares
from trainer.model.pretrained import Pretrained
from trainer.model.vocabulary import leave_out_unseen
from trainer.trial.config import TrialConfig


@dataclass(kw_only=True)
class TrialModel:
    """The model of a trial and the plan of its freezing. ``begin_step`` comes before every optimizer step."""

    model: PreTrainedModel
    """The model, on its device."""
    depth: int
    """Number of blocks, from the first on, that stay frozen for the whole trial."""
    n_blocks: int
    """Number of blocks; 0 where the model cannot be split."""
    n_steps: int
    """Number of optimizer steps of the trial."""
    rate_shares: Mapping[nn.Parameter, float]
    """Learning rates of parameters as shares of the trial's, for ``make_optimizer``."""
    stages: Mapping[int, Stage]
    """What trains, by the number of frozen blocks."""
    masks: DropoutMasks
    """The model's dropout masks."""
    _now: Stage | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        # What trains at the end is what the optimizer must know
        self.stages[self.depth].enter(self.model)

    def begin_step(self, step: int) -> bool:
        """Thaw what is to train at optimizer step ``step``, counted from 0, and freeze what is not.

        The first call puts the model into train mode, whatever has been done with it.

        Returns:
            Whether other parameters train than at the step before.
        """
        stage = self.stages[self.depth]
        if len(self.stages) > 1:
            n_frozen = frozen_at(step, n_steps=self.n_steps, n_blocks=self.n_blocks, depth=self.depth)
            stage = self.stages[n_frozen]
        has_changed = stage is not self._now
        if has_changed:
            self._now = stage
            stage.enter(self.model)
        return has_changed

    def train_mode(self) -> None:
        """Put the model back into train mode after an evaluation."""
        assert self._now is not None
        self._now.train_mode(self.model)


def make_trial_model(
    model: PreTrainedModel, source: Pretrained, config: TrialConfig, *, probe: Probe, n_steps: int, seed: int
) -> TrialModel:
    """Give ``model``, a new one of ``source`` on its device, the dropouts, adapters and freezing that ``config`` asks
    for.

    Args:
        probe: runs ``model`` on any example.
        n_steps: optimizer steps of the trial.
        seed: draws the adapters' first weights.

    Raises:
        ConfigError: the model does not allow it.
    """
    always = {model.get_parameter(name) for name in source.missing}
    blocks = find_blocks(model)
    check_blocks(config, blocks, model)
    blocks = blocks or []
    depth = config.depth(len(blocks))
    if config.dropout is not None:
        set_dropout(model, config.dropout)
    trainable = set(model.parameters())
    if config.method == "lora":
        torch.manual_seed(seed)
        lora.add_adapters(model, config, blocks[depth:] if blocks else [model.base_model], source.missing)
        trainable = lora.trainable_parameters(model)
    if config.method == "head_only":
        check_head(model)
    masks = count_dropout(model)
    if config.gradient_checkpointing:
        _recompute_activations(model, masks)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False  # for generating only; here it would keep keys and values for nothing
    find_below = partial(source.structure.below, model, probe)
    shares = rate_shares(blocks, config.layer_lr_decay, find_below) if config.layer_lr_decay < 1 else {}
    depths = range(depth, len(blocks) + 1) if config.unfreeze == "gradual" else [depth]
    if config.method == "head_only" and not blocks:
        stages = {0: _body_frozen(model, always)}
    else:
        stages = {n: make_stage(blocks[:n], find_below=find_below, trainable=trainable, always=always) for n in depths}
    trial_model = TrialModel(
        model=model,
        depth=depth,
        n_blocks=len(blocks),
        n_steps=n_steps,
        rate_shares=shares,
        stages=stages,
        masks=masks,
    )
    if source.seen_tokens is not None:
        leave_out_unseen(model, source.seen_tokens)
    return trial_model


def check_blocks(config: TrialConfig, blocks: list[nn.Module] | None, model: PreTrainedModel) -> None:
    """Check that ``model`` can be split into blocks where ``config`` needs that.

    Raises:
        ConfigError: it cannot.
    """
    if blocks is None and config.needs_blocks:
        raise ConfigError(
            f"the architecture {model.config.model_type!r} cannot be split into blocks, so frozen_layers, "
            "frozen_fraction, unfreeze and layer_lr_decay do not work on it; leave them out"
        )


def check_checkpointing(model: PreTrainedModel) -> None:
    """Check that the architecture of ``model`` knows gradient checkpointing.

    Raises:
        ConfigError: it does not.
    """
    if not any(isinstance(module, GradientCheckpointingLayer) for module in model.modules()):
        raise ConfigError(
            f"gradient_checkpointing: the architecture {model.config.model_type!r} does not support it; leave it out"
        )


def _recompute_activations(model: PreTrainedModel, masks: DropoutMasks) -> None:
    """Let the blocks of ``model`` that are in train mode compute their activations again in the backward pass.

    Not by ``gradient_checkpointing_enable``, which also gives the embeddings' output a gradient, and so all
    frozen blocks something to keep.
    """
    check_checkpointing(model)
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.gradient_checkpointing = True
            module._gradient_checkpointing_func = partial(
                checkpoint, use_reentrant=False, context_fn=masks.recomputation
            )


def check_head(model: PreTrainedModel) -> None:
    """Check that the head has weights of its own, which ``head_only`` can train.

    Raises:
        ConfigError: it shares its weights with the embeddings, which ``head_only`` freezes.
    """
    output = model.get_output_embeddings()
    if output is not None and output.weight is getattr(model.get_input_embeddings(), "weight", None):
        raise ConfigError(
            "method head_only: the model's head shares its weights with the embeddings; use another method"
        )


def _body_frozen(model: PreTrainedModel, always: set[nn.Parameter]) -> Stage:
    head = set(model.parameters()) - set(model.base_model.parameters())
    return Stage([model.base_model], frozenset(head | always))
