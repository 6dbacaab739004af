"""Finds the blocks of a model, freezes its first ones with everything that feeds them, and paces the rest.

B = rows of a batch, T = tokens of its longest row, H = hidden size.
"""

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

Probe = Callable[[], object]
"""Runs the model on any example. What a block depends on is found by watching that, never guessed from names."""


@dataclass(frozen=True)
class Below:
    """What a block's output is computed from."""

    modules: list[nn.Module]
    """Modules whose forward pass ends no later than that of the block."""
    parameters: frozenset[nn.Parameter]
    """Parameters that the block's output depends on."""


FindBelow = Callable[[nn.Module], Below]
"""Says of a block of the model at hand what lies below it."""


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
    blocks: list[nn.Module],
    *,
    find_below: FindBelow,
    trainable: Collection[nn.Parameter],
    always: Collection[nn.Parameter],
) -> Stage:
    """Find out what trains when the embeddings, ``blocks`` and every parameter that those read are frozen.

    DeBERTa's shared relative embeddings, read by every block and part of none, are found like this.

    Args:
        blocks: frozen blocks, from the first on; without any nothing is frozen.
        trainable: parameters that may train at all, by the trial's method.
        always: parameters that the pretrained model lacks; they train wherever they are.
    """
    if not blocks:
        return Stage([], frozenset(trainable) | frozenset(always))
    below = find_below(blocks[-1])
    inside = {parameter for module in below.modules for parameter in module.parameters()}
    return Stage(below.modules, frozenset(trainable) - below.parameters - inside | frozenset(always))


def rate_shares(blocks: list[nn.Module], decay: float, find_below: FindBelow) -> dict[nn.Parameter, float]:
    """Return the rate of parameters as a share of the trial's: layer-wise decay (Howard & Ruder 2018, ELECTRA).

    Of L blocks, block i has ``decay ** (L - i)``, counted from 0; what lies below or between them, such as embeddings,
    counts as block -1. The head is left out: it has the full rate.
    """
    n_blocks = len(blocks)
    shares = dict.fromkeys(find_below(blocks[-1]).parameters, decay ** (n_blocks + 1))
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


class Structure:
    """What lies below the blocks of the models that are made of one pretrained model, as one of each make has shown."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, tuple[list[str], list[str]]]] = {}
        """By make, and by the name of a block: names of modules and parameters."""

    def below(self, model: PreTrainedModel, probe: Probe, block: nn.Module) -> Below:
        """Return what lies below ``block``, one of the blocks of ``model``.

        ``probe`` is called unless a model of the same modules has been seen before.
        """
        names = {module: name for name, module in model.named_modules()}
        make = hashlib.sha256(json.dumps([(name, type(one).__qualname__) for one, name in names.items()]).encode())
        found = self._found.get(make.hexdigest())
        if found is None:
            found = self._found[make.hexdigest()] = _name_below(model, names, probe)
        modules, parameters = found[names[block]]
        return Below(
            [model.get_submodule(name) for name in modules], frozenset(model.get_parameter(name) for name in parameters)
        )


def _name_below(
    model: PreTrainedModel, names: dict[nn.Module, str], probe: Probe
) -> dict[str, tuple[list[str], list[str]]]:
    """Find the names of modules and parameters below each block, by the block's name."""
    parameters = dict(model.named_parameters())
    trained = [parameter.requires_grad for parameter in parameters.values()]
    model.requires_grad_(True)
    finished, outputs = _trace(model, probe)
    for parameter, is_trained in zip(parameters.values(), trained, strict=True):
        parameter.requires_grad_(is_trained)
    below = {}
    for block, output_BTH in outputs.items():
        read = _parameters_of(output_BTH)
        modules = [names[module] for module in finished[: finished.index(block) + 1]]
        below[names[block]] = modules, [name for name, parameter in parameters.items() if parameter in read]
    return below


def _trace(model: PreTrainedModel, probe: Probe) -> tuple[list[nn.Module], dict[nn.Module, torch.Tensor]]:
    """The modules of ``model`` in the order in which their forward passes end, and the output of each block."""
    finished: list[nn.Module] = []
    outputs: dict[nn.Module, torch.Tensor] = {}
    blocks = set(find_blocks(model) or [])

    def watched(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        output = type(module).forward(module, *args, **kwargs)
        finished.append(module)
        if module in blocks:
            outputs.setdefault(module, _hidden_states(output))
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
    return finished, outputs


def _parameters_of(output: torch.Tensor) -> set[torch.Tensor]:
    """The parameters that ``output`` was computed from, by the graph that its backward pass would follow."""
    seen, waiting, found = set[object](), [output.grad_fn], set[torch.Tensor]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(variable := getattr(node, "variable", None), torch.Tensor):
            found.add(variable)
        waiting += [after for after, _ in node.next_functions]
    return found


def _hidden_states(output: Any) -> torch.Tensor:
    """What a block returns, or the first thing of it."""
    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values() if isinstance(output, dict) else output))
    return output
