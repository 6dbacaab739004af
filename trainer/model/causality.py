"""Checks that a model which is to predict the next token does not read it.

T = tokens of the probe, V = vocabulary.
"""

import numpy as np
import torch
from transformers import PreTrainedModel

from trainer.data.tokenised_split import Split
from trainer.errors import ConfigError

_TOLERANCE = 1e-3
"""Change of a logit that counts, as a share of the largest; rounding changes 1e-6 of it, and a model that looks ahead
nearly all of it."""

_PROBE_TOKENS = 16
"""Tokens of the probe: what looks ahead looks at the next token, and 1,024 of them take GPT-2 7 s of a CPU."""


@torch.no_grad()
def check_causal(model: PreTrainedModel, split: Split) -> None:
    """Check that the last of the first tokens of the longest row has no influence on the logits before it.

    transformers opens BERT and its kin as causal models with a warning; their loss would then fall to 0 for nothing,
    since they read the answer.

    Raises:
        ConfigError: the model reads what it is to predict.
    """
    model.eval()
    whole = split.collate(np.array([split.lengths_N.argmax()]), model.device).inputs
    inputs = {name: tensor_BT[:, :_PROBE_TOKENS] for name, tensor_BT in whole.items()}
    before_TV = model(**inputs).logits[0, :-1]
    last = inputs["input_ids"][:, -1]
    inputs["input_ids"][:, -1] = torch.where(last > 0, last - 1, last + 1)
    after_TV = model(**inputs).logits[0, :-1]
    if (after_TV - before_TV).abs().max() > _TOLERANCE * before_TV.abs().max():
        raise ConfigError(
            f"model.name: {type(model).__name__} reads the tokens that it is to predict; take a causal language model"
        )
