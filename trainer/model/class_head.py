"""Brings the head of a fine-tuned checkpoint into the order of a study's classes, by the names that it gives them.

C = classes.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel


def class_axes(model_class: Any, config: PreTrainedConfig) -> dict[str, int]:
    """Return which dimension of each parameter counts classes, by the parameter's name; others are left out.

    They are those whose shapes differ between a model of C and one of C + 1 classes, neither of which is given memory.

    Args:
        model_class: an ``AutoModelFor…`` class of transformers.
        config: of a model of C classes.
    """
    wider = copy.deepcopy(config)
    wider.num_labels = config.num_labels + 1
    with torch.device("meta"):
        now, then = (dict(model_class.from_config(each).named_parameters()) for each in (config, wider))
    return {
        name: next(axis for axis, (n, m) in enumerate(zip(now[name].shape, then[name].shape, strict=True)) if n != m)
        for name in now
        if now[name].shape != then[name].shape
    }


def has_own_names(own: Sequence[str]) -> bool:
    """Whether a checkpoint names its classes; transformers calls those without a name ``LABEL_0`` and so on."""
    return list(own) != [f"LABEL_{position}" for position in range(len(own))]


def match_names(own: Sequence[str], wanted: Sequence[str]) -> list[int] | None:
    """Return for each of the ``wanted`` classes its position among a checkpoint's ``own``, case and blanks aside where
    that tells them apart; ``None`` unless both are the same classes."""
    for fold in (str, lambda name: " ".join(name.split()).casefold()):
        positions = {fold(name): position for position, name in enumerate(own)}
        folded = [fold(name) for name in wanted]
        if len(positions) == len(own) and positions.keys() == set(folded) and len(folded) == len(own):
            return [positions[name] for name in folded]
    return None


@torch.no_grad()
def reorder_classes(model: PreTrainedModel, axes: dict[str, int], order: Sequence[int]) -> None:
    """Let class i of ``model`` be what its class ``order[i]`` was.

    Args:
        axes: dimension that counts classes, by the parameter's name.
    """
    for name, axis in axes.items():
        parameter = model.get_parameter(name)
        parameter.copy_(parameter.index_select(axis, torch.tensor(order)))
