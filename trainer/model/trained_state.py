"""What of a model a trial changes: every tensor once, however many names it has."""

import torch
from transformers import PreTrainedModel


def trained_state(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return the tensors of ``model`` that a trial may change, by name: the parameters that train, and what else is
    saved with the model, such as running means.

    A tensor that lies in several places, such as embeddings that are the output layer, too, comes under the first of
    its names, and only if it trains; ``state_dict`` has it under all of them. The other tensors are those of the
    pretrained model, or drawn by seed. ``load_state_dict(…, strict=False)`` takes the result back.
    """
    saved = model.state_dict().keys()
    parameters = {name: one.detach() for name, one in model.named_parameters() if one.requires_grad}
    return parameters | {name: buffer for name, buffer in model.named_buffers() if name in saved}
