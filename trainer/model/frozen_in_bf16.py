"""Keeps in bf16 what never trains and what a pass in bf16 would round to it.

Autocast casts the fp32 weights of a product each time that it computes one. Of weights that a trial never changes, half
the memory and none of the casts do, and every product stays the same to the last bit. What is not only multiplied stays
in fp32: embeddings, whose rows are added up, and the weights of normalisations.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from trainer.model.forward import body_of

_MULTIPLYING = (nn.Linear, Conv1D, nn.Conv1d, nn.Conv2d)
"""Modules of which autocast rounds weights and biases; those of their subclasses may be read in other ways."""


def keep_frozen_in_bf16(
    model: PreTrainedModel, pretrained: PreTrainedModel, compute_logits: Callable[[], torch.Tensor]
) -> None:
    """Store in bf16 what in ``model`` does not train and is only multiplied, and leave the model in eval mode.

    Nothing changes where ``compute_logits`` would return other numbers afterwards, however close.

    Args:
        pretrained: what ``model`` was made of, in fp32.
        compute_logits: runs ``model`` in bf16 on any example.
    """
    model.eval()
    with torch.no_grad():
        expected = compute_logits()
        stored = dict(_only_multiplied(model))
        for parameter in stored.values():  # one by one, so that there is never much of both
            parameter.data = parameter.data.bfloat16()
        if not torch.equal(compute_logits(), expected):
            for name, parameter in stored.items():
                original = pretrained.get_parameter(name.replace(".base_layer.", "."))  # of a layer with an adapter
                parameter.data = original.detach().to(parameter.device, copy=True)


def _only_multiplied(model: PreTrainedModel) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that do not train and have no other use than products that autocast computes in bf16."""
    body = set(body_of(model).modules())
    head = model.get_output_embeddings()
    is_multiplied = defaultdict(list)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            in_body = module in body and type(module) in _MULTIPLYING
            in_head = module is head and type(module) is nn.Linear and name == "weight"
            is_multiplied[parameter].append(in_body or in_head)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad and all(is_multiplied[parameter]):
            yield name, parameter
