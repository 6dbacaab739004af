"""Finds the side on which a model wants its batches padded, if padding leaves what it puts out as it is at all.

R = rows that are tried.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import PreTrainedModel

from trainer.data.tokenised_split import TokenisedSplit
from trainer.errors import ConfigError
from trainer.model.device_memory import is_out_of_memory
from trainer.model.forward import forward, without_padding

PaddingSide = Literal["left", "right"]

_SIDES: tuple[PaddingSide, ...] = ("right", "left")

_TOLERANCE = 1e-3
"""Change of a logit that counts, as a share of the largest; rounding changes 1e-6 of it, and a model that reads its
padding a hundredth to all of it."""

_ROWS = 4
"""Rows of different lengths to try: CANINE reads only the padding that shares a window of four characters with text."""

_MOST_PADDING = 32
"""Tokens of padding to try behind the longest of these rows, at most: it is the near ones that are read."""


@torch.no_grad()
def find_padding_side(model: PreTrainedModel, splits: Iterable[TokenisedSplit]) -> PaddingSide:
    """Return on which side padding leaves the logits of short rows as they are without any; the right, if either does.

    XLNet reads the last token of a row, whatever it is, and so wants padding on the left. Others have no attention mask
    (FNet), or heed it in some of their layers only (ConvBERT).

    Raises:
        ConfigError: on neither side, so that a loss would depend on what else is in its batch; or the model cannot read
            the rows at all.
    """
    by_length = sorted(splits, key=lambda split: not np.ptp(split.lengths_N))  # those of several lengths first
    split = by_length[0]
    model.eval()
    rows_R = np.unique(split.lengths_N, return_index=True)[1][:_ROWS]
    alone = torch.cat([_readable_logits(model, split, row) for row in rows_R[:, None]])
    if len(rows_R) == 1:
        return "right"  # rows of one length are not padded
    for side in _SIDES:
        padded = _logits(model, replace(split, pads_left=side == "left"), rows_R, _MOST_PADDING)
        if (padded - alone).abs().max() <= _TOLERANCE * alone.abs().max():
            return side
    raise ConfigError(
        f"model.name: padding changes what the architecture {model.config.model_type!r} puts out for a text, so its "
        "losses would depend on which texts share a batch; take another architecture"
    )


def _readable_logits(model: PreTrainedModel, split: TokenisedSplit, row: NDArray[np.int64]) -> torch.Tensor:
    """What ``model`` puts out for a row; some read only texts of certain lengths, as Nystromformer whole segments."""
    try:
        return _logits(model, split, row)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        raise ConfigError(
            f"model.name: the architecture {model.config.model_type!r} cannot read a text of "
            f"{int(split.lengths_N[row[0]])} tokens ({str(error).partition(chr(10))[0]}); take another architecture"
        ) from error


def _logits(
    model: PreTrainedModel, split: TokenisedSplit, rows_R: NDArray[np.int64], most_padding: int = 0
) -> torch.Tensor:
    """What ``model`` puts out for rows with padding beside the longest, too, as long as the split has longer ones."""
    batch = split.collate(rows_R, model.device)
    n_padding = min(most_padding, int(split.lengths_N.max() - split.lengths_N[rows_R].max()))
    widths = (n_padding, 0) if split.pads_left else (0, n_padding)
    for name, values in batch.inputs.items():
        batch.inputs[name] = functional.pad(values, widths, value=split.pad_id if name == "input_ids" else 0)
    return without_padding(forward(model, batch, "fp32"), batch)
