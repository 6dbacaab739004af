"""One class per text: batches, the model's class, its loss and its metrics.

B = rows of a batch, T = tokens of its longest row, C = classes, N = rows of a split.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from trainer.device import Precision
from trainer.tokenise import TokenisedSplit

MODEL_CLASS = AutoModelForSequenceClassification


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some rows of a split on the device, padded on the right to the longest of them."""

    input_ids_BT: torch.Tensor
    attention_mask_BT: torch.Tensor
    """1 where there is a token, 0 where there is padding."""
    labels_B: torch.Tensor


def collate(split: TokenisedSplit, rows_B: NDArray[np.int64], device: torch.device) -> Batch:
    """Put ``rows_B`` of ``split`` on ``device``."""
    lengths_B = split.lengths_N[rows_B]
    mask_BT = np.arange(lengths_B.max()) < lengths_B[:, None]
    ids_BT = np.full(mask_BT.shape, split.pad_id, dtype=np.int64)
    ids_BT[mask_BT] = np.concatenate([split.row(row) for row in rows_B])
    return Batch(
        input_ids_BT=torch.from_numpy(ids_BT).to(device),
        attention_mask_BT=torch.from_numpy(mask_BT.astype(np.int64)).to(device),
        labels_B=torch.from_numpy(split.labels_N[rows_B]).to(device),
    )


def forward(model: PreTrainedModel, batch: Batch, precision: Precision) -> torch.Tensor:
    """Compute ``logits_BC`` in fp32, whatever the model computes in."""
    with torch.autocast(batch.labels_B.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        output = model(input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask_BT)
    logits_BC: torch.Tensor = output.logits.float()
    return logits_BC


def loss_sum(logits_BC: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in nats, summed over the rows, each of which is one counted target."""
    return functional.cross_entropy(logits_BC, labels_B, reduction="sum")


def metrics(logits_NC: torch.Tensor, labels_N: torch.Tensor) -> dict[str, float]:
    """Accuracy, macro F1 and Matthews' correlation, as scikit-learn computes them."""
    predicted = logits_NC.argmax(dim=-1).numpy()
    actual = labels_N.numpy()
    return {
        "accuracy": float(accuracy_score(actual, predicted)),
        # A class that is never predicted counts as 0, which scikit-learn would do with a warning
        "f1_macro": float(f1_score(actual, predicted, average="macro", zero_division=0)),
        "matthews": float(matthews_corrcoef(actual, predicted)),
    }
