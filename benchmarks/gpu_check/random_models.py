"""Models of random weights in the shapes of known ones, with a tokenizer that has one token for each word."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model's sizes, and what it is trained on here."""

    task: str
    config: PreTrainedConfig
    batch_size: int
    tokens: int
    """Tokens of every row, so that there is no padding."""
    n_steps: int
    """Optimizer steps of a trial."""
    params: dict[str, Any]


def bert(width: int, n_blocks: int, n_heads: int, vocabulary: int = 30_522) -> BertConfig:
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=n_blocks,
        num_attention_heads=n_heads,
        intermediate_size=4 * width,
    )


def decoder(
    width: int, n_blocks: int, n_heads: int, n_kv_heads: int, intermediate: int, vocabulary: int
) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=n_blocks,
        num_attention_heads=n_heads,
        num_key_value_heads=n_kv_heads,
        intermediate_size=intermediate,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )


_FULL = {"method": "full"}
_LORA = {"method": "lora", "lora_rank": 16}
_TEXTS = "text-classification"
SHAPES = {
    "minilm": Shape(task=_TEXTS, config=bert(384, 6, 12), batch_size=32, tokens=100, n_steps=120, params=_FULL),
    "bert-base": Shape(task=_TEXTS, config=bert(768, 12, 12), batch_size=32, tokens=128, n_steps=120, params=_FULL),
    # the sizes of Qwen2.5-0.5B
    "causal-0.5b": Shape(
        task="causal-lm",
        config=decoder(896, 24, 14, 2, 4_864, 151_936),
        batch_size=8,
        tokens=256,
        n_steps=24,
        params=_LORA,
    ),
}
SMALL = {
    "minilm": Shape(task=_TEXTS, config=bert(64, 2, 4, 500), batch_size=8, tokens=16, n_steps=18, params=_FULL),
    "bert-base": Shape(task=_TEXTS, config=bert(96, 2, 4, 500), batch_size=8, tokens=16, n_steps=18, params=_FULL),
    "causal-0.5b": Shape(
        task="causal-lm", config=decoder(64, 2, 4, 2, 128, 500), batch_size=8, tokens=16, n_steps=18, params=_LORA
    ),
}
"""The same for a machine without a GPU, so that every line of a part runs there, in seconds."""


def words_of(shape: Shape) -> list[str]:
    """Made-up words, one for each token of the vocabulary that is not special."""
    return [f"w{number}" for number in range(shape.config.vocab_size - len(SPECIAL))]


def save_random(directory: Path, shape: Shape, words: Sequence[str]) -> None:
    """Save a model of ``shape``, drawn with seed 0, and a tokenizer that knows ``words``."""
    auto_class = AutoModelForCausalLM if shape.task == "causal-lm" else AutoModelForSequenceClassification
    torch.manual_seed(0)
    auto_class.from_config(shape.config).save_pretrained(directory)
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A" if shape.task == "causal-lm" else "[CLS] $A [SEP]",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        bos_token="[CLS]",
        eos_token="[SEP]",
    ).save_pretrained(directory)
