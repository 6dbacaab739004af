"""Finds the blocks of a model, freezes its first ones with everything that feeds them, and paces the rest.

B = rows of a batch, T = tokens of its longest row, H = hidden size.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

Probe = Callable[[], object]
"""Runs the model on any example. What a block depends on is found by watching that, never guessed from names."""


def find_blocks(model: PreTrainedModel) -> list[nn.Module] | None:
    """Return the transformer blocks in order, or ``None`` where the model cannot be split.

    They are the longest list of modules of one class in the base model. It must be as long as the config says there are
    layers: ALBERT lists one block for all, encoder-decoders list two stacks. A block that holds a list of its own is a
    stage, as in Swin and ConvNeXt.
    """
    lists = [module for module in model.base_model.modules() if isinstance(module, nn.ModuleList)]
    equal = [blocks for blocks in lists if len({type(block) for block in blocks}) == 1]
    longest = max(map(len, equal), default=0)
    candidates = [blocks for blocks in equal if len(blocks) == longest]
    if len(candidates) != 1 or longest != getattr(model.config, "num_hidden_layers", None):
        return None
    blocks = list(candidates[0])
    nested = any(isinstance(module, nn.ModuleList) for block in blocks for module in block.modules())
    return None if nested else blocks


def batch_norms(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of ``model`` that normalise by statistics of batches, by name."""
    kinds = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


@dataclass(frozen=True)
class Stage:
    """What trains during some of a trial's steps, and what is frozen."""

    frozen: list[nn.Module]
    """Modules that do not train at all."""
    trained: frozenset[nn.Parameter]
    """Parameters that train."""

    def enter(self, model: PreTrainedModel) -> None:
        """Freeze in ``model`` all parameters that do not train, thaw the others, and put it into train mode."""
        for parameter in model.parameters():
            parameter.requires_grad_(parameter in self.trained)
        self.train_mode(model)

    def train_mode(self, model: PreTrainedModel) -> None:
        """Put all of ``model`` into train mode but what is frozen, whose output must be a function of the example
        alone, and batch normalisation, which keeps its pretrained statistics: those of a micro-batch would let memory
        decide the result."""
        model.train()
        for module in (*self.frozen, *batch_norms(model).values()):
            module.eval()


def make_stage(
    model: PreTrainedModel,
    blocks: list[nn.Module],
    *,
    probe: Probe,
    trainable: Collection[nn.Parameter],
    always: Collection[nn.Parameter],
) -> Stage:
    """Find out what trains when the embeddings, ``blocks`` and every parameter that those read are frozen.

    DeBERTa's shared relative embeddings, read by every block and part of none, are found like this.

    Args:
        blocks: frozen blocks, from the first on; without any nothing is frozen.
        probe: runs ``model`` on any example.
        trainable: parameters that may train at all, by the trial's method.
        always: parameters that the pretrained model lacks; they train wherever they are.
    """
    if not blocks:
        return Stage([], frozenset(trainable) | frozenset(always))
    below = _below(model, blocks[-1], probe)
    inside = {parameter for module in below.modules for parameter in module.parameters()}
    return Stage(below.modules, frozenset(trainable) - below.parameters - inside | frozenset(always))


def rate_shares(
    model: PreTrainedModel, blocks: list[nn.Module], decay: float, probe: Probe
) -> dict[nn.Parameter, float]:
    """Return the rate of parameters as a share of the trial's: layer-wise decay (Howard & Ruder 2018, ELECTRA).

    Of L blocks, block i has ``decay ** (L - i)``, counted from 0; what lies below or between them, such as embeddings,
    counts as block -1. The head is left out: it has the full rate.
    """
    n_blocks = len(blocks)
    shares = dict.fromkeys(_below(model, blocks[-1], probe).parameters, decay ** (n_blocks + 1))
    for i, block in enumerate(blocks):
        shares |= dict.fromkeys(block.parameters(), decay ** (n_blocks - i))
    return shares


def frozen_at(step: int, *, n_steps: int, n_blocks: int, depth: int) -> int:
    """Return how many blocks are frozen at optimizer step ``step``, counted from 0, under gradual unfreezing (ULMFiT,
    2018).

    All ``n_blocks`` are at first; they thaw from the top at equal fractions of the first third of the trial's
    ``n_steps``, until ``depth`` are left, and with a ``depth`` of 0 the embeddings thaw with the last.
    """
    n_thawed = 3 * step * (n_blocks - depth) // n_steps
    return max(depth, n_blocks - n_thawed)


@dataclass(frozen=True)
class _Below:
    modules: list[nn.Module]
    """Modules whose forward pass ends no later than that of a block."""
    parameters: frozenset[nn.Parameter]
    """Parameters that the block's output depends on."""


def _below(model: PreTrainedModel, block: nn.Module, probe: Probe) -> _Below:
    parameters = list(model.parameters())
    trained = [parameter.requires_grad for parameter in parameters]
    model.requires_grad_(True)
    modules, output_BTH = _trace(model, block, probe)
    gradients = torch.autograd.grad(output_BTH.sum(), parameters, allow_unused=True)
    for parameter, is_trained in zip(parameters, trained, strict=True):
        parameter.requires_grad_(is_trained)
    read = (parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is not None)
    return _Below(modules, frozenset(read))


def _trace(model: PreTrainedModel, last: nn.Module, probe: Probe) -> tuple[list[nn.Module], torch.Tensor]:
    """The modules whose forward pass ends no later than that of ``last``, and its output."""
    finished: list[nn.Module] = []
    outputs: list[torch.Tensor] = []

    def watched(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        output = type(module).forward(module, *args, **kwargs)
        if not outputs:
            finished.append(module)
        if module is last:
            outputs.append(_hidden_states(output))
        return output

    model.eval()
    modules = list(model.modules())
    # Not by hooks, which SqueezeBERT passes by: it calls the forward methods of its blocks
    for module in modules:
        module.forward = partial(watched, module)
    try:
        probe()
    finally:
        for module in modules:
            vars(module).pop("forward", None)  # gone already where a bf16 pass replaced it for a while
    return finished, outputs[0]


def _hidden_states(output: Any) -> torch.Tensor:
    """What a block returns, or the first thing of it."""
    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values() if isinstance(output, dict) else output))
    return output
