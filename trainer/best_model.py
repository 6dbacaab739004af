"""The best weights of a trial so far.

They live in host memory, so that an evaluation costs a copy and no disk.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from trainer.prepare import Prepared


@dataclass(frozen=True)
class _Kept:
    prepared: Prepared
    trained: dict[str, torch.Tensor]


class BestModel:
    """The weights of the best evaluation so far. Empty until ``fine_tune`` fills it."""

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def keep(self, prepared: Prepared, model: PreTrainedModel) -> None:
        """Replace what is kept by a copy of everything in ``model`` that is not frozen."""
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        trained = {
            name: tensor.detach().to("cpu", copy=True)
            for name, tensor in model.state_dict().items()
            if name not in frozen
        }
        self._kept = _Kept(prepared, trained)

    def save(self, directory: Path) -> None:
        """Write a directory that ``from_pretrained`` and ``pipeline("text-classification")`` open.

        The tokenizer's ``model_max_length`` is the study's ``max_length``: a pipeline called with
        ``truncation=True`` cuts texts as training did.

        Raises:
            ValueError: nothing is kept, because no evaluation has been made.
        """
        if self._kept is None:
            raise ValueError("no model to save: the trial has no evaluation yet")
        prepared = self._kept.prepared
        model = copy.deepcopy(prepared.checkpoint.model)
        model.load_state_dict(self._kept.trained, strict=False)
        model.save_pretrained(directory)
        prepared.tokenizer.save_pretrained(directory)
