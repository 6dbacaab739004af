"""Whether a model that is to predict the next token sees it beforehand.

T = tokens of the probe, V = vocabulary.
"""

import numpy as np
import torch
from transformers import PreTrainedModel

from trainer.data.tokenised_split import Split
from trainer.errors import ConfigError

_TOLERANCE = 1e-3
"""Of the largest logit; rounding changes 1e-6 of it, and a model that looks ahead nearly all of it."""


@torch.no_grad()
def check_causal(model: PreTrainedModel, split: Split) -> None:
    """Change the last token of the longest row and see whether what comes before it notices.

    transformers opens BERT and its kin as causal models with a warning; their loss would then fall to 0 for
    nothing, since they read the answer.

    Raises:
        ConfigError: the model reads what it is to predict.
    """
    model.eval()
    inputs = split.collate(np.array([split.lengths_N.argmax()]), model.device).inputs
    before_TV = model(**inputs).logits[0, :-1]
    last = inputs["input_ids"][:, -1]
    inputs["input_ids"][:, -1] = torch.where(last > 0, last - 1, last + 1)
    after_TV = model(**inputs).logits[0, :-1]
    if (after_TV - before_TV).abs().max() > _TOLERANCE * before_TV.abs().max():
        raise ConfigError(
            f"model.name: {type(model).__name__} reads the tokens that it is to predict; take a causal language model"
        )
