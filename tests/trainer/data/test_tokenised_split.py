"""Rows become batches on a device."""

import numpy as np
import torch

from trainer.data.tokenised_split import TokenisedSplit
from trainer.train.prepare import Prepared


def test_batches_are_padded_on_the_right_to_their_longest_row(prepared: Prepared) -> None:
    split = prepared.train
    assert isinstance(split, TokenisedSplit)
    lengths_N = split.lengths_N
    rows_B = np.asarray([int(lengths_N.argmin()), int(lengths_N.argmax())])
    batch = prepared.train.collate(rows_B, torch.device("cpu"))
    short, long = (int(lengths_N[row]) for row in rows_B)
    assert batch.inputs["input_ids"].shape == batch.inputs["attention_mask"].shape == (2, long)
    assert batch.inputs["attention_mask"].sum(dim=1).tolist() == [short, long]
    assert batch.inputs["input_ids"][0, :short].tolist() == split.row(rows_B[0]).tolist()
    assert batch.inputs["input_ids"][0, short:].tolist() == [split.pad_id] * (long - short)
    assert batch.targets.tolist() == prepared.train.targets[rows_B].tolist()
