"""What clipping gradients and AdamW's step take, as torch documents them and as a trial takes them.

    OMP_NUM_THREADS=1 python benchmarks/optimizer_step.py [PAIRS]

A model of MiniLM's shape and random weights learns random tokens on one CPU thread. Two copies of it take turns, step
by step, so that whoever shares the machine slows both down alike: one by ``clip_grad_norm_`` and ``AdamW.step``, the
other by ``take_step``. Prints one JSON line for each batch size: the process's own milliseconds of a whole step
(forward, backward, clipping, AdamW) and of clipping and AdamW alone, medians; medians of the ratios pair by pair; and
the largest difference between the losses of the two copies.
"""

import copy
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch.nn.utils import clip_grad_norm_
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from trainer.train.optimizer import make_optimizer, take_step
from trainer.trial.config import TrialConfig

BATCH_SIZES = (8, 16, 32)
TOKENS = 24
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
)


def main(n_pairs: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = BertForSequenceClassification(SHAPE).train()
    for batch_size in BATCH_SIZES:
        print(
            json.dumps({"batch_size": batch_size, "tokens": TOKENS, **compare(model, batch_size, n_pairs)}), flush=True
        )


def compare(model: PreTrainedModel, batch_size: int, n_pairs: int) -> dict[str, object]:
    ways = {"before": _clip_and_step, "now": take_step}
    trials = {name: Trial(copy.deepcopy(model), take) for name, take in ways.items()}
    for pair in range(n_pairs + 2):
        generator = torch.Generator().manual_seed(pair)
        tokens_BT = torch.randint(1_000, SHAPE.vocab_size, (batch_size, TOKENS), generator=generator)
        classes_B = torch.randint(CLASSES, (batch_size,), generator=generator)
        for name in sorted(ways, reverse=bool(pair % 2)):
            trials[name].step(tokens_BT, classes_B)
    before, now = trials["before"], trials["now"]
    return {
        "step_ms": {name: _median(trial.step_ms[2:]) for name, trial in trials.items()},
        "update_ms": {name: _median(trial.update_ms[2:]) for name, trial in trials.items()},
        "step_ratio": _median(_ratios(before.step_ms[2:], now.step_ms[2:])),
        "update_ratio": _median(_ratios(before.update_ms[2:], now.update_ms[2:])),
        "loss_difference": max(abs(one - other) for one, other in zip(before.losses, now.losses, strict=True)),
    }


class Trial:
    """A model that learns, and what its steps took."""

    def __init__(self, model: PreTrainedModel, take: Callable[[torch.optim.AdamW, float], None]) -> None:
        self.losses: list[float] = []
        self.step_ms: list[float] = []
        self.update_ms: list[float] = []
        self._model = model
        self._take = take
        self._optimizer = make_optimizer(model, TrialConfig.from_params({"learning_rate": 1e-4}), {})

    def step(self, tokens_BT: torch.Tensor, classes_B: torch.Tensor) -> None:
        started = time.process_time()
        loss = self._model(input_ids=tokens_BT, labels=classes_B).loss
        loss.backward()
        computed = time.process_time()
        self._take(self._optimizer, MAX_NORM)
        updated = time.process_time()
        self._optimizer.zero_grad()
        ended = time.process_time()
        self.losses.append(loss.item())
        self.step_ms.append(1_000 * (ended - started))
        self.update_ms.append(1_000 * (updated - computed))


def _clip_and_step(optimizer: torch.optim.AdamW, max_norm: float) -> None:
    clip_grad_norm_([parameter for group in optimizer.param_groups for parameter in group["params"]], max_norm)
    optimizer.step()


def _ratios(before: list[float], now: list[float]) -> list[float]:
    return [one / other for one, other in zip(before, now, strict=True)]


def _median(numbers: list[float]) -> float:
    return round(statistics.median(numbers), 3)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
