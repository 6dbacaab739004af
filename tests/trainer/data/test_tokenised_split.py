"""Rows become batches on a device."""

import numpy as np
import torch

from trainer.data.tokenised_split import IGNORED, TokenisedSplit
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


def test_batches_are_padded_on_the_left_where_the_model_wants_it() -> None:
    split = TokenisedSplit(
        tokens_S=np.array([5, 6, 7, 8, 9], dtype=np.int32),
        types_S=np.array([0, 1, 0, 0, 1], dtype=np.int8),
        starts_N1=np.array([0, 2, 5]),
        targets=np.array([1, 2, 3, 4, 5]),
        has_token_targets=True,
        pad_id=0,
        pads_left=True,
        truncated_rows=0,
    )
    batch = split.collate(np.array([0, 1]), torch.device("cpu"))
    assert batch.inputs["input_ids"].tolist() == [[0, 5, 6], [7, 8, 9]]
    assert batch.inputs["attention_mask"].tolist() == [[0, 1, 1], [1, 1, 1]]
    assert batch.inputs["token_type_ids"].tolist() == [[0, 0, 1], [0, 0, 1]]
    assert batch.targets.tolist() == [[IGNORED, 1, 2], [3, 4, 5]]
    assert split.take([1]).pads_left
