"""What a change of the optimizer step gains on one CPU thread, and what it does to the losses.

    OMP_NUM_THREADS=1 python benchmarks/train_step.py [PAIRS]

A model of MiniLM's shape and random weights learns random rows of a few hundred tokens. Two copies of it take turns,
step by step, so that whoever shares the machine slows both down alike: one trains as before the change, the other as
now.

- ``clipping``: ``clip_grad_norm_`` and ``AdamW.step``, or ``take_step``;
- ``vocabulary``: all rows of the embeddings train, or those that occur;
- ``dropout``: masks come from PyTorch's stream, or from counters, which makes others of them;
- ``products``: those of fp32 come from MKL, or from oneDNN on processors on which that is faster;
- ``bf16``: fp32, or bf16, where the processor multiplies that by itself.

Prints one JSON line for each change, batch size and length of the rows: the process's own milliseconds of a whole step
(forward, backward, clipping, AdamW) and of clipping and AdamW alone, medians; medians of the ratios pair by pair; and
the largest difference between the losses of the two copies. First, how many GFLOP/s the products of a block's widest
layer reach in both number formats, by the elapsed time of the fastest of 50.
"""

import copy
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import product

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from trainer.data.tokenised_split import Batch
from trainer.model.device import Precision
from trainer.model.dropout import set_dropout
from trainer.model.dropout_masks import count_dropout, dropout_of
from trainer.model.forward import forward
from trainer.model.products import faster_products
from trainer.model.vocabulary import leave_out_unseen
from trainer.train.optimizer import make_optimizer, take_step
from trainer.trial.config import TrialConfig

BATCH_SIZES = (8, 16, 32)
TOKENS = 24
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
DROPOUT = 0.1
DROPOUT_TOKENS = (24, 64, 128)
SEEN = np.arange(1_000, 1_662)
"""Tokens that occur, as many as in ten intents of Banking77."""
CLASSES = 10
MAX_NORM = 1.0
SHAPE = BertConfig(
    vocab_size=30_522,
    hidden_size=384,
    num_hidden_layers=6,
    num_attention_heads=12,
    intermediate_size=1_536,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    num_labels=CLASSES,
    pad_token_id=int(SEEN[0]),
)


def main(n_pairs: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = BertForSequenceClassification(SHAPE).train()
    changes = (
        ("clipping", clipping, [TOKENS]),
        ("vocabulary", vocabulary, [TOKENS]),
        ("dropout", dropout, DROPOUT_TOKENS),
        ("products", products, DROPOUT_TOKENS),
        ("bf16", bf16, [TOKENS]),
    )
    print(json.dumps({"gflops": {name: product_gflops(dtype) for name, dtype in DTYPES.items()}}), flush=True)
    for change, make_pair, lengths in changes:
        for batch_size, tokens in product(BATCH_SIZES, lengths):
            found = compare(*make_pair(model), batch_size, tokens, n_pairs)
            print(json.dumps({"change": change, "batch_size": batch_size, "tokens": tokens, **found}), flush=True)


class Trial:
    """A model that learns, and what its steps took."""

    def __init__(
        self,
        model: PreTrainedModel,
        take: Callable[[torch.optim.AdamW, float], None] = take_step,
        precision: Precision = "fp32",
        products: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.losses: list[float] = []
        self.step_ms: list[float] = []
        self.update_ms: list[float] = []
        self._model = model
        self._take = take
        self._precision = precision
        self._products = products
        self._optimizer = make_optimizer(model, TrialConfig.from_params({"learning_rate": 1e-4}), {})

    def step(self, tokens_BT: torch.Tensor, classes_B: torch.Tensor) -> None:
        started = time.process_time()
        batch = Batch(inputs={"input_ids": tokens_BT}, targets=classes_B, rows_B=torch.arange(len(classes_B)))
        with self._products(), dropout_of(self._model, batch):
            loss = functional.cross_entropy(forward(self._model, batch, self._precision), classes_B)
            torch.autograd.backward(loss)
        computed = time.process_time()
        self._take(self._optimizer, MAX_NORM)
        updated = time.process_time()
        self._optimizer.zero_grad()
        ended = time.process_time()
        self.losses.append(loss.item())
        self.step_ms.append(1_000 * (ended - started))
        self.update_ms.append(1_000 * (updated - computed))


def clipping(model: PreTrainedModel) -> tuple[Trial, Trial]:
    return Trial(copy.deepcopy(model), clip_and_step), Trial(copy.deepcopy(model))


def clip_and_step(optimizer: torch.optim.AdamW, max_norm: float) -> None:
    clip_grad_norm_([parameter for group in optimizer.param_groups for parameter in group["params"]], max_norm)
    optimizer.step()


def vocabulary(model: PreTrainedModel) -> tuple[Trial, Trial]:
    shrunk = copy.deepcopy(model)
    leave_out_unseen(shrunk, SEEN)
    return Trial(copy.deepcopy(model)), Trial(shrunk)


def dropout(model: PreTrainedModel) -> tuple[Trial, Trial]:
    stream = copy.deepcopy(model)
    set_dropout(stream, DROPOUT)
    counted = copy.deepcopy(stream)
    count_dropout(counted)
    return Trial(stream), Trial(counted)


def products(model: PreTrainedModel) -> tuple[Trial, Trial]:
    counted = copy.deepcopy(model)
    set_dropout(counted, DROPOUT)
    count_dropout(counted)
    faster = partial(faster_products, torch.device("cpu"), "fp32")
    return Trial(copy.deepcopy(counted)), Trial(counted, products=faster)


def bf16(model: PreTrainedModel) -> tuple[Trial, Trial]:
    shrunk = copy.deepcopy(model)
    leave_out_unseen(shrunk, SEEN)
    return Trial(copy.deepcopy(shrunk)), Trial(shrunk, precision="bf16")


def product_gflops(dtype: torch.dtype) -> float:
    n_tokens = max(BATCH_SIZES) * TOKENS
    hidden = torch.randn(n_tokens, SHAPE.hidden_size).to(dtype)
    weight = torch.randn(SHAPE.intermediate_size, SHAPE.hidden_size).to(dtype)
    seconds = []
    for _ in range(50):
        started = time.perf_counter()
        functional.linear(hidden, weight)
        seconds.append(time.perf_counter() - started)
    return round(2 * n_tokens * weight.numel() / min(seconds) / 1e9)


def compare(before: Trial, now: Trial, batch_size: int, tokens: int, n_pairs: int) -> dict[str, object]:
    for pair in range(n_pairs + 2):  # the first two warm up
        generator = torch.Generator().manual_seed(pair)
        tokens_BT = torch.from_numpy(SEEN)[torch.randint(len(SEEN), (batch_size, tokens), generator=generator)]
        classes_B = torch.randint(CLASSES, (batch_size,), generator=generator)
        for trial in (before, now) if pair % 2 else (now, before):
            trial.step(tokens_BT, classes_B)
    trials = {"before": before, "now": now}
    return {
        "step_ms": {name: median(trial.step_ms) for name, trial in trials.items()},
        "update_ms": {name: median(trial.update_ms) for name, trial in trials.items()},
        "step_ratio": median(ratios(before.step_ms, now.step_ms)),
        "update_ratio": median(ratios(before.update_ms, now.update_ms)),
        "loss_difference": max(abs(one - other) for one, other in zip(before.losses, now.losses, strict=True)),
    }


def ratios(before: list[float], now: list[float]) -> list[float]:
    return [one / other for one, other in zip(before, now, strict=True)]


def median(numbers: list[float]) -> float:
    return round(statistics.median(numbers[2:]), 3)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
