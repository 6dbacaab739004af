"""Keeps the best weights of a trial so far.

They live in host memory, so that an evaluation costs a copy and no disk.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig
from transformers import PreTrainedModel

from trainer.data.device_copies import copies_on_host
from trainer.model.lora import adapters_of, insert_adapters, merge_adapters, save_adapter
from trainer.model.pretrained import Pretrained
from trainer.model.trained_state import trained_state
from trainer.model.vocabulary import with_unseen


@dataclass(frozen=True)
class _Kept:
    pretrained: Pretrained
    trained: dict[str, torch.Tensor]
    adapters: LoraConfig | None
    """Of the trial's model."""


class BestModel:
    """The weights of the best evaluation of a trial so far. Empty until ``fine_tune`` fills it."""

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def keep(self, pretrained: Pretrained, model: PreTrainedModel) -> None:
        """Replace what is kept by a copy of everything in ``model``, made of ``pretrained``, that is not frozen."""
        trained = trained_state(model)
        copies = dict(zip(trained, copies_on_host(trained.values()), strict=True))
        self._kept = _Kept(pretrained, copies, adapters_of(model))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the weights that are kept; none before the first evaluation."""
        return {} if self._kept is None else self._kept.trained

    def restore(self, pretrained: Pretrained, model: PreTrainedModel, state_dict: dict[str, torch.Tensor]) -> None:
        """Keep again what ``state_dict`` returned, of the same trial, before it was interrupted."""
        self._kept = _Kept(pretrained, state_dict, adapters_of(model)) if state_dict else None

    def save(self, directory: Path) -> None:
        """Write a directory that ``from_pretrained`` and the task's ``pipeline`` open.

        The tokenizer's ``model_max_length`` is the study's ``max_length``: a pipeline called with ``truncation=True``
        cuts texts as training did. Adapters of LoRA are merged into the weights; as they were trained they lie in the
        folder ``adapter``, for ``PeftModel.from_pretrained`` over the base model.

        Raises:
            ValueError: nothing is kept, because no evaluation has been made.
        """
        if self._kept is None:
            raise ValueError("no model to save: the trial has no evaluation yet")
        pretrained = self._kept.pretrained
        model = copy.deepcopy(pretrained.model)
        if self._kept.adapters:
            insert_adapters(model, self._kept.adapters)
        model.load_state_dict(with_unseen(self._kept.trained, pretrained), strict=False)
        if self._kept.adapters:
            save_adapter(model, self._kept.adapters, self._kept.trained, directory / "adapter")
            merge_adapters(model)
        model.save_pretrained(directory)
        pretrained.processor.save_pretrained(directory)
