"""The forward pass of a model over a batch."""

import torch
from transformers import PreTrainedModel

from trainer.data.tokenised_split import Batch
from trainer.model.device import Precision


def forward(model: PreTrainedModel, batch: Batch, precision: Precision) -> torch.Tensor:
    """Return the logits of a batch in fp32, whatever the model computes in: ``[B, C]``, or ``[B, T, C]`` for each
    token."""
    with torch.autocast(batch.targets.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        output = model(**batch.inputs)
    logits: torch.Tensor = output.logits.float()
    return logits
