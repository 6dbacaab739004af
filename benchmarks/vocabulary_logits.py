"""What computing logits at counted positions only, in pieces, saves a causal language model on one CPU thread.

    OMP_NUM_THREADS=1 python benchmarks/vocabulary_logits.py

A model with the width of SmolLM2-135M, ten blocks, the vocabulary of Qwen2.5 and random weights takes optimizer steps
with LoRA, on 8 rows of 128 tokens of which the last quarter counts, as of prompts with completions. Each way runs in a
process of its own:

- ``all``: the logits of every position at once;
- ``cut``: micro-batches so small that they have no more than ``LOGITS``, which is what came before;
- ``counted``: as ``accumulate_gradients`` does now.

Prints one JSON line for each: seconds of CPU time of a step, the smaller of 2; the peak memory of the process above
what the model takes; and the loss.
"""

import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from trainer.data.tokenised_split import IGNORED, TokenisedSplit
from trainer.model.forward import forward
from trainer.model.lora import add_adapters, trainable_parameters
from trainer.model.over_logits import LOGITS
from trainer.tasks.causal_lm import TextLm
from trainer.train.train_step import accumulate_gradients
from trainer.trial.config import TrialConfig

WAYS = ("all", "cut", "counted")
ROWS, TOKENS, COUNTED = 8, 128, 32
SHAPE = LlamaConfig(
    vocab_size=151_936,
    hidden_size=576,
    num_hidden_layers=10,
    num_attention_heads=9,
    num_key_value_heads=3,
    intermediate_size=1_536,
    tie_word_embeddings=True,
    use_cache=False,
)


def main() -> None:
    for way in WAYS:
        subprocess.run([sys.executable, "-P", __file__, way], check=True)


def measure(way: str) -> None:
    torch.set_num_threads(1)
    model = make_model()
    split = make_split()
    before = peak_bytes()
    seconds = []
    for _ in range(2):
        model.zero_grad()
        started = time.process_time()
        loss = step(way, model, split)
        seconds.append(time.process_time() - started)
    found = {"step_s": round(min(seconds), 2), "peak_mb": (peak_bytes() - before) // 2**20}
    print(json.dumps({"way": way, **found, "loss": round(float(loss), 6)}), flush=True)


def make_model() -> PreTrainedModel:
    torch.manual_seed(0)
    model = LlamaForCausalLM(SHAPE).train()
    config = TrialConfig.from_params({"learning_rate": 1e-4, "method": "lora"})
    add_adapters(model, config, list(model.model.layers), [])
    trained = trainable_parameters(model)
    for parameter in model.parameters():
        parameter.requires_grad_(parameter in trained)
    return model


def make_split() -> TokenisedSplit:
    tokens_S = np.random.default_rng(0).integers(0, SHAPE.vocab_size, ROWS * TOKENS, dtype=np.int32)
    targets_S = np.where(np.arange(ROWS * TOKENS) % TOKENS < TOKENS - COUNTED, IGNORED, tokens_S)
    return TokenisedSplit(
        tokens_S=tokens_S,
        starts_N1=np.arange(0, ROWS * TOKENS + 1, TOKENS),
        targets=targets_S,
        has_token_targets=True,
        are_next_tokens=True,
        pad_id=0,
        truncated_rows=0,
    )


def step(way: str, model: PreTrainedModel, split: TokenisedSplit) -> torch.Tensor:
    rows_B = np.arange(ROWS)
    if way == "counted":
        return accumulate_gradients(model, TextLm(), split, rows_B, "fp32", micro_batch_size=ROWS)
    size = ROWS if way == "all" else max(1, LOGITS // SHAPE.vocab_size // TOKENS)
    total = torch.zeros(())
    for start in range(0, ROWS, size):
        batch = split.collate(rows_B[start : start + size], model.device)
        logits = forward(model, batch, "fp32")
        loss = functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), batch.targets[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
        ) / (ROWS * COUNTED)
        torch.autograd.backward(loss)
        total += loss.detach()
    return total


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
