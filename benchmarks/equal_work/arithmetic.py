"""What a workload costs at least, and what this machine's processors do at most.

h = hidden size, i = size between the two matrices of a feed-forward layer, t = tokens of a row.
"""

import json
import time
from pathlib import Path

import torch
from transformers import AutoTokenizer

from equal_work.workload import Row, Workload
from trainer.model.device import Precision
from trainer.model.products import faster_products

SIDES = (512, 1_024, 2_048)
SECONDS = 0.5
MAX_TOKENS = 128
"""Tokens at which every system cuts a row."""


def matmul_tflops(precision: Precision) -> float:
    """Return 10^12 operations a second of products of square matrices on all cores: the most of several sizes, by
    the faster of PyTorch's libraries."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    best = 0.0
    for side in SIDES:
        left, right = torch.randn(side, side, dtype=dtype), torch.randn(side, side, dtype=dtype)
        until = time.perf_counter() + SECONDS
        with faster_products(left.device, precision):
            while (began_at := time.perf_counter()) < until:
                left @ right
                best = max(best, 2 * side**3 / (time.perf_counter() - began_at) / 1e12)
    return best


def least_tflop(workload: Workload, model: Path) -> float:
    """Return 10^12 operations of the matrix products that the workload takes with a BERT, without any padding.

    A row goes through blocks that are frozen once in the whole workload, and through the others in each epoch: when it
    trains forward and, at twice the cost, backward; when it validates forward.
    """
    config = json.loads((model / "config.json").read_text())
    h, i, n_blocks = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    n_labels = len({label for _, label in workload.train})
    tokenizer = AutoTokenizer.from_pretrained(model)

    def block_and_head(rows: list[Row]) -> tuple[float, float]:
        lengths = [
            len(ids)
            for ids in tokenizer([text for text, _ in rows], truncation=True, max_length=MAX_TOKENS)["input_ids"]
        ]
        block = sum(2 * t * (4 * h * h + 2 * h * i) + 4 * t * t * h for t in lengths)
        return block, len(rows) * 2 * h * (h + n_labels)

    train_block, train_head = block_and_head(workload.train)
    validation_block, validation_head = block_and_head(workload.validation)
    deepest = max(one["frozen_layers"] for one in workload.configurations)
    operations = deepest * (train_block + validation_block)
    for one in workload.configurations:
        n_trained = n_blocks - one["frozen_layers"]
        operations += one["epochs"] * (
            3 * (n_trained * train_block + train_head) + n_trained * validation_block + validation_head
        )
    return operations / 1e12
