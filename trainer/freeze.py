"""Finds the blocks of a model and freezes its first ones, with everything that feeds them.

B = 1, T = tokens of the probe, H = hidden size.
"""

import torch
from torch import nn
from transformers import PreTrainedModel

from trainer.errors import ConfigError


def find_blocks(model: PreTrainedModel) -> list[nn.Module] | None:
    """The transformer blocks in order, or ``None`` where the model cannot be split.

    They are the longest list of modules of one class in the base model. It must be as long as the config
    says there are layers: ALBERT lists one block for all, encoder-decoders list two stacks.
    """
    lists = [module for module in model.base_model.modules() if isinstance(module, nn.ModuleList)]
    equal = [blocks for blocks in lists if len({type(block) for block in blocks}) == 1]
    longest = max(map(len, equal), default=0)
    candidates = [blocks for blocks in equal if len(blocks) == longest]
    if len(candidates) != 1 or longest != getattr(model.config, "num_hidden_layers", None):
        return None
    return list(candidates[0])


def freeze(
    model: PreTrainedModel, n_blocks: int, *, probe_BT: torch.Tensor, missing: frozenset[str]
) -> list[nn.Module]:
    """Freeze the embeddings, the first ``n_blocks`` blocks and every parameter that those read.

    What feeds the blocks is not guessed from names: it is what the output of the last frozen block depends
    on, found with one forward pass and its gradients. DeBERTa's shared relative embeddings, read by every
    block and part of none, are found like this.

    Args:
        n_blocks: 0 freezes nothing.
        probe_BT: token ids of any example, on the model's device.
        missing: parameters that the checkpoint lacks; they train wherever they are.

    Returns:
        The frozen modules, for ``train_mode``; none if ``n_blocks`` is 0.

    Raises:
        ConfigError: the model has fewer blocks, or cannot be split.
    """
    if n_blocks == 0:
        return []
    blocks = find_blocks(model)
    if blocks is None:
        raise ConfigError("frozen_layers: the blocks of this model cannot be told apart; only 0 works")
    if n_blocks > len(blocks):
        raise ConfigError(f"frozen_layers = {n_blocks}: the model has {len(blocks)} blocks; use at most that")
    finished, output_BTH = _trace(model, blocks[n_blocks - 1], probe_BT)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(output_BTH.sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is None)
    for module in finished:
        module.requires_grad_(False)
    for name in missing:
        model.get_parameter(name).requires_grad_(True)
    return finished


def train_mode(model: PreTrainedModel, frozen: list[nn.Module]) -> None:
    """Train mode for all but the ``frozen`` modules, whose output must be a function of the example alone."""
    model.train()
    for module in frozen:
        module.eval()


def _trace(model: PreTrainedModel, last: nn.Module, probe_BT: torch.Tensor) -> tuple[list[nn.Module], torch.Tensor]:
    """The modules whose forward pass ends no later than that of ``last``, and its output."""
    finished: list[nn.Module] = []
    outputs: list[torch.Tensor] = []

    def note(module: nn.Module, _args: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        if not outputs:
            finished.append(module)
        if module is last:
            outputs.append(output if isinstance(output, torch.Tensor) else output[0])

    handles = [module.register_forward_hook(note) for module in model.modules()]
    model.eval()
    model(input_ids=probe_BT, attention_mask=torch.ones_like(probe_BT))
    for handle in handles:
        handle.remove()
    return finished, outputs[0]
